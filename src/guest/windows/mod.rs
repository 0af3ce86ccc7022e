//! A Windows guest: what is known about it while it is off, and what must change so that it starts on other hardware.
//!
//! ```text
//! disks -survey-> WindowsFacts -plan-> registry drafts, files, edits with before and after -convert-> a Windows that starts
//! ```
//!
//! Looking needs no mount and no tool: NTFS and the registry are read by libraries. Changing is done on the mounted
//! volume of a restored copy: each hive is backed up beside itself, changed by `hivexsh` in a copy, and put in place only
//! after every other key was found unchanged. What can only be done in a running Windows is left to a script of its
//! first boot, which writes a verdict.

mod adapters;
mod bcd;
mod boot_driver;
mod convert;
pub mod driver;
mod facts;
mod fat;
mod files;
mod firstboot;
mod generation;
mod inspect;
mod mount;
mod network;
mod plan;
mod preview;
pub mod registry;
pub mod security;
mod software;
mod survey;
mod tables;
mod volume;

pub use bcd::{BootDevice, BootEntry, BootFacts, BootMode};
pub use boot_driver::{MissingDriver, choice, missing};
pub use convert::{WindowsConvertError, WindowsOutcome, convert, is_converted};
pub use facts::{AdapterFact, Hazard, InstalledTool, ServiceFact, StartMode, WindowsFacts};
pub use files::{MountedVolume, WindowsFiles};
pub use generation::{Architecture, Generation};
pub use inspect::{InspectError, control_set, find_root, hive_path, inspect, is_hibernated};
pub use mount::{NtfsMount, NtfsMountError};
pub use plan::{FileContent, NewFile, TargetNic, WindowsOptions, WindowsPlan, WindowsPlanError, plan, refusals};
pub use preview::{PreviewError, preview};
pub use survey::{DiskView, FoundWindows, PartitionRange, SurveyError, WindowsSurvey, partitions, survey};
pub use tables::{Device, DeviceRole, Hal, Hardware, ServiceModes, ServiceRule, TableError, TargetTables};
pub use volume::{NtfsVolume, VolumeError, Window, is_bitlocker};
