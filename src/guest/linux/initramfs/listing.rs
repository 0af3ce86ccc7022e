//! What an initramfs holds: archives in a row, each plain or compressed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use super::super::super::cpio::{Entry, Reader};

/// What an initramfs holds, after all its archives are laid over each other.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Every path, with its mode and size.
    pub entries: BTreeMap<String, Entry>,
    /// Content of the files that were asked for.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// Number of archives.
    pub archives: usize,
    /// Whether the last archive is compressed by LZ4, whose end the kernel sees by zeros only.
    pub ends_in_lz4: bool,
}

/// Why an initramfs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// Neither an archive nor a known compression stands there.
    #[error("at byte {at} there is neither a cpio archive nor a known compression")]
    Unknown {
        /// Where.
        at: usize,
    },
    /// The archive is cut off or damaged.
    #[error("the archive at byte {at} is damaged")]
    Damaged {
        /// Where it begins.
        at: usize,
        /// What is wrong.
        #[source]
        error: io::Error,
    },
    /// A program that unpacks this compression is needed.
    #[error("`{tool}` is needed to read the archive at byte {at} (Debian package {package})")]
    Tool {
        /// Where the archive begins.
        at: usize,
        /// The program.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Reads all archives; the content of those files is kept whose path `keep` accepts.
pub fn read_listing(bytes: &[u8], keep: &dyn Fn(&str) -> bool) -> Result<Listing, ListingError> {
    let mut listing = Listing::default();
    let mut rest = bytes;
    loop {
        rest = &rest[rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())..];
        if rest.is_empty() {
            return Ok(listing);
        }
        let at = bytes.len() - rest.len();
        let damaged = |error| ListingError::Damaged { at, error };
        listing.archives += 1;
        listing.ends_in_lz4 = false;
        match rest {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => {
                listing.archive(&mut rest, keep).map_err(damaged)?;
            }
            [0x1f, 0x8b, ..] => {
                let mut unpacked = flate2::bufread::GzDecoder::new(&mut rest);
                listing.whole(&mut unpacked, keep).map_err(damaged)?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let unpacked = zstd::stream::read::Decoder::with_buffer(&mut rest).map_err(damaged)?;
                listing.whole(&mut unpacked.single_frame(), keep).map_err(damaged)?;
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                let end = xz_end(rest);
                listing.by_tool(&rest[..end], at, ("xz", "xz-utils"), keep)?;
                rest = &rest[end..];
            }
            [0x02, 0x21, 0x4c, 0x18, ..] => {
                let end = lz4_end(rest);
                listing.by_tool(&rest[..end], at, ("lz4", "lz4"), keep)?;
                rest = &rest[end..];
                listing.ends_in_lz4 = true;
                continue;
            }
            _ => return Err(ListingError::Unknown { at }),
        }
    }
}

impl Listing {
    /// The whole of a compressed stream: archives and the zeros between and behind them.
    fn whole(&mut self, stream: &mut dyn Read, keep: &dyn Fn(&str) -> bool) -> io::Result<()> {
        self.archive(stream, keep)?;
        io::copy(stream, &mut io::sink())?;
        Ok(())
    }

    fn archive(&mut self, stream: &mut dyn Read, keep: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let mut reader = Reader::new(stream);
        while let Some(entry) = reader.next_entry()? {
            if keep(&entry.name) {
                self.contents.insert(entry.name.clone(), reader.content()?);
            }
            self.entries.insert(entry.name.clone(), entry);
        }
        Ok(())
    }

