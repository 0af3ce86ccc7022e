use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::image::chunk::ChunkDigest;
use crate::image::codec::Codec;
use crate::image::{
    Cipher, Compression, Control, Depth, DiskName, DiskReader, Extent, ImageFormat, OnReadError, Store, StoreKey,
    StoreSettings, Tick, digest_disk, open_source,
};

const CHUNK: u32 = 64 << 10;

struct Site {
    folder: tempfile::TempDir,
    store: Arc<Store>,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let key = StoreKey::resolve(&format!("file:{}", key.display())).unwrap();
    let settings = StoreSettings { cipher: Cipher::Aes256Gcm, chunk_size: CHUNK };
    let store = Store::create(&folder.path().join("store"), settings, Some(&key)).unwrap();
    Site { folder, store: Arc::new(store) }
}

/// Chunks of zeros, of text, of noise, one that stands twice, and a short last one.
fn content() -> Vec<u8> {
    let chunk = CHUNK as usize;
    let mut bytes = vec![0; 40 * chunk + 1234];
    for (index, part) in bytes.chunks_mut(chunk).enumerate() {
        match index % 4 {
            0 => {}
            1 => part.fill(index as u8),
            2 => blake3::Hasher::new().update(&[index as u8]).finalize_xof().fill(part),
            _ => part.fill(7),
        }
    }
    bytes
}

impl Site {
    fn disk(&self, bytes: &[u8]) -> Box<dyn DiskReader> {
        let path = self.folder.path().join("disk.raw");
        std::fs::write(&path, bytes).unwrap();
        open_source(&path, ImageFormat::Raw).unwrap()
    }

    fn capture(&self, place: &str) -> RemoteCapture {
        self.capture_with(place, OnReadError::Fail)
    }

    fn capture_with(&self, place: &str, on_read_error: OnReadError) -> RemoteCapture {
        let source = RemoteSource {
            disk: DiskName::new("web01", "disk0").unwrap(),
            place: place.into(),
            identity: "agent serial=S size=1".into(),
            size: content().len() as u64,
            on_read_error,
        };
        RemoteCapture::open(Arc::clone(&self.store), source).unwrap()
    }
}

struct Direct<'a> {
    capture: &'a RemoteCapture,
    left: &'a AtomicUsize,
}

impl BatchSink for Direct<'_> {
    fn deliver(&mut self, batch: &mut Vec<u8>) -> Result<BatchAnswer, SinkError> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err("the network is gone".into());
        }
        let answer = self.capture.take(&Batch::decode(batch)?)?;
        Ok(BatchAnswer::decode(&answer.encode())?)
    }
}

fn send(disk: &dyn DiskReader, capture: &RemoteCapture, deliveries: usize) -> crate::image::Result<SendReport> {
    let (stop, left) = (AtomicBool::new(false), AtomicUsize::new(deliveries));
    let control = Control::new(&stop, &|_: Tick| {}).threads(3);
    let connect = || Ok(Direct { capture, left: &left });
    send_disk(disk, CHUNK, capture.next_chunk(), Compression::Zstd, OnReadError::Fail, connect, &control)
}

#[test]
fn a_disk_elsewhere_becomes_an_image_and_known_chunks_do_not_travel() {
    let site = site();
    let bytes = content();
    let disk = site.disk(&bytes);
    let capture = site.capture("agent:one");
    let report = send(&*disk, &capture, usize::MAX).unwrap();
    assert!(report.sent > 0 && report.sent < report.read);
    let done = capture.finish().unwrap();
    assert_eq!(done.digest, digest_disk(&bytes[..], bytes.len() as u64, CHUNK).unwrap());
    assert_eq!((done.received, done.resumed), (report.sent, 0));
    drop(capture);
    let (stop, disks) = (AtomicBool::new(false), [DiskName::new("web01", "disk0").unwrap()]);
    let check = crate::image::verify(&site.store, &disks, None, Depth::Deep, &Control::new(&stop, &|_| {})).unwrap();
    assert_eq!((check.images, check.faults.len()), (1, 0));

    let again = site.capture("agent:two");
    let report = send(&*disk, &again, usize::MAX).unwrap();
    assert_eq!((report.sent, again.traffic()), (0, (0, 0)));
    assert_eq!(again.finish().unwrap().digest, done.digest);
}

