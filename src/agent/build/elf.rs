//! Just enough of ELF: which loader a program asks for, and the file without what is not loaded (symbols, debug data).

/// Why a file is not a program we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It is no 64-bit little-endian ELF file.
    #[error("it is not a 64-bit ELF program")]
    NotElf,
    /// Its headers point outside of it.
    #[error("its ELF headers are damaged")]
    Damaged,
}

/// A program's headers.
#[derive(Debug)]
pub struct ElfFile<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: usize,
    size: usize,
}

const INTERPRETER: u32 = 3;
const PROGRAM_HEADER: usize = 56;

impl<'a> ElfFile<'a> {
    /// Reads the headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if bytes.len() < 64 || &bytes[..6] != b"\x7fELF\x02\x01" {
            return Err(ElfError::NotElf);
        }
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize;
        let start = long(bytes, 32).ok_or(ElfError::Damaged)?;
        let (size, count) = (short(54), short(56));
        if size < PROGRAM_HEADER {
            return Err(ElfError::Damaged);
        }
        let mut segments = Vec::new();
        for index in 0..count {
            let at = start.checked_add(index * size).ok_or(ElfError::Damaged)?;
            let header = bytes.get(at..at.saturating_add(PROGRAM_HEADER)).ok_or(ElfError::Damaged)?;
            let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let (offset, size) =
                (long(header, 8).ok_or(ElfError::Damaged)?, long(header, 32).ok_or(ElfError::Damaged)?);
            if offset.checked_add(size).is_none_or(|end| end > bytes.len()) {
                return Err(ElfError::Damaged);
            }
            segments.push(Segment { kind, offset, size });
        }
        Ok(Self { bytes, segments })
    }

    /// The dynamic loader, such as `/lib64/ld-linux-x86-64.so.2`; `None` for a static program.
    pub fn interpreter(&self) -> Option<&'a str> {
        let segment = self.segments.iter().find(|segment| segment.kind == INTERPRETER)?;
        let text = &self.bytes[segment.offset..segment.offset + segment.size];
        std::str::from_utf8(text).ok().map(|text| text.trim_end_matches('\0'))
    }

    /// The file up to the last byte that is loaded, without section headers. It runs as before.
    pub fn stripped(&self) -> Vec<u8> {
        let headers = long(self.bytes, 32).unwrap_or(64) + self.segments.len() * PROGRAM_HEADER;
        let end = self.segments.iter().map(|segment| segment.offset + segment.size).max().unwrap_or(0);
        let mut out = self.bytes[..end.max(headers).max(64).min(self.bytes.len())].to_vec();
        // Offset, entry count and name index of the section headers that are gone.
        out[40..48].fill(0);
        out[60..64].fill(0);
        out
    }
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let field: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(field)).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_stripped_program_still_runs() {
        let own = std::fs::read("/bin/ls").unwrap();
        let elf = ElfFile::parse(&own).unwrap();
        assert!(elf.interpreter().is_some_and(|path| path.contains("ld-")));
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("ls");
        std::fs::write(&copy, elf.stripped()).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(elf.stripped().len() <= own.len());
        let output = std::process::Command::new(&copy).arg(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ls\n");
    }

    proptest::proptest! {
        #[test]
        fn damaged_headers_are_errors_not_panics(at in 0usize..200, byte: u8, cut in 0usize..400) {
            let mut bytes = std::fs::read("/bin/true").unwrap();
            bytes.truncate(bytes.len().saturating_sub(cut));
            bytes[at] = byte;
            if let Ok(elf) = ElfFile::parse(&bytes) {
                let _ = elf.interpreter();
                let _ = elf.stripped();
            }
        }
    }
}
