use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::image::chunk::ChunkDigest;
use crate::image::codec::Codec;
use crate::image::{
    Cipher, Compression, Control, Depth, DiskName, DiskReader, ImageFormat, Store, StoreKey, StoreSettings, Tick,
    digest_disk, open_source,
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
        let source = RemoteSource {
            disk: DiskName::new("web01", "disk0").unwrap(),
            place: place.into(),
            identity: "agent serial=S size=1".into(),
            size: content().len() as u64,
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
    send_disk(disk, CHUNK, capture.next_chunk(), Compression::Zstd, connect, &control)
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
        capture.take(&Batch { first, entries, contents })
    };
    assert!(batch(0, &truth, &lie).unwrap_err().to_string().contains("not what its digest says"));
    assert!(batch(0, &truth, &truth[1..]).is_err());
    let ask = Batch { first: 0, entries: vec![Entry::Chunk(ChunkDigest::of(&truth))], contents: Vec::new() };
    assert_eq!(capture.take(&ask).unwrap(), BatchAnswer::Lacking(vec![0]));
    assert_eq!(batch(0, &truth, &truth).unwrap(), BatchAnswer::Accepted);
    assert_eq!(capture.take(&ask).unwrap(), BatchAnswer::Accepted);
    assert!(batch(41, &truth, &truth).unwrap_err().to_string().contains("beyond the disk"));
    assert!(batch(u64::MAX, &truth, &truth).is_err());
    let far = Batch { first: 1, entries: vec![Entry::Zeros(u64::MAX)], contents: Vec::new() };
    assert!(capture.take(&far).is_err());
}

mod bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Batch::decode(&bytes);
            let _ = BatchAnswer::decode(&bytes);
            let marked = [b"rpB1".as_slice(), &bytes].concat();
            if let Ok(batch) = Batch::decode(&marked) {
                prop_assert_eq!(batch.encode(), marked);
            }
        }

        #[test]
        fn a_batch_reads_back(first: u64, digests in proptest::collection::vec(any::<[u8; 32]>(), 1..9), content: Vec<u8>) {
            let mut entries: Vec<Entry> = digests.into_iter().map(|digest| Entry::Chunk(ChunkDigest(digest))).collect();
            entries.insert(0, Entry::Zeros(3));
            let contents = vec![Content { entry: 1, codec: Codec::Zstd, bytes: &content }];
            let batch = Batch { first, entries, contents };
            let bytes = batch.encode();
            prop_assert_eq!(Batch::decode(&bytes), Ok(batch));
        }
    }
}