#[test]
fn a_map_that_could_not_be_written_once_misses_nothing_afterwards() {
    let site = site();
    let bytes = content();
    let disk = site.disk(&bytes);
    let capture = site.capture("agent:one");
    let (mut entries, mut contents) = (Vec::new(), Vec::new());
    for (entry, chunk) in (0..).zip(bytes.chunks(CHUNK as usize).take(5)) {
        if chunk.iter().all(|byte| *byte == 0) {
            entries.push(Entry::Zeros(1));
        } else {
            entries.push(Entry::Chunk(ChunkDigest::of(chunk)));
            contents.push(Content { entry, codec: Codec::Raw, bytes: chunk });
        }
    }
    assert!(!contents.is_empty());
    let batch = Batch { first: 0, entries, unreadable: Vec::new(), contents };
    assert_eq!(capture.take(&batch).unwrap(), BatchAnswer::Accepted);
    // A file that takes no writes.
    let own = capture.swap_map(std::fs::File::open(site.folder.path().join("key")).unwrap());
    assert!(capture.keep().is_err());
    capture.swap_map(own);
    send(&*disk, &capture, usize::MAX).unwrap();
    let done = capture.finish().unwrap();
    assert_eq!(done.digest, digest_disk(&bytes[..], bytes.len() as u64, CHUNK).unwrap());
    drop(capture);
    let (stop, disks) = (AtomicBool::new(false), [DiskName::new("web01", "disk0").unwrap()]);
    let check = crate::image::verify(&site.store, &disks, None, Depth::Deep, &Control::new(&stop, &|_| {})).unwrap();
    assert_eq!((check.images, check.faults.len()), (1, 0), "the map names every chunk");
}

#[test]
fn a_capture_that_is_cut_off_goes_on_in_the_chunk_where_it_was() {
    let site = site();
    let bytes = content();
    let disk = site.disk(&bytes);
    let capture = site.capture("agent:one");
    assert!(send(&*disk, &capture, 1).is_err());
    assert!(capture.finish().is_err(), "it is not complete");
    let (begun, (received, _)) = (capture.next_chunk(), capture.traffic());
    drop(capture);
    let capture = site.capture("agent:one");
    assert_eq!(capture.next_chunk(), begun);
    let report = send(&*disk, &capture, usize::MAX).unwrap();
    let done = capture.finish().unwrap();
    assert_eq!(done.digest, digest_disk(&bytes[..], bytes.len() as u64, CHUNK).unwrap());
    assert_eq!(done.received, report.sent);
    assert!(done.repeated * 20 < done.received, "only what two threads met at once travels twice: {}", done.repeated);
    assert_eq!(received, 0, "one delivery only asks");
    drop(capture);
    // Another boot of the machine may have changed the disk: everything is read again, and nothing travels.
    let other = site.capture("agent:two");
    assert_eq!(other.next_chunk(), 0);
    assert_eq!(send(&*disk, &other, usize::MAX).unwrap().sent, 0);
}

#[test]
fn what_is_not_true_is_not_kept() {
    let site = site();
    let capture = site.capture("agent:one");
    let (truth, lie) = (vec![1; CHUNK as usize], vec![2; CHUNK as usize]);
    let batch = |first, digest: &[u8], bytes: &[u8]| {
        let entries = vec![Entry::Chunk(ChunkDigest::of(digest))];
        let contents = vec![Content { entry: 0, codec: Codec::Raw, bytes }];
        capture.take(&Batch { first, entries, unreadable: Vec::new(), contents })
    };
    assert!(batch(0, &truth, &lie).unwrap_err().to_string().contains("not what its digest says"));
    assert!(batch(0, &truth, &truth[1..]).is_err());
    let ask = Batch {
        first: 0,
        entries: vec![Entry::Chunk(ChunkDigest::of(&truth))],
        unreadable: Vec::new(),
        contents: Vec::new(),
    };
    assert_eq!(capture.take(&ask).unwrap(), BatchAnswer::Lacking(vec![0]));
    assert_eq!(batch(0, &truth, &truth).unwrap(), BatchAnswer::Accepted);
    assert_eq!(capture.take(&ask).unwrap(), BatchAnswer::Accepted);
    assert!(batch(41, &truth, &truth).unwrap_err().to_string().contains("beyond the disk"));
    assert!(batch(u64::MAX, &truth, &truth).is_err());
    let far = Batch { first: 1, entries: vec![Entry::Zeros(u64::MAX)], unreadable: Vec::new(), contents: Vec::new() };
    assert!(capture.take(&far).is_err());
    // What the plan does not allow, and what lies elsewhere.
    let lost = |range: std::ops::Range<u64>| Batch {
        first: 1,
        entries: vec![Entry::Zeros(1)],
        unreadable: std::iter::once(range).collect(),
        contents: Vec::new(),
    };
    let chunk = u64::from(CHUNK);
    assert!(capture.take(&lost(chunk..chunk + 512)).unwrap_err().to_string().contains("cannot be read"));
    drop(capture);
    let capture = site.capture_with("agent:two", OnReadError::ZeroAndReport);
    assert!(capture.take(&lost(0..512)).unwrap_err().to_string().contains("outside their batch"));
    assert!(capture.take(&lost(chunk..2 * chunk + 1)).is_err());
    assert!(capture.take(&lost(chunk..chunk + 512)).is_ok());
}

