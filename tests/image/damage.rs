//! Damaged and missing things: the exact message, and never wrong data.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use replant::image::{Cipher, Control, Depth, ImageError, ImageFormat, Store, StoreKey, StoreSettings, verify};

use super::site::*;

/// A site with one captured image of two chunks of noise, 64 KiB each.
fn captured(cipher: Cipher) -> Site {
    let site = Site::with(cipher);
    std::fs::write(site.path("source"), noise(1, 128 << 10)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    site
}

const SIZE: u64 = 128 << 10;

fn pack_name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Deploying must fail with this text; `verify --deep` must name the same disk.
fn assert_both(site: &Site, expected: &str) {
    let error = chain(&site.restored(&disk("web01"), SIZE).unwrap_err());
    assert_eq!(error, format!("cannot deploy web01/disk0: {expected}"));
    let faults = deep(site);
    assert!(faults.iter().any(|fault| fault.contains("web01/disk0")), "{faults:?}");
}

fn deep(site: &Site) -> Vec<String> {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let report = verify(&site.store(), &[disk("web01")], None, Depth::Deep, &Control::new(&stop, &tick)).unwrap();
    report.faults.iter().map(|fault| format!("{}: {}", fault.disk, fault.message)).collect()
}

#[test]
fn a_flipped_bit_is_named_by_pack_chunk_and_machine() {
    for cipher in [Cipher::Aes256Gcm, Cipher::None] {
        let site = captured(cipher);
        let pack = site.only("packs", "pack");
        flip(&pack, 32 + 56 + 1000);
        let name = pack_name(&pack);
        let error = chain(&site.restored(&disk("web01"), SIZE).unwrap_err());
        // Which of the two chunks came first is the threads' choice.
        let expected = |chunk: u64| {
            format!(
                "cannot deploy web01/disk0: pack {name} is damaged at byte 32: chunk {chunk} (byte {} of the disk) does not authenticate",
                chunk << 16
            )
        };
        assert!(error == expected(0) || error == expected(1), "{error}");
        assert_eq!(deep(&site).len(), 1);
        // A file that cannot boot is left: its first MiB is not written.
        assert!(std::fs::read(site.path("restored")).unwrap()[..65536].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_damaged_record_header_is_named() {
    let site = captured(Cipher::Aes256Gcm);
    let pack = site.only("packs", "pack");
    flip(&pack, 32 + 20);
    let error = chain(&site.restored(&disk("web01"), SIZE).unwrap_err());
    assert!(error.contains("is damaged at byte 32") && error.ends_with("has a damaged header"), "{error}");
}

#[test]
fn a_missing_pack_is_named() {
    let site = captured(Cipher::Aes256Gcm);
    let pack = site.only("packs", "pack");
    std::fs::remove_file(&pack).unwrap();
    let name = pack_name(&pack);
    assert_both(&site, &format!("pack {name} is missing from the store; chunk 0 (byte 0 of the disk) cannot be read"));
    // Capturing again heals it.
    filetime_touch(&site.path("source"));
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
    assert_eq!(deep(&site), [""; 0]);
}

/// Makes the identity another one, so that the source is captured again.
fn filetime_touch(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
}

#[test]
fn a_truncated_pack_is_named() {
    let site = captured(Cipher::Aes256Gcm);
    let pack = site.only("packs", "pack");
    let len = std::fs::metadata(&pack).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&pack).unwrap().set_len(len - 1).unwrap();
    let error = chain(&site.restored(&disk("web01"), SIZE).unwrap_err());
    let name = pack_name(&pack);
    assert!(
        error.starts_with(&format!(
            "cannot deploy web01/disk0: pack {name} is truncated: it has {} bytes, chunk ",
            len - 1
        )),
        "{error}"
    );
    assert!(error.ends_with(&format!("ends at byte {len}")), "{error}");
    assert_eq!(deep(&site).len(), 1);
}

#[test]
fn without_pack_and_index_a_chunk_is_nowhere() {
    let site = captured(Cipher::Aes256Gcm);
    std::fs::remove_file(site.only("packs", "pack")).unwrap();
    std::fs::remove_file(site.only("index", "idx")).unwrap();
    assert_both(&site, "chunk 0 (byte 0 of the disk) is in no pack of the store");
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_the_pack() {
    for damage in 0..3 {
        let site = captured(Cipher::Aes256Gcm);
        let index = site.only("index", "idx");
        match damage {
            0 => std::fs::remove_file(&index).unwrap(),
            1 => flip(&index, 32 + 64 + 3),
            _ => flip(&index, 3),
        }
        assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
        // The next writer repairs it on disk: afterwards the index alone knows every chunk.
        std::fs::write(site.path("other"), noise(2, 1000)).unwrap();
        site.capture(&disk("web02"), "other", ImageFormat::Raw).unwrap();
        assert_eq!(std::fs::metadata(&index).unwrap().len(), 32 + 2 * 64);
        assert_eq!(deep(&site), [""; 0]);
    }
}

#[test]
fn a_changed_manifest_is_refused() {
    let site = captured(Cipher::Aes256Gcm);
    let manifest = site.only("images/web01/disk0", "json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"size\": 131072", "\"size\": 131073")).unwrap();
    assert_both(
        &site,
        &format!("{} is damaged: it does not authenticate: it was changed after it was written", manifest.display()),
    );
    std::fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert_both(&site, &format!("{} has format 2; this version reads format 1", manifest.display()));
}

#[test]
fn a_damaged_or_missing_map_is_refused() {
    let site = captured(Cipher::Aes256Gcm);
    let map = site.only("images/web01/disk0", "map");
    let sound = std::fs::read(&map).unwrap();
    flip(&map, 60);
    assert_both(&site, &format!("{} is damaged: frame 0 at byte 32 does not authenticate", map.display()));
    std::fs::write(&map, &sound[..sound.len() - 1]).unwrap();
    let error = chain(&site.restored(&disk("web01"), SIZE).unwrap_err());
    assert!(error.contains("is damaged: it ends"), "{error}");
    std::fs::remove_file(&map).unwrap();
    assert_both(&site, &format!("opening {}: No such file or directory (os error 2)", map.display()));
}

#[test]
fn a_wrong_key_is_told_apart_from_damage() {
    let site = captured(Cipher::Aes256Gcm);
    let root = site.path("store");
    let open = |key: Option<&StoreKey>| Store::open(&root, key).err().map(|error| error.to_string());
    let shown = root.display();
    assert_eq!(
        open(Some(&StoreKey::new([1; 32]))),
        Some(format!("this is not the key of the store at {shown}: none of its 1 key slot(s) fits"))
    );
    assert_eq!(
        open(None),
        Some(format!("the store at {shown} is encrypted: name its key with `--key` or REPLANT_STORE_KEY"))
    );
    let file = root.join("store.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find("\"wrapped\": \"").unwrap() + 12;
    let mut bytes = text.clone().into_bytes();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(
        open(Some(&key())),
        Some(format!("{} is damaged: its checksum does not match its content", file.display()))
    );
    std::fs::write(&file, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    assert_eq!(open(Some(&key())), Some(format!("{} has format 9; this version reads format 1", file.display())));
}

#[test]
fn no_plain_text_lies_in_an_encrypted_store() {
    let site = Site::new();
    std::fs::write(site.path("source"), b"the secret of the house ".repeat(9000)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let digest = blake3::hash(&std::fs::read(site.path("source")).unwrap()[..65536]);
    for entry in walkdir::WalkDir::new(site.path("store")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(b"the secret") && !holds(digest.as_bytes()), "{}", entry.path().display());
        }
    }
}

#[test]
fn a_source_that_changes_or_shrinks_is_refused() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    let mut request = site.request(&disk("web01"), "source", ImageFormat::Raw);
    request.identity = Some("file size=1 mtime=2 inode=3".into());
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let error = replant::image::capture(&site.store(), &request, &Control::new(&stop, &tick)).unwrap_err();
    let found = replant::device::identity(&site.path("source")).unwrap();
    assert_eq!(
        chain(&error),
        format!(
            "cannot capture web01/disk0: the source {} changed: expected `file size=1 mtime=2 inode=3`, found `{found}`",
            site.path("source").display()
        )
    );

    // While it is captured: written to, then cut.
    for cut in [false, true] {
        std::fs::write(site.path("source"), noise(1, 40 * SIZE)).unwrap();
        let path = site.path("source");
        let meddle = move |_| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            match cut {
                true => file.set_len(SIZE).unwrap(),
                false => file.write_all_at(b"!", 39 * SIZE).unwrap(),
            }
        };
        let request = site.request(&disk("web01"), "source", ImageFormat::Raw);
        let error =
            replant::image::capture(&site.store(), &request, &Control::new(&stop, &meddle).threads(1)).unwrap_err();
        let message = match cut {
            true => format!("smaller than on first sight: {SIZE} instead of {} bytes", 40 * SIZE),
            false => "changed: expected `file size=".into(),
        };
        assert!(chain(&error).contains(&message), "{}", chain(&error));
        assert!(site.store().image_ids(&disk("web01")).unwrap().is_empty());
        // Nobody goes on from what mixes two states.
        let state = replant::image::capture_state(
            &site.store(),
            &disk("web01"),
            "file of any kind",
            replant::image::ReadPlan::default(),
        )
        .unwrap();
        assert_eq!(state, replant::image::CaptureState::Absent);
    }
}

#[test]
fn a_target_that_is_too_small_or_taken_is_refused() {
    let site = captured(Cipher::Aes256Gcm);
    std::fs::write(site.path("target"), b"tiny").unwrap();
    let error = site.deploy(&disk("web01"), "target", ImageFormat::Raw).unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "cannot deploy web01/disk0: the target {} has 4 bytes, the image needs {SIZE}",
            site.path("target").display()
        )
    );
    assert_eq!(std::fs::read(site.path("target")).unwrap(), b"tiny");
    let taken = replant::image::open_target(&site.path("source"), ImageFormat::Raw).unwrap();
    let error = site.deploy(&disk("web01"), "source", ImageFormat::Raw).unwrap_err();
    assert!(chain(&error).ends_with("another process writes it"), "{}", chain(&error));
    drop(taken);
}

