//! The guest step: the controller's doors, the agent that is built and booted, and what it changes on real formats.

mod agent;
mod bad_cases;
mod compare;
mod controller;
mod editors;
mod machine;
mod matrix;
mod overlay;
mod rebuilt;
mod refused;
mod registered;
mod scripts;

pub use machine::uefi_lvm_machine;
