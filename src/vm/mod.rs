//! A virtual machine as a folder: disks, a description, a start script and, while it runs, sockets. Everything here goes by
//! that folder alone, so it knows no hypervisor.
//!
//! ```text
//! start.sh run | start.sh agent KERNEL INITRD CMDLINE   -> qemu.pid qmp.sock console.sock console.log
//! ```

mod console;
mod folder;
mod probe;
mod qmp;

pub use console::{Seen, last_lines, wait_for};
pub use folder::{VmError, VmFolder, VmState};
pub use probe::{Probe, ProbeTextError};
pub use qmp::Qmp;
