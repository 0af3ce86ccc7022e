//! Driver packages: an INF file and what it names, and which of them serves a device of a Windows.

mod choose;
mod inf;
mod package;

pub use choose::{Choice, choose};
pub use inf::{Inf, InfError, Model};
pub use package::{BootService, DriverPackage, PackageError, RegistryLine};
