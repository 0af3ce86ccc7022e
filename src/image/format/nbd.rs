//! The client's side of the NBD protocol over a Unix socket: fixed newstyle handshake, structured replies, and the
//! `base:allocation` context, which tells what is allocated without reading it.
//!
//! One request is under way per connection; a disk that many threads read has a connection for each of them. Numbers are
//! big-endian. What a server says is not believed: lengths are bounded, and ranges stay within what was asked.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;

const OPT_GO: u32 = 7;
const OPT_STRUCTURED_REPLY: u32 = 8;
const OPT_SET_META_CONTEXT: u32 = 10;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_META_CONTEXT: u32 = 4;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const WRITE_ZEROES: u16 = 6;
const BLOCK_STATUS: u16 = 7;

/// No hole: the range gets its place.
const FLAG_NO_HOLE: u16 = 1 << 1;
/// Every NBD server takes requests of this size.
const MOST_BYTES: u64 = 16 << 20;
/// A structured reply or a message that is longer than the request allows is no reply.
const MOST_REPLY: u32 = (32 << 20) + 64;
const CONTEXT: &[u8] = b"base:allocation";

/// One connection to one export.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    size: u64,
    context: Option<u32>,
    cookie: u64,
}

/// A run of bytes that are all allocated, or all read as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) len: u64,
    pub(super) zero: bool,
}

fn protocol(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the NBD server broke the protocol: {what}"))
}

impl Connection {
    /// Connects and chooses an export.
    pub(super) fn open(socket: &Path, export: &str) -> io::Result<Self> {
        let mut connection = Self { stream: UnixStream::connect(socket)?, size: 0, context: None, cookie: 0 };
        let hello: [u8; 18] = connection.take()?;
        if long(&hello, 0) != MAGIC || long(&hello, 8) != OPTION_MAGIC || hello[17] & 1 == 0 {
            return Err(protocol("it greets otherwise than a newstyle server"));
        }
        // Fixed newstyle, no padding.
        connection.stream.write_all(&3u32.to_be_bytes())?;
        connection.option(OPT_STRUCTURED_REPLY, &[])?;
        let mut wanted = Vec::new();
        put_text(&mut wanted, export.as_bytes());
        wanted.extend_from_slice(&1u32.to_be_bytes());
        put_text(&mut wanted, CONTEXT);
        connection.option(OPT_SET_META_CONTEXT, &wanted)?;
        let mut go = Vec::new();
        put_text(&mut go, export.as_bytes());
        go.extend_from_slice(&0u16.to_be_bytes());
        connection.option(OPT_GO, &go)?;
        Ok(connection)
    }

