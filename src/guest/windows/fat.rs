//! Reading a file from a FAT volume without mounting it: the boot configuration on an EFI system partition.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// A file larger than this is not read: no boot configuration is.
const LARGEST: u64 = 64 << 20;

/// Whether a volume's first sector is that of a FAT file system.
pub(super) fn is_fat(sector: &[u8; 512]) -> bool {
    sector[510..] == [0x55, 0xaa] && (&sector[54..57] == b"FAT" || &sector[82..87] == b"FAT32")
}

/// The file's content; `None` if there is no such file.
pub(super) fn read(volume: impl Read + Seek, path: &str) -> io::Result<Option<Vec<u8>>> {
    let files = fatfs::FileSystem::new(ReadOnly(volume), fatfs::FsOptions::new())?;
    let found = match files.root_dir().open_file(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(LARGEST).read_to_end(&mut bytes)?;
            Some(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(found)
}

/// The library wants to be able to write; here it cannot.
struct ReadOnly<R>(R);

impl<R: Read> Read for ReadOnly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Seek> Seek for ReadOnly<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

impl<R> Write for ReadOnly<R> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