    fn by_tool(
        &mut self,
        packed: &[u8],
        at: usize,
        (tool, package): (&'static str, &'static str),
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), ListingError> {
        let no_tool = |error| ListingError::Tool { at, tool, package, error };
        let mut child = Command::new(tool)
            .arg("-dc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(no_tool)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (mut stdin, mut stdout) = (stdin.expect("stdin is piped"), stdout.expect("stdout is piped"));
        let outcome = std::thread::scope(|scope| {
            // A tool that stops reading early shows in what it wrote, so a failed write says nothing more.
            scope.spawn(move || drop(stdin.write_all(packed)));
            let outcome = self.whole(&mut stdout, keep);
            drop(stdout);
            outcome
        });
        child.wait().map_err(no_tool)?;
        outcome.map_err(|error| ListingError::Damaged { at, error })
    }
}

/// Where the legacy LZ4 stream of kernels ends: blocks of at most 8 MiB, each after its length; a length of zero or one
/// that cannot be is not of the stream any more.
fn lz4_end(bytes: &[u8]) -> usize {
    const MAGIC: u32 = 0x184c_2102;
    const LONGEST: u32 = (8 << 20) + (8 << 20) / 255 + 16;
    let mut at = 4;
    while let Some(length) = bytes.get(at..at + 4).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes) {
        match length {
            MAGIC => at += 4,
            0 => break,
            length if length > LONGEST || bytes.len() - at - 4 < length as usize => break,
            length => at += 4 + length as usize,
        }
    }
    at.min(bytes.len())
}

/// Where an XZ stream ends: before zeros and another archive, or at the end of all.
fn xz_end(bytes: &[u8]) -> usize {
    let followed = |end: &usize| {
        let rest = &bytes[*end..];
        let zeros = rest.iter().take(512).take_while(|byte| **byte == 0).count();
        rest[zeros..].starts_with(b"070701")
    };
    (2..bytes.len()).filter(|end| &bytes[end - 2..*end] == b"YZ").find(followed).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::Writer;
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, content) in files {
            writer.file(name, 0o644, content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn padded(mut bytes: Vec<u8>, zeros: usize) -> Vec<u8> {
        bytes.resize(bytes.len() + zeros, 0);
        bytes
    }

    fn by_program(program: &str, words: &[&str], bytes: &[u8]) -> Vec<u8> {
        let mut child =
            Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("this test needs `{program}` (Debian packages xz-utils and lz4): {error}"),
            );
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap().stdout
    }

    #[test]
    fn archives_of_every_compression_in_a_row_are_read() {
        let early = padded(archive(&[("kernel/x86/microcode/x.bin", "early")]), 64);
        let main = archive(&[("conf/modules", "ext4\n"), ("init", "#!/bin/sh")]);
        let late = archive(&[("conf/modules", "ext4\nvirtio_blk\n"), ("late", "")]);
        for packed in [
            padded(gzip(&main), 3),
            padded(zstd::encode_all(&main[..], 3).unwrap(), 2),
            padded(by_program("xz", &["-c"], &main), 4),
            padded(by_program("lz4", &["-l", "-c"], &main), 8),
            main.clone(),
        ] {
            for late in [late.clone(), gzip(&late)] {
                let is_xz = packed.starts_with(&[0xfd]);
                if is_xz && late.starts_with(&[0x1f]) {
                    continue;
                }
                let all = [early.clone(), packed.clone(), late].concat();
                let listing = read_listing(&all, &|name| name == "conf/modules").unwrap();
                assert_eq!(listing.archives, 3);
                assert_eq!(listing.contents["conf/modules"], b"ext4\nvirtio_blk\n");
                assert!(
                    listing.entries.contains_key("kernel/x86/microcode/x.bin") && listing.entries.contains_key("late")
                );
            }
        }
    }

    #[test]
    fn cut_off_archives_are_named() {
        let packed = gzip(&archive(&[("a", "b")]));
        let error = read_listing(&packed[..packed.len() - 20], &|_| false).unwrap_err();
        assert!(matches!(error, ListingError::Damaged { at: 0, .. }), "{error}");
        let error = read_listing(b"\0\0\0\0MZ something", &|_| false).unwrap_err();
        assert!(matches!(error, ListingError::Unknown { at: 4 }), "{error}");
    }
}