    /// Bytes of the disk.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Sends an option and reads its replies up to the acknowledgement.
    fn option(&mut self, option: u32, data: &[u8]) -> io::Result<()> {
        let mut message = OPTION_MAGIC.to_be_bytes().to_vec();
        message.extend_from_slice(&option.to_be_bytes());
        message.extend_from_slice(&(data.len() as u32).to_be_bytes());
        message.extend_from_slice(data);
        self.stream.write_all(&message)?;
        loop {
            let head: [u8; 20] = self.take()?;
            if long(&head, 0) != OPTION_REPLY_MAGIC || word(&head, 8) != option {
                return Err(protocol("it answers another option"));
            }
            let body = self.take_vec(word(&head, 16))?;
            match word(&head, 12) {
                REP_ACK => return Ok(()),
                REP_INFO if body.len() >= 12 && body[..2] == [0, 0] => self.size = long(&body, 2),
                REP_INFO => {}
                REP_META_CONTEXT if body.len() >= 4 && &body[4..] == CONTEXT => self.context = Some(word(&body, 0)),
                REP_META_CONTEXT => {}
                error => {
                    let said = String::from_utf8_lossy(&body);
                    return Err(io::Error::other(format!("the NBD server refuses (code {error:#x}): {said}")));
                }
            }
        }
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take_vec(&mut self, len: u32) -> io::Result<Vec<u8>> {
        if len > MOST_REPLY {
            return Err(protocol("a reply of more bytes than were asked for"));
        }
        let mut bytes = vec![0; len as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn request(&mut self, kind: u16, flags: u16, offset: u64, len: u64, data: &[u8]) -> io::Result<()> {
        self.cookie += 1;
        let mut head = [0; 28];
        head[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        head[4..6].copy_from_slice(&flags.to_be_bytes());
        head[6..8].copy_from_slice(&kind.to_be_bytes());
        head[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        head[16..24].copy_from_slice(&offset.to_be_bytes());
        let len = u32::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        head[24..].copy_from_slice(&len.to_be_bytes());
        self.stream.write_all(&head)?;
        self.stream.write_all(data)
    }

    /// Reads chunks of a reply until the last; data goes into `buffer`, which begins at `offset` of the disk.
    fn reply(&mut self, buffer: &mut [u8], offset: u64, mut status: impl FnMut(&[u8])) -> io::Result<()> {
        let mut failed: Option<io::Error> = None;
        // Ranges of a read come in any order; each byte comes once.
        let mut filled = 0;
        loop {
            let magic = u32::from_be_bytes(self.take()?);
            if magic == SIMPLE_MAGIC {
                let head: [u8; 12] = self.take()?;
                self.check_cookie(long(&head, 4))?;
                return match word(&head, 0) {
                    0 if buffer.is_empty() => Ok(()),
                    0 => Err(protocol("a simple reply to a read")),
                    error => Err(errno(error)),
                };
            }
            if magic != STRUCTURED_MAGIC {
                return Err(protocol("a reply without its mark"));
            }
            let head: [u8; 16] = self.take()?;
            let (flags, kind, len) = (half(&head, 0), half(&head, 2), word(&head, 12));
            self.check_cookie(long(&head, 4))?;
            let place = |at: u64, len: u64| -> io::Result<std::ops::Range<usize>> {
                let start = at.checked_sub(offset).filter(|start| start + len <= buffer.len() as u64);
                let start = start.ok_or_else(|| protocol("bytes that were not asked for"))?;
                Ok(start as usize..(start + len) as usize)
            };
            match (kind, len) {
                (0, 0) => {}
                (1, 8..) => {
                    let at = u64::from_be_bytes(self.take()?);
                    let range = place(at, u64::from(len - 8))?;
                    filled += range.len();
                    self.stream.read_exact(&mut buffer[range])?;
                }
                (2, 12) => {
                    let hole: [u8; 12] = self.take()?;
                    let range = place(long(&hole, 0), word(&hole, 8).into())?;
                    filled += range.len();
                    buffer[range].fill(0);
                }
                (5, 4..) => {
                    let body = self.take_vec(len)?;
                    if Some(word(&body, 0)) == self.context {
                        status(&body[4..]);
                    }
                }
                (0x8000.., 6..) => {
                    let body = self.take_vec(len)?;
                    let said = body.get(6..6 + usize::from(half(&body, 4))).unwrap_or_default();
                    let error = errno(word(&body, 0));
                    failed.get_or_insert(match said.is_empty() {
                        true => error,
                        false => io::Error::new(error.kind(), format!("{error}: {}", String::from_utf8_lossy(said))),
                    });
                }
                _ => return Err(protocol("a reply of an unknown kind")),
            }
            if flags & 1 != 0 {
                return match failed {
                    Some(error) => Err(error),
                    None if filled == buffer.len() => Ok(()),
                    None => Err(protocol("fewer bytes than were asked for")),
                };
            }
        }
    }

    fn check_cookie(&self, cookie: u64) -> io::Result<()> {
        match cookie == self.cookie {
            true => Ok(()),
            false => Err(protocol("it answers another request")),
        }
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for part in buffer.chunks_mut(MOST_BYTES as usize) {
            self.request(READ, 0, at, part.len() as u64, &[])?;
            self.reply(part, at, |_| ())?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for part in bytes.chunks(MOST_BYTES as usize) {
            self.request(WRITE, 0, at, part.len() as u64, part)?;
            self.reply(&mut [], 0, |_| ())?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Makes a range read as zeros; with `hole` it needs no space.
    pub(super) fn zero(&mut self, offset: u64, len: u64, hole: bool) -> io::Result<()> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            // Formats without a mark for zeros write them: pieces that such a server takes in its stride.
            let step = (end - at).min(256 << 20);
            self.request(WRITE_ZEROES, if hole { 0 } else { FLAG_NO_HOLE }, at, step, &[])?;
            self.reply(&mut [], 0, |_| ())?;
            at += step;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.request(FLUSH, 0, 0, 0, &[])?;
        self.reply(&mut [], 0, |_| ())
    }

    /// What is allocated from `offset` on: at least one run, and none beyond the disk's end.
    pub(super) fn status(&mut self, offset: u64) -> io::Result<Vec<Run>> {
        let all = self.size.saturating_sub(offset);
        if self.context.is_none() || all == 0 {
            return Ok(vec![Run { len: all, zero: false }]);
        }
        let asked = all.min(1 << 31);
        self.request(BLOCK_STATUS, 0, offset, asked, &[])?;
        let (mut runs, mut left): (Vec<Run>, u64) = (Vec::new(), all);
        self.reply(&mut [], 0, |body| {
            for entry in body.chunks_exact(8) {
                let run = Run { len: u64::from(word(entry, 0)).min(left), zero: word(entry, 4) & 2 != 0 };
                left -= run.len;
                match runs.last_mut() {
                    _ if run.len == 0 => {}
                    Some(last) if last.zero == run.zero => last.len += run.len,
                    _ => runs.push(run),
                }
            }
        })?;
        match runs.is_empty() {
            true => Err(protocol("a status that says nothing")),
            false => Ok(runs),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.request(DISCONNECT, 0, 0, 0, &[]);
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// The protocol's own error numbers, which are Linux's.
fn errno(code: u32) -> io::Error {
    match i32::try_from(code) {
        Ok(code) => io::Error::from_raw_os_error(code),
        Err(_) => protocol("an error number that is none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose server says only what it was told to.
    fn scripted(reply: Vec<u8>) -> Connection {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&reply).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        std::thread::spawn(move || drop(std::io::copy(&mut theirs, &mut std::io::sink())));
        Connection { stream: ours, size: 100 << 20, context: Some(1), cookie: 0 }
    }

    fn chunk(flags: u16, kind: u16, cookie: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = STRUCTURED_MAGIC.to_be_bytes().to_vec();
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&cookie.to_be_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn data_and_holes_fill_a_read_in_any_order() {
        let data = [&12u64.to_be_bytes()[..], &[7; 4]].concat();
        let hole = [&8u64.to_be_bytes()[..], &4u32.to_be_bytes()].concat();
        let mut connection = scripted([chunk(0, 1, 1, &data), chunk(1, 2, 1, &hole)].concat());
        let mut buffer = [9; 8];
        connection.read(&mut buffer, 8).unwrap();
        assert_eq!(buffer, [0, 0, 0, 0, 7, 7, 7, 7]);
    }

    #[test]
    fn a_server_that_lies_is_an_error() {
        let beyond = [&4u64.to_be_bytes()[..], &[7; 8]].concat();
        let short = [&8u64.to_be_bytes()[..], &[7; 4]].concat();
        let cases = [
            chunk(1, 1, 1, &beyond),
            chunk(1, 1, 1, &short),
            chunk(1, 1, 2, &short),
            chunk(1, 9, 1, &[]),
            chunk(1, 0x8001, 1, &[0, 0, 0, 5, 0, 0]),
            vec![1; 40],
            Vec::new(),
        ];
        for case in cases {
            assert!(scripted(case).read(&mut [0; 8], 8).is_err());
        }
    }

    #[test]
    fn status_joins_runs_and_stays_within_the_disk() {
        let entry = |len: u32, flags: u32| [len.to_be_bytes(), flags.to_be_bytes()].concat();
        let body = [1u32.to_be_bytes().to_vec(), entry(4096, 0), entry(4096, 0), entry(0, 3), entry(u32::MAX, 3)];
        let mut connection = scripted(chunk(1, 5, 1, &body.concat()));
        let runs = connection.status((100 << 20) - 12_288).unwrap();
        assert_eq!(runs, [Run { len: 8192, zero: false }, Run { len: 4096, zero: true }]);
    }
}