/// A disk whose medium has two bad places.
struct Bad(Box<dyn DiskReader>, [std::ops::Range<u64>; 2]);

impl DiskReader for Bad {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset + buffer.len() as u64;
        match self.1.iter().any(|bad| bad.start < end && offset < bad.end) {
            true => Err(std::io::Error::from_raw_os_error(5)),
            false => self.0.read_at(buffer, offset),
        }
    }

    fn extent_at(&self, offset: u64) -> std::io::Result<Extent> {
        self.0.extent_at(offset)
    }
}

#[test]
fn what_the_medium_does_not_give_is_an_error_or_zeros_that_are_named() {
    let site = site();
    let chunk = u64::from(CHUNK);
    // A sector in the middle of a chunk, and two pages at a border of two chunks.
    let bad = [2 * chunk + 5000..2 * chunk + 5512, 7 * chunk - 100..7 * chunk + 100];
    let lost = [2 * chunk + 4096..2 * chunk + 8192, 7 * chunk - 4096..7 * chunk + 4096];
    let disk = Bad(site.disk(&content()), bad);
    let capture = site.capture("agent:one");
    let error = send(&disk, &capture, usize::MAX).unwrap_err();
    let cause = std::error::Error::source(&error).expect("it says why").to_string();
    assert!(cause.contains("cannot be read: the medium is bad there") && cause.contains("on_read_error"), "{cause}");
    drop(capture);

    let capture = site.capture_with("agent:one", OnReadError::ZeroAndReport);
    let (stop, left) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
    let control = Control::new(&stop, &|_: Tick| {}).threads(3);
    let connect = || Ok(Direct { capture: &capture, left: &left });
    let zeros = OnReadError::ZeroAndReport;
    let report = send_disk(&disk, CHUNK, capture.next_chunk(), Compression::Zstd, zeros, connect, &control).unwrap();
    assert_eq!(report.unreadable, 3 * 4096);
    let done = capture.finish().unwrap();
    drop(capture);
    let mut expected = content();
    for range in &lost {
        expected[range.start as usize..range.end as usize].fill(0);
    }
    assert_eq!(done.digest, digest_disk(&expected[..], expected.len() as u64, CHUNK).unwrap());
    assert_eq!(done.unreadable, 3 * 4096);
    let shown = site.store.chosen(&DiskName::new("web01", "disk0").unwrap(), Some(done.id)).unwrap();
    assert_eq!(shown.reading.unreadable, lost);
}

mod bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Batch::decode(&bytes);
            let _ = BatchAnswer::decode(&bytes);
            for magic in [b"rpB1", b"rpB2"] {
                let marked = [magic.as_slice(), &bytes].concat();
                if let Ok(batch) = Batch::decode(&marked) {
                    prop_assert_eq!(batch.encode(), marked);
                }
            }
        }

        #[test]
        fn a_batch_reads_back(first: u64, digests in proptest::collection::vec(any::<[u8; 32]>(), 1..9), content: Vec<u8>) {
            let mut entries: Vec<Entry> = digests.into_iter().map(|digest| Entry::Chunk(ChunkDigest(digest))).collect();
            entries.insert(0, Entry::Zeros(3));
            let contents = vec![Content { entry: 1, codec: Codec::Zstd, bytes: &content }];
            let unreadable = if first % 2 == 0 { vec![1..2, 5..9] } else { Vec::new() };
            let batch = Batch { first, entries, unreadable, contents };
            let bytes = batch.encode();
            prop_assert_eq!(Batch::decode(&bytes), Ok(batch));
        }
    }
}
