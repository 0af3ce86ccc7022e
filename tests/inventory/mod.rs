//! Facts: their document, the files they come from, what was measured.

mod document;
mod import;
mod performance;
mod robust;
