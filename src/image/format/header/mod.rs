//! What the headers of disk files say: size, other files that belong to the disk, and why a file cannot be taken. Every
//! reader here takes any bytes: what is wrong is an error that says so.

mod fault;
pub(super) mod ova;
pub(super) mod qcow2;
pub(super) mod vhd;
pub(super) mod vhdx;
pub(super) mod vmdk;

pub(super) use fault::{HeaderFault, read};
