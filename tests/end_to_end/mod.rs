//! Whole migrations of a real Debian machine with the embedded provider: they boot, they roll back, they resume.
//!
//! The source has two disks and does not boot on virtio hardware without conversion. It is made once and kept below
//! `target/`; every test works on a copy. Each guest step boots the agent in an emulated machine, so these tests
//! take minutes, not seconds.

mod boot;
mod fixture;
mod resume;
mod rollback;

pub use boot::{Running, marker};
pub use fixture::{Migration, run};
