//! Physical machines become virtual ones: a plan, a machine that is switched on, and nothing else.
//!
//! QEMU machines without any virtio hardware stand for the metal: AHCI disks, an e1000 adapter, a serial number of their own,
//! a hardware watchdog. They know their firmware only; `replant apply` boots them over a private network.

mod bad_sector;
mod bios;
mod faults;
mod lab;
mod plan;
mod shell;
mod throughput;
mod uefi;
mod warm;
mod watchdog;
