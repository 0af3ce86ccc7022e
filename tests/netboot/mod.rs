//! Network boot for real: a private network, dnsmasq, and QEMU machines that know nothing but their firmware.

mod boot;
mod lab;
mod media;
mod power;
mod refusals;

pub use lab::{BootLab, boot_sector, shell};
