//! The image engine through its verbs and its library: round trips, damage, interruptions, full disks, several at once.

mod bad_sectors;
mod collect;
mod concurrency;
mod damage;
mod direct;
mod formats;
mod full;
pub mod fuzz;
mod kills;
mod limit;
mod partitions;
mod repair;
mod resume;
mod roundtrip;
mod site;
mod used;
mod verbs;
