//! The guest step: the controller's doors, the agent that is built and booted, and what it changes on real formats.

mod agent;
mod controller;
mod matrix;
mod overlay;
mod refused;
mod registered;

pub use matrix::uefi_lvm_machine;
