//! Network boot for real: a private network, dnsmasq, and QEMU machines that know nothing but their firmware.

mod bmc;
mod boot;
mod lab;
mod media;
mod power;
mod refusals;

pub use bmc::Bmc;
pub use lab::{BootLab, boot_sector, shell};
