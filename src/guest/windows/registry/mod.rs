//! Registry hives: read by code of our own, changed by `hivexsh`, and compared key by key afterwards.
//!
//! ```text
//! bytes -Hive-> keys and values -HiveDraft-> a script for hivexsh -HiveFile-> the changed copy, compared, then put in place
//! ```
//!
//! Reader and writer know nothing of each other: what the writer did is judged by the reader, and a key that was not
//! to be touched must be the same in every value, class name and security descriptor.

mod compare;
mod draft;
mod file;
mod hive;
mod value;

pub use compare::{Difference, unexpected_differences};
pub use draft::{HiveDraft, KeyState, ScriptError};
pub use file::{HiveFile, HiveFileError, HiveOutcome};
pub use hive::{Hive, HiveError, Key};
pub use value::RegValue;