#[test]
fn what_is_not_a_qcow2_is_refused_with_the_way_out() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    let error = chain(&site.capture(&disk("web01"), "source", ImageFormat::Qcow2).unwrap_err());
    assert!(
        error.starts_with("cannot capture web01/disk0: ") && error.contains("is declared as qcow2, but it is raw"),
        "{error}"
    );
    assert!(error.contains("write `format: raw`"), "{error}");
}

#[test]
fn a_store_needs_a_sensible_chunk_size() {
    let site = Site::new();
    for chunk_size in [0, 1, 65_535, 100_000, 32 << 20] {
        let settings = StoreSettings { cipher: Cipher::None, chunk_size };
        assert!(matches!(Store::create(&site.path("odd"), settings, None), Err(ImageError::Refused { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever byte of whatever file of a store changes: an error or the right data, never a panic, never wrong data.
    #[test]
    fn any_changed_byte_gives_an_error_or_the_right_data(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>(), clear in any::<bool>(),
    ) {
        let site = captured(if clear { Cipher::None } else { Cipher::Aes256Gcm });
        let files: Vec<_> = walkdir::WalkDir::new(site.path("store"))
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().len() > 0)
            .collect();
        let path = files[file.index(files.len())].path();
        let mut bytes = std::fs::read(path).unwrap();
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= flip,
        }
        std::fs::write(path, bytes).unwrap();
        let Ok(store) = Store::open(&site.path("store"), Some(&key())) else { return Ok(()) };
        std::fs::File::create(site.path("restored")).unwrap().set_len(SIZE).unwrap();
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        let request = site.deploy_request(&disk("web01"), "restored", ImageFormat::Raw);
        match replant::image::deploy(&store, &request, &Control::new(&stop, &tick)) {
            Ok(_) => prop_assert!(same_content(&site.path("source"), &site.path("restored"))),
            Err(_) => prop_assert!(!site.path("restored.deployed").exists()),
        }
        drop(store);
        // A capture into the damaged store works or says why, and what it captured is right.
        std::fs::write(site.path("other"), noise(3, SIZE)).unwrap();
        if let Ok(store) = Store::open(&site.path("store"), Some(&key()))
            && replant::image::capture(&store, &site.request(&disk("web02"), "other", ImageFormat::Raw), &Control::new(&stop, &tick)).is_ok()
        {
            std::fs::File::create(site.path("second")).unwrap().set_len(SIZE).unwrap();
            let request = site.deploy_request(&disk("web02"), "second", ImageFormat::Raw);
            replant::image::deploy(&store, &request, &Control::new(&stop, &tick)).unwrap();
            prop_assert!(same_content(&site.path("other"), &site.path("second")));
        }
    }
}
