//! Facts: their document, the files they come from, what was measured.

mod disk;
mod document;
mod import;
mod performance;
mod robust;
mod ssh;
