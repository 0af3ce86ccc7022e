//! Why a header cannot be used.

use std::io;

use crate::image::used::ReadAt;

/// What is wrong with a file, as the end of a sentence that names it, and the way out.
#[derive(Debug)]
pub(in crate::image::format) struct HeaderFault {
    pub(in crate::image::format) why: String,
    pub(in crate::image::format) help: String,
}

impl HeaderFault {
    /// The file does not hold what its format needs.
    pub(super) fn broken(what: impl Into<String>) -> Self {
        let help = "is the copy complete? Compare its size with the original's and copy it again";
        Self { why: what.into(), help: help.into() }
    }

    /// The file is sound, but of a kind that is not read.
    pub(super) fn unknown(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { why: what.into(), help: help.into() }
    }
}

/// Reads a piece of a header; `what` names it.
pub(in crate::image::format) fn read(
    file: &dyn ReadAt,
    offset: u64,
    len: usize,
    what: &str,
) -> Result<Vec<u8>, HeaderFault> {
    file.read_vec(offset, len).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => HeaderFault::broken(format!("ends before its {what} does")),
        _ => HeaderFault::broken(format!("cannot be read at its {what}: {error}")),
    })
}
