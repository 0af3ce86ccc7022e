//! A capture whose disk is on one machine and whose store is on another. No network and nothing async here: batches of
//! bytes go into a [`BatchSink`] on the one side and come out of a [`RemoteCapture`] on the other.
//!
//! ```text
//! disk --send_disk--> batch: entries --BatchSink--> RemoteCapture: lacking 3, 7
//!                     batch: entries + contents of 3, 7 --------> RemoteCapture: accepted -> packs, map, manifest
//! ```
//!
//! And the other way round, an image whose store is here and whose disk is elsewhere:
//!
//! ```text
//! RemoteImage: map in parts, contents of chunks --ImageGiver--> fetch_disk: compared with their digests -> disk
//! ```
//!
//! The sender hashes and compresses; it never has a key of the store. The receiver believes nothing: every content is
//! decoded and hashed again before it is sealed and kept, so that a sender can spoil no image but its own. Batches may
//! come twice and out of order; each is answered for itself, so either side may go away in between.

mod batch;
mod fetch;
mod given;
mod mark;
mod parts;
mod receive;
mod send;
mod target;

#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchAnswer, BatchError, Content, Entry, MAX_BATCH};
pub use fetch::{FetchReport, ImageGiver, Offer, fetch_disk};
pub use given::RemoteImage;
pub use parts::{Contents, MAX_WANTED, MOST_WANTED, MapPart, Wanted};
pub use receive::{RemoteCapture, RemoteReport, RemoteSource};
pub use send::{BatchSink, SendReport, SinkError, send_disk};
pub use target::DiskTarget;
