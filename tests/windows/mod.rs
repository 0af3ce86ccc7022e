//! Windows guests: synthetic disks with real NTFS and hives that hivex has filled, converted and read again by others.
//! No licensed Windows is started anywhere.

mod agent;
pub mod fixture;
mod generations;
mod inspection;
mod oracle;
mod patches;
mod refusals;
