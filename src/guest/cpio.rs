//! The `newc` cpio archives that an initramfs is made of: read entry by entry, written reproducibly.

use std::io::{self, Read, Write};

/// Length of an entry's header.
const HEADER: usize = 110;
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// Longest name that is believed.
const MAX_NAME: u64 = 4096;

/// Type bits of a mode: a folder.
pub const FOLDER: u32 = 0o040_000;
/// Type bits of a mode: a regular file.
pub const FILE: u32 = 0o100_000;
/// Type bits of a mode: a symbolic link.
pub const LINK: u32 = 0o120_000;
/// Type bits of a mode: a character device.
pub const CHAR_DEVICE: u32 = 0o020_000;

/// What an entry is, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, without a leading `/` or `./`.
    pub name: String,
    /// Type and permissions.
    pub mode: u32,
    /// Bytes of content.
    pub size: u64,
}

/// Reads one archive from a stream.
pub struct Reader<R> {
    from: R,
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    /// Begins at an archive's first byte.
    pub fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the archive's end. What was not read of the entry before is skipped.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut header = [0; HEADER];
        self.from.read_exact(&mut header)?;
        if !matches!(&header[..6], b"070701" | b"070702") {
            return Err(invalid("an entry of the cpio archive does not begin with its magic number"));
        }
        let field = |index: usize| {
            let digits = &header[6 + index * 8..14 + index * 8];
            std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or_else(|| invalid("a field of a cpio entry is not a number"))
        };
        let (mode, size, name_len) = (field(1)?, u64::from(field(6)?), u64::from(field(11)?));
        if name_len == 0 || name_len > MAX_NAME {
            return Err(invalid("a cpio entry's name has an impossible length"));
        }
        let mut name = vec![0; name_len as usize];
        self.from.read_exact(&mut name)?;
        name.pop();
        self.skip(padding(HEADER as u64 + name_len))?;
        let name = String::from_utf8_lossy(&name).into_owned();
        if name == TRAILER {
            return Ok(None);
        }
        (self.left, self.padding) = (size, padding(size));
        let name = name.trim_start_matches("./").trim_start_matches('/').to_owned();
        Ok(Some(Entry { name, mode, size }))
    }

    /// The content of the entry that was returned last.
    pub fn content(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let read = self.from.by_ref().take(self.left).read_to_end(&mut content)? as u64;
        if read < self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = 0;
        Ok(content)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match io::copy(&mut self.from.by_ref().take(bytes), &mut io::sink())? {
            skipped if skipped == bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Writes an archive whose bytes depend on nothing but what is added, in that order: owner 0, time 0, numbered inodes.
pub struct Writer<W> {
    to: W,
    inode: u32,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(to: W) -> Self {
        Self { to, inode: 0 }
    }

    /// Adds a folder. Parents must have been added before.
    pub fn folder(&mut self, name: &str, permissions: u32) -> io::Result<()> {
        self.entry(name, FOLDER | permissions, 2, (0, 0), &[])
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, FILE | permissions, 1, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, LINK | 0o777, 1, (0, 0), to.as_bytes())
    }

    /// Adds a character device.
    pub fn char_device(&mut self, name: &str, permissions: u32, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, CHAR_DEVICE | permissions, 1, (major, minor), &[])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.write(TRAILER, 0, 0, 1, (0, 0), &[])?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        self.write(name, self.inode, mode, links, device, content)
    }

    fn write(
        &mut self,
        name: &str,
        inode: u32,
        mode: u32,
        links: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| invalid("a file is too large for a cpio archive"))?;
        let name_len = name.len() as u32 + 1;
        write!(
            self.to,
            "070701{inode:08X}{mode:08X}{:08X}{:08X}{links:08X}{:08X}{size:08X}{:08X}{:08X}{:08X}{:08X}{name_len:08X}{:08X}",
            0, 0, 0, 0, 0, device.0, device.1, 0
        )?;
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(&[0; 4][..1 + padding(HEADER as u64 + u64::from(name_len)) as usize])?;
        self.to.write_all(content)?;
        self.to.write_all(&[0; 4][..padding(u64::from(size)) as usize])
    }
}

/// Zeros up to the next multiple of four.
fn padding(len: u64) -> u64 {
    len.next_multiple_of(4) - len
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::new(Vec::new());
        writer.folder("a", 0o755).unwrap();
        writer.file("a/file", 0o644, b"12345").unwrap();
        writer.link("a/link", "file").unwrap();
        writer.char_device("console", 0o600, 5, 1).unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let mut rest = &bytes[..];
        let mut reader = Reader::new(&mut rest);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if entry.name == "a/file" {
                assert_eq!(reader.content().unwrap(), b"12345");
            }
            names.push(entry.name);
        }
        assert_eq!(names, ["a", "a/file", "a/link", "console"]);
        assert!(rest.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn damaged_archives_are_errors_not_panics(at in 0usize..400, byte: u8) {
            let mut writer = Writer::new(Vec::new());
            writer.file("some/file", 0o644, &[7; 50]).unwrap();
            writer.file("another", 0o644, &[8; 9]).unwrap();
            let mut bytes = writer.finish().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let mut reader = Reader::new(&bytes[..]);
            while let Ok(Some(entry)) = reader.next_entry() {
                if entry.size < 1000 {
                    let _ = reader.content();
                }
            }
        }
    }
}
