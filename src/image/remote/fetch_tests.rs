use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::image::{
    CaptureRequest, Cipher, Compression, Control, DiskName, ImageFormat, ReadPlan, Store, StoreSettings, Tick, capture,
};

const CHUNK: u64 = 64 << 10;
const SIZE: u64 = 600 * CHUNK + 777;

struct Site {
    folder: tempfile::TempDir,
    image: RemoteImage,
    bytes: Vec<u8>,
}

/// Noise, holes, and chunks that repeat; the last chunk is short.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for (index, part) in bytes.chunks_mut(CHUNK as usize).enumerate() {
        match index % 5 {
            0 => {}
            1 => part.fill(7),
            _ => blake3::Hasher::new().update(&index.to_le_bytes()).finalize_xof().fill(part),
        }
    }
    // A boot sector, and a long hole.
    bytes[..512].fill(0xEB);
    bytes[200 * CHUNK as usize..290 * CHUNK as usize].fill(0);
    bytes
}

fn quiet(_: Tick) {}
static NEVER: AtomicBool = AtomicBool::new(false);

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let (root, source, bytes) = (folder.path().join("store"), folder.path().join("source"), content());
    std::fs::write(&source, &bytes).unwrap();
    let settings = StoreSettings { cipher: Cipher::None, chunk_size: CHUNK as u32 };
    let store = Store::create(&root, settings, None).unwrap();
    let disk = DiskName::new("web01", "disk0").unwrap();
    let request = CaptureRequest {
        disk: disk.clone(),
        source: source.clone(),
        format: ImageFormat::Raw,
        identity: None,
        compression: Compression::Zstd,
        read: ReadPlan::default(),
    };
    capture(&store, &request, &Control::new(&NEVER, &quiet)).unwrap();
    let image = RemoteImage::open(Arc::new(store), &disk, None).unwrap();
    Site { folder, image, bytes }
}

/// Gives so many answers, the last but `spoilt` with a flipped bit.
struct Giver<'a> {
    image: &'a RemoteImage,
    left: &'a AtomicUsize,
    spoilt: bool,
}

impl ImageGiver for Giver<'_> {
    type Answer = Vec<u8>;

    fn map(&mut self, first: u64) -> Result<Vec<u8>, SinkError> {
        Ok(self.image.map(first)?.encode())
    }

    fn contents(&mut self, wanted: Vec<u8>) -> Result<Vec<u8>, SinkError> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err("the network is gone".into());
        }
        let control = Control::new(&NEVER, &quiet);
        let mut answer = self.image.contents(&Wanted::decode(&wanted)?, &control)?;
        if self.spoilt {
            let last = answer.len() - 1;
            answer[last] ^= 1;
        }
        Ok(answer)
    }
}

impl Site {
    /// A disk that is larger than the image and full of something else.
    fn target(&self) -> PathBuf {
        let path = self.folder.path().join("target");
        std::fs::write(&path, vec![0xAA; SIZE as usize + 5 * CHUNK as usize]).unwrap();
        path
    }

    fn fetch(&self, path: &std::path::Path, answers: usize, spoilt: bool) -> crate::image::Result<FetchReport> {
        let image = &self.image;
        let offer = Offer {
            image: image.id(),
            size: image.size(),
            chunk_size: image.chunk_size(),
            digest: image.digest().to_string(),
        };
        let left = AtomicUsize::new(answers);
        let connect = || Ok(Giver { image, left: &left, spoilt });
        fetch_disk(&DiskTarget::open(path)?, &offer, connect, &Control::new(&NEVER, &quiet).threads(2))
    }

    fn assert_whole(&self, path: &std::path::Path) {
        let found = std::fs::read(path).unwrap();
        assert!(found[..SIZE as usize] == self.bytes, "the disk is the image");
        assert!(found[SIZE as usize..].iter().all(|byte| *byte == 0), "and nothing lies behind it");
    }
}

#[test]
fn an_image_becomes_a_disk_elsewhere() {
    let (site, path) = (site(), PathBuf::new());
    assert!(site.fetch(&path, 1, false).is_err(), "no disk is there");
    let path = site.target();
    let report = site.fetch(&path, usize::MAX, false).unwrap();
    site.assert_whole(&path);
    assert_eq!(report.resumed, 0);
    assert!(report.received < report.written, "what repeats within a request travels once: {report:?}");
    assert_eq!(site.image.sent(), report.received);
}

#[test]
fn a_deploy_that_is_cut_off_goes_on_by_what_the_disk_says() {
    let site = site();
    let path = site.target();
    let whole = site.fetch(&path, usize::MAX, false).unwrap().received;
    let (path, mut received) = (site.target(), 0);
    for round in 0.. {
        let before = site.image.sent();
        let outcome = site.fetch(&path, 3, false);
        received += site.image.sent() - before;
        if outcome.is_ok() {
            assert!(round > 1, "it was cut off more than once");
            break;
        }
        let head = std::fs::read(&path).unwrap();
        assert!(head[..512].iter().all(|byte| *byte == 0), "a half-written disk does not boot");
        assert!(round < 50, "it gets on");
    }
    site.assert_whole(&path);
    // Of the two requests that are under way at once, one may be lost each time.
    assert!(received < whole * 2, "{received} of {whole}");
}

#[test]
fn what_arrives_damaged_or_does_not_fit_is_refused() {
    let site = site();
    let path = site.target();
    let error = site.fetch(&path, usize::MAX, true).unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(text.contains("arrived damaged"), "{text}");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    let error = site.fetch(&path, usize::MAX, false).unwrap_err();
    assert!(matches!(error, crate::image::ImageError::TargetTooSmall { .. }), "{error}");
}

#[test]
fn only_chunks_of_the_image_are_given() {
    let site = site();
    let control = Control::new(&NEVER, &quiet);
    let refused = |wanted: Vec<u64>| site.image.contents(&Wanted(wanted), &control).unwrap_err().to_string();
    assert!(refused(vec![250]).contains("zeros"));
    assert!(refused(vec![601]).contains("the disk has 601"));
    assert!(refused(vec![u64::MAX]).contains("the disk has 601"));
    assert!(refused((0..200).collect()).contains("too much"));
    assert!(site.image.map(601).is_err() && site.image.map(u64::MAX).is_err());
    // The map can be read from anywhere, and says the same.
    let whole: Vec<Entry> = site.image.map(0).unwrap().entries;
    let mut chunk = 0;
    for (index, entry) in whole.iter().enumerate() {
        assert_eq!(site.image.map(chunk).unwrap().entries, whole[index..], "from chunk {chunk}");
        chunk += entry.chunks();
    }
    assert_eq!(chunk, 601);
    assert_eq!(site.image.map(250).unwrap().entries[0], Entry::Zeros(40 + 1));
}

mod bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for magic in [b"rpM1", b"rpW1", b"rpC1"] {
                let marked = [magic.as_slice(), &bytes].concat();
                if let Ok(part) = MapPart::decode(&marked) {
                    prop_assert_eq!(part.encode(), marked.clone());
                }
                if let Ok(wanted) = Wanted::decode(&marked) {
                    prop_assert_eq!(wanted.encode(), marked.clone());
                }
                let _ = Contents::decode(&marked);
            }
        }
    }
}
