//! A physical machine's disk reaches the store: a QEMU machine without any virtio hardware stands for it.

mod capture;
mod machine;
mod plan;

pub use machine::{Controller, agent};
