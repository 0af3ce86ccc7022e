//! Reading and writing past the page cache: the copy into it costs more than most of what we do with the bytes, and it
//! pushes out what others need.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};

/// What direct transfers ask of memory, offsets and lengths; every disk and file system is content with it.
pub const PAGE: usize = 4096;

/// Memory that begins at a page.
#[derive(Default)]
pub struct PageBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl PageBuffer {
    /// Sets the length. Memory that is new is zeros; what was there before stays or goes.
    pub fn resize(&mut self, len: usize) {
        if self.bytes.len() < len + PAGE {
            self.bytes = vec![0; len + PAGE];
            self.start = self.bytes.as_ptr().align_offset(PAGE).min(PAGE);
        }
        self.len = len;
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// A disk or file whose whole pages go past the page cache, as far as its file system does that; the rest, and
/// everything where it does not, goes through.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    direct: Option<File>,
    /// The file system took the flag and then refused to keep to it.
    refused: AtomicBool,
}

/// How much is written at once where something went wrong, so that as much as possible is there.
const CAREFUL: usize = 64 << 10;

impl DirectFile {
    /// Opens the same file again, for direct transfers.
    pub fn new(file: File) -> Self {
        let flag = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let again = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = OpenOptions::new().read(true).write(true).custom_flags(flag).open(again).ok();
        Self { file, direct, refused: AtomicBool::new(false) }
    }

    /// A file that is only used through the page cache.
    pub fn cached(file: File) -> Self {
        Self { file, direct: None, refused: AtomicBool::new(false) }
    }

    /// The file as it was opened.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether whole pages go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some() && !self.refused.load(Ordering::Relaxed)
    }

    /// The file for direct transfers, and how many of `buffer`'s bytes at `offset` can go that way.
    fn direct(&self, buffer: &[u8], offset: u64) -> Option<(&File, usize)> {
        let direct = self.direct.as_ref().filter(|_| self.is_direct())?;
        let len = buffer.len() / PAGE * PAGE;
        let aligned = offset.is_multiple_of(PAGE as u64) && buffer.as_ptr().addr().is_multiple_of(PAGE);
        (aligned && len > 0).then_some((direct, len))
    }

    fn refuse(&self, error: &io::Error) {
        if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::INVAL) {
            self.refused.store(true, Ordering::Relaxed);
        }
    }

    /// Writes `buffer` at `offset`.
    pub fn write_all_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.write_most_at(buffer, offset).1
    }

    /// Writes `buffer` at `offset`; returns how many bytes of it are there, even after an error.
    pub fn write_most_at(&self, buffer: &[u8], offset: u64) -> (usize, io::Result<()>) {
        let mut done = 0;
        if let Some((direct, len)) = self.direct(buffer, offset) {
            while done < len {
                match direct.write_at(&buffer[done..len], offset + done as u64) {
                    Ok(0) => break,
                    Ok(more) => done += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Tried again below: the page cache takes what the file system does not take directly.
                    Err(error) => {
                        self.refuse(&error);
                        break;
                    }
                }
            }
        }
        while done < buffer.len() {
            let end = buffer.len().min(done + CAREFUL);
            match self.file.write_at(&buffer[done..end], offset + done as u64) {
                Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Fills `buffer` from `offset`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        if let Some((direct, len)) = self.direct(buffer, offset) {
            while done < len {
                match direct.read_at(&mut buffer[done..len], offset + done as u64) {
                    Ok(0) => break,
                    Ok(more) => done += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.refuse(&error);
                        break;
                    }
                }
            }
        }
        self.file.read_exact_at(&mut buffer[done..], offset + done as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(len: usize, seed: u8) -> PageBuffer {
        let mut buffer = PageBuffer::default();
        buffer.resize(len);
        buffer.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 512) as u8 ^ at as u8 ^ seed);
        buffer
    }

    /// Everything at every alignment is there, whether read through the cache or past it.
    fn round_trips(file: DirectFile) {
        let mut expected = vec![0; 5 * PAGE + 700];
        for (seed, (at, len)) in
            [(0, 4 * PAGE), (PAGE, PAGE + 100), (2 * PAGE + 100, 3 * PAGE + 600), (512, 1024), (3 * PAGE, PAGE)]
                .into_iter()
                .enumerate()
        {
            let buffer = pattern(len, seed as u8);
            assert!(buffer.as_ptr().addr().is_multiple_of(PAGE));
            file.write_all_at(&buffer, at as u64).unwrap();
            expected[at..at + len].copy_from_slice(&buffer);
            let (mut direct, mut cached) = (PageBuffer::default(), vec![0; expected.len()]);
            let now = file.file().metadata().unwrap().len() as usize;
            direct.resize(now);
            file.read_exact_at(&mut direct, 0).unwrap();
            file.file().read_exact_at(&mut cached[..now], 0).unwrap();
            assert!(*direct == expected[..now] && cached[..now] == expected[..now], "write {seed}");
        }
        let mut beyond = pattern(PAGE, 0);
        let error = file.read_exact_at(&mut beyond, 6 * PAGE as u64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn whole_pages_and_odd_ends_are_read_and_written() {
        round_trips(DirectFile::new(tempfile::tempfile().unwrap()));
    }

    #[test]
    fn without_direct_transfers_everything_goes_through_the_cache() {
        let file = DirectFile::cached(tempfile::tempfile().unwrap());
        assert!(!file.is_direct());
        round_trips(file);
        // A file system that takes the flag and refuses the transfer: here, a file that is open for reading only.
        let named = tempfile::NamedTempFile::new().unwrap();
        let refusing = DirectFile {
            direct: Some(File::open(named.path()).unwrap()),
            ..DirectFile::cached(named.reopen().unwrap())
        };
        round_trips(refusing);
    }
}
