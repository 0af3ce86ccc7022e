//! Reading numbers and blocks at byte offsets.

use std::io;
use std::ops::Range;

/// A disk, or a part of one, that can be read anywhere.
pub trait ReadAt {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`; reading past the end is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Reads `length` bytes from `offset`.
    fn read_vec(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        self.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }
}

/// A contiguous part of a disk.
pub(super) struct Slice<'a> {
    /// The disk.
    pub disk: &'a dyn ReadAt,
    /// Where the part lies, in bytes.
    pub range: Range<u64>,
}

impl ReadAt for Slice<'_> {
    fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size());
        if end.is_none() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of a partition"));
        }
        self.disk.read_exact_at(buffer, self.range.start + offset)
    }
}

macro_rules! number_at {
    ($($name:ident $type:ty, $convert:ident;)*) => {$(
        /// The number at `offset`, or `None` past the end.
        pub(in crate::image) fn $name(bytes: &[u8], offset: usize) -> Option<$type> {
            let end = offset.checked_add(size_of::<$type>())?;
            Some(<$type>::$convert(bytes.get(offset..end)?.try_into().ok()?))
        }
    )*};
}

number_at! {
    le16 u16, from_le_bytes;
    le32 u32, from_le_bytes;
    le64 u64, from_le_bytes;
    be16 u16, from_be_bytes;
    be32 u32, from_be_bytes;
    be64 u64, from_be_bytes;
}
