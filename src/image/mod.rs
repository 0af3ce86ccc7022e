//! The block image engine: reads a disk, cuts it into chunks, hashes, compresses, seals and stores them once; restores
//! and verifies disks from what is stored.
//!
//! ```text
//! DiskReader --capture--> chunks in packs + chunk map + manifest --deploy--> DiskWriter
//!                                  |                  |
//!                                  gc                 check, export
//! ```
//!
//! `docs/image-store.md` has the format on disk. Threads, not tasks: nothing here is async or touches a network. Source
//! disks are opened for reading only. Stored bytes are believed only after they are authenticated: damage is an error
//! that names what is damaged, never wrong data.

mod append;
mod begun;
mod capture;
mod catalog;
mod check;
mod checkpoint;
mod chunk;
mod codec;
mod control;
mod deploy;
mod digest;
mod error;
mod export;
mod fan;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod hex;
mod index;
mod key;
mod limit;
mod lock;
mod loss;
mod manifest;
mod map;
mod marker;
mod name;
mod pack;
mod pack_writer;
mod rate;
mod record;
pub mod remote;
mod remove;
mod repair;
mod scrub;
mod seal;
mod set;
mod source;
mod stage;
mod store;
mod stream;
pub mod used;
mod walk;

pub use crate::hardware::DiskFormat as ImageFormat;
pub use capture::{CaptureReport, CaptureRequest, CaptureState, capture, capture_state, discard};
pub use check::{CheckReport, Depth, Fault, MOST_FAULTS, verify};
pub use chunk::{ChunkDigest, ChunkId, DiskDigest, DiskHasher, digest_disk};
pub use codec::Compression;
pub use control::{Control, Tick};
pub use deploy::{DeployReport, DeployRequest, DeployState, deploy, deploy_state, undo};
pub use digest::{PlainDigest, digest_image, digest_source};
pub use error::{ImageError, Result};
pub use export::export;
pub use format::{
    DiskFiles, DiskReader, DiskWriter, Extent, ExtentKind, FormatError, Qcow2Disk, RawDisk, Subformat, look,
    open_source, open_target, source_identity,
};
pub use gc::{GcPlan, collect_garbage, plan_garbage};
pub use key::StoreKey;
pub use limit::{Clock, Limit, SystemClock, limit_file};
pub use lock::Lease;
pub use loss::{Loss, Lost};
pub use manifest::{ImageId, Manifest, SourceRecord};
pub use name::DiskName;
pub use pack::PackId;
pub use rate::{RateError, RateSchedule};
pub use remove::remove;
pub use repair::{PackRepair, RepairReport, repair};
pub use scrub::{ScrubReport, scrub};
pub use seal::Cipher;
pub use set::{SealedSet, SetMember, SetState, all_sets, newest_set, seal_set, set_state};
pub use source::{Live, OnReadError, ReadMode, ReadPlan, Reading};
pub use store::{DEFAULT_CHUNK_SIZE, Store, StoreSettings};
