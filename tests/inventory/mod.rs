//! Facts: their document, the files they come from, what was measured.

mod document;
