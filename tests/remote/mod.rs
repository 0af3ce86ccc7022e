//! Between a controller and an agent that run here: the same program and protocol as in a booted machine, with files for
//! disks.

mod deploy;
mod fuzz;
pub mod guest;
mod kexec;
mod live;
mod native;
mod refusals;
mod snapshot;
mod vm;
