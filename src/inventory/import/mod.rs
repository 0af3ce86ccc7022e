//! Files of other tools as inventory documents.
//!
//! ```text
//! file --detect--> kind --read--> documents, or every flaw with file and line, or sheet and row
//! ```
//!
//! Nothing is collected that may be secret: no passwords of consoles, no annotations, no arguments of commands, no
//! licence keys.

mod detect;
mod device;
mod error;
mod hardware;
mod inspection;
mod libvirt;
mod linux;
mod ovf;
mod read;
mod rvtools;
mod scripts;
mod table;
mod vmx;
mod windows;
mod xml;

pub use detect::{FileKind, detect};
pub(in crate::inventory) use error::shown;
pub use error::{ImportError, Place};
pub(in crate::inventory) use hardware::program;
pub use inspection::inspected;
pub use read::{Imported, Observer, import};
pub use scripts::{ScriptKind, parse_output, script};
