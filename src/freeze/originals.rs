//! The artifacts as they were rendered, in one compressed file: name and text, each with its length before it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use camino::Utf8Path;

/// The file's name in a run folder.
pub const FILE: &str = "originals.zst";

/// Longest name or text that is believed.
const MAX_LENGTH: u32 = 64 << 20;

/// Packs the artifacts of `folder` at these paths, in this order.
pub fn pack<'a>(folder: &Utf8Path, paths: impl Iterator<Item = &'a str>, into: File) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(into, 1)?;
    for path in paths {
        let text = std::fs::read(folder.join(path))?;
        for part in [path.as_bytes(), &text] {
            let length = u32::try_from(part.len()).map_err(|_| io::Error::other("an artifact of 4 GiB"))?;
            encoder.write_all(&length.to_le_bytes())?;
            encoder.write_all(part)?;
        }
    }
    encoder.finish()?;
    Ok(())
}

/// The artifact at `path` as it was rendered; `None` if the run folder has no record of it.
pub fn original(run_folder: &Utf8Path, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(run_folder.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = zstd::Decoder::new(BufReader::new(file))?;
    while let Some(name) = part(&mut reader)? {
        let text = part(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if name == path.as_bytes() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// One length and what follows it; `None` at the end.
fn part(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if reader.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length);
    if length > MAX_LENGTH {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a part of {length} bytes")));
    }
    let mut bytes = Vec::new();
    reader.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}
