//! A folder with sources, a store and its key, and the means to call the product's verbs there.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use replant::image::{
    CaptureReport, CaptureRequest, Cipher, Compression, Control, DeployReport, DeployRequest, DiskName, ImageError,
    ImageFormat, ReadPlan, Store, StoreKey, StoreSettings, capture, deploy,
};

pub const MIB: u64 = 1 << 20;

/// The key of every encrypted store in these tests.
pub fn key() -> StoreKey {
    StoreKey::new([0x5a; 32])
}

pub struct Site {
    folder: tempfile::TempDir,
    pub cipher: Cipher,
}

impl Site {
    pub fn new() -> Self {
        Self::with(Cipher::Aes256Gcm)
    }

    pub fn with(cipher: Cipher) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "5a".repeat(32)).unwrap();
        Self { folder, cipher }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store, created on first use with small chunks, so that small disks have many.
    pub fn store(&self) -> Store {
        let (root, key) = (self.path("store"), key());
        match Store::exists(&root) {
            true => Store::open(&root, Some(&key)).unwrap(),
            false => {
                Store::create(&root, StoreSettings { cipher: self.cipher, chunk_size: 64 << 10 }, Some(&key)).unwrap()
            }
        }
    }

    pub fn capture(&self, disk: &DiskName, source: &str, format: ImageFormat) -> Result<CaptureReport, ImageError> {
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        capture(&self.store(), &self.request(disk, source, format), &Control::new(&stop, &tick))
    }

    pub fn request(&self, disk: &DiskName, source: &str, format: ImageFormat) -> CaptureRequest {
        CaptureRequest {
            disk: disk.clone(),
            source: self.path(source),
            format,
            identity: None,
            compression: Compression::Zstd,
            read: ReadPlan::default(),
        }
    }

    pub fn deploy(&self, disk: &DiskName, target: &str, format: ImageFormat) -> Result<DeployReport, ImageError> {
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        deploy(&self.store(), &self.deploy_request(disk, target, format), &Control::new(&stop, &tick))
    }

    pub fn deploy_request(&self, disk: &DiskName, target: &str, format: ImageFormat) -> DeployRequest {
        DeployRequest { disk: disk.clone(), image: None, target: self.path(target), format, read_back: true }
    }

    /// Deploys to a new raw file and returns it; other files of that name go.
    pub fn restored(&self, disk: &DiskName, size: u64) -> Result<PathBuf, ImageError> {
        for old in ["restored", "restored.deployed", "restored.deploying"] {
            let _ = std::fs::remove_file(self.path(old));
        }
        File::create(self.path("restored")).unwrap().set_len(size).unwrap();
        self.deploy(disk, "restored", ImageFormat::Raw)?;
        Ok(self.path("restored"))
    }

    /// A call of the product's binary, with the store and its key.
    pub fn replant(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replant"));
        command
            .current_dir(self.folder.path())
            .env("REPLANT_STORE_KEY", format!("file:{}", self.path("key").display()))
            .env_remove("REPLANT_EVENTS")
            .env_remove("REPLANT_STORE_ENCRYPTION")
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.replant(args).output().unwrap()
    }

    /// The one file with this extension in a folder of the store.
    pub fn only(&self, folder: &str, extension: &str) -> PathBuf {
        let found: Vec<PathBuf> = std::fs::read_dir(self.path("store").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }
}

pub fn disk(machine: &str) -> DiskName {
    DiskName::new(machine, "disk0").unwrap()
}

/// The error with its causes, as people see it.
pub fn chain(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

pub fn exit(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that no compressor shrinks; equal seeds give equal bytes.
pub fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that compress well, all chunks different.
pub fn text(seed: u64, len: u64) -> Vec<u8> {
    (0u64..).flat_map(|line| format!("{seed}: line {line} of many\n").into_bytes()).take(len as usize).collect()
}

/// A sparse raw disk of `size` bytes with data in places.
pub fn sparse(path: &Path, size: u64, parts: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in parts {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

/// A disk with a bit of everything: odd size, boot sector, text, noise, written zeros, holes, a tail.
pub fn mixed(path: &Path, seed: u64) -> u64 {
    let size = 24 * MIB + 12_345;
    sparse(
        path,
        size,
        &[
            (0, b"boot sector"),
            (3 * MIB + 77, &text(seed, 5 * MIB)),
            (9 * MIB, &vec![0; MIB as usize]),
            (11 * MIB, &noise(seed, 4 * MIB)),
            (size - 9, b"the end!\n"),
        ],
    );
    size
}

pub fn same_content(one: &Path, two: &Path) -> bool {
    std::fs::read(one).unwrap() == std::fs::read(two).unwrap()
}

pub fn allocated(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
}

/// Runs a tool of the host; a missing one fails the test with the package to install.
pub fn tool(program: &str, package: &str, args: &[&str]) -> Output {
    match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => panic!("`{program}` does not run ({error}): apt install {package}"),
    }
}

pub fn qemu_img(args: &[&str]) -> String {
    let output = tool("qemu-img", "qemu-utils", args);
    assert!(output.status.success(), "qemu-img {args:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts the command with an executor's socket and kills it as soon as `enough` of its messages says so. Returns
/// whether it was killed; a process that ended before was not.
pub fn kill_when(site: &Site, mut command: Command, mut enough: impl FnMut(&serde_json::Value) -> bool) -> bool {
    let socket = site.path("events.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let mut child = command.env("REPLANT_EVENTS", &socket).env("REPLANT_TASK", "test").spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut killed = false;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        if !killed && enough(&message) {
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    killed && status.code().is_none()
}
