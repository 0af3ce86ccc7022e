//! Every message that the controller accepts, as a function of bytes: any input gives a value or a refusal, never a panic.
//! `fuzz/` runs them under a fuzzer, `tests/remote/fuzz.rs` with mutated samples. What comes after the parser is the real
//! thing: a job, a store, a CA.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde::de::DeserializeOwned;

use crate::image::remote::{BatchAnswer, Contents, MapPart, Wanted};
use crate::image::{Cipher, Store, StoreSettings};
use crate::sequence;

use super::captures::CaptureSlot;
use super::deploys::DeploySlot;
use super::jobs::{Grants, Jobs};
use super::pki::Authority;
use super::protocol::{
    CaptureGrant, CaptureOpen, DeployGrant, DeployOpen, EnrolRequest, LocalJob, MapFrom, Report, ReportBatch,
    ReportEntry,
};

/// A target: its name, and what it does with bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("sequence", read_sequence),
    ("enrol", enrol),
    ("reports", reports),
    ("local-job", |bytes| drop(json::<LocalJob>(bytes))),
    ("capture-open", capture_open),
    ("deploy-open", deploy_open),
    ("deploy-map", map),
    ("batch", batch),
    ("wanted", wanted),
    ("answers", answers),
];

/// The names of all targets.
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// Runs a target.
///
/// # Panics
/// If what reads the bytes does, or if there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).expect("there is such a target");
    (target.1)(bytes);
}

const CHUNK: u32 = 64 << 10;
const SIZE: u64 = 4 * CHUNK as u64;

/// What the messages meet.
struct Stage {
    _folder: tempfile::TempDir,
    authority: Authority,
    jobs: Jobs,
    capture: CaptureSlot,
    deploy: DeploySlot,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("store");
        let settings = StoreSettings { cipher: Cipher::None, chunk_size: CHUNK };
        Store::create(&store, settings, None).expect("an empty folder takes a store");
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder can be made");
        let grant = |disk: &str| CaptureGrant {
            machine: "m".into(),
            disk: disk.into(),
            store: store.clone(),
            key: None,
            identity: "i".into(),
            size: SIZE,
            serial: None,
            compress: true,
            zero_unreadable: false,
            limit: None,
        };
        let made = CaptureSlot::new(grant("disk0"));
        made.begin("d", &found()).expect("the capture begins");
        made.take(&whole_batch()).expect("the batch is sound");
        made.finish().expect("the image is whole");
        let capture = CaptureSlot::new(grant("disk1"));
        capture.begin("d", &found()).expect("the capture begins");
        let deploy = DeploySlot::new(DeployGrant {
            machine: "m".into(),
            disk: "disk0".into(),
            image: None,
            store,
            key: None,
            serial: None,
            limit: None,
            budgets: None,
        });
        let there = DeployOpen { size: SIZE, serial: None, device: "/dev/vda".into() };
        deploy.begin(&there).expect("the deploy begins");
        let authority = Authority::open(&state).expect("a CA can be made");
        Stage { _folder: folder, authority, jobs: Jobs::default(), capture, deploy }
    })
}

fn found() -> CaptureOpen {
    CaptureOpen { size: SIZE, serial: None, device: "/dev/sda".into(), boot: "b".into() }
}

/// One chunk with its content, and zeros up to the end of the disk.
fn whole_batch() -> Vec<u8> {
    let content = vec![7; CHUNK as usize];
    let digest = blake3::hash(&content);
    let mut bytes = [b"rpB1".as_slice(), &0u64.to_le_bytes(), &2u32.to_le_bytes(), &[1], digest.as_bytes()].concat();
    bytes.push(0);
    bytes.extend_from_slice(&3u64.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.push(0);
    bytes.extend_from_slice(&CHUNK.to_le_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn read_sequence(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(read) = sequence::parse(text) {
        let again = sequence::parse(&sequence::write(&read)).expect("what we write can be read");
        assert_eq!(again, read, "it reads back as it was");
    }
}

fn enrol(bytes: &[u8]) {
    if let Some(request) = json::<EnrolRequest>(bytes) {
        assert!(stage().jobs.redeem(&request.token).is_err(), "no token was issued");
        let _ = stage().authority.device_certificate("device", &request.csr);
    }
}

fn reports(bytes: &[u8]) {
    if let Some(batch) = json::<ReportBatch>(bytes) {
        let made = stage().jobs.queue("device", String::new(), Grants::default());
        let _ = stage().jobs.report_of("device", &made.id, batch.entries);
        stage().jobs.end(&made.id);
    }
}

fn capture_open(bytes: &[u8]) {
    if let Some(found) = json::<CaptureOpen>(bytes) {
        let _ = stage().capture.begin("device", &found);
    }
}

fn deploy_open(bytes: &[u8]) {
    if let Some(found) = json::<DeployOpen>(bytes) {
        let _ = stage().deploy.begin(&found);
    }
}

fn map(bytes: &[u8]) {
    if let Some(MapFrom { first }) = json(bytes) {
        let _ = stage().deploy.map(first);
    }
}

fn batch(bytes: &[u8]) {
    let _ = stage().capture.take(bytes);
}

fn wanted(bytes: &[u8]) {
    let _ = stage().deploy.contents(bytes);
}

/// What the agent accepts of the controller.
fn answers(bytes: &[u8]) {
    let _ = (BatchAnswer::decode(bytes), MapPart::decode(bytes), Contents::decode(bytes));
}

/// Sound messages of a target.
///
/// # Panics
/// If there is no such target.
pub fn samples(name: &str) -> Vec<Vec<u8>> {
    let json = |value: serde_json::Result<Vec<u8>>| vec![value.expect("messages become JSON")];
    match name {
        "sequence" => [
            "<?xml version=\"1.0\"?>\n<sequence xmlns=\"urn:replant:sequence:1\" id=\"a\" description=\"b\">\
             <group id=\"g\"><when fact=\"f\" equals=\"v\"/><step id=\"s\" command=\"c\" timeout=\"5m\" retries=\"2\" \
             success-codes=\"0 10\"><parameter name=\"p\">&lt;v&gt;</parameter></step></group></sequence>",
            "<sequence xmlns=\"urn:replant:sequence:1\" id=\"a\"><step id=\"s\" command=\"c\" reboot=\"true\"/></sequence>",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        "enrol" => {
            let key = KeyPair::generate().expect("a key can be made");
            let request = CertificateParams::default().serialize_request(&key).expect("a request can be made");
            let csr = request.pem().expect("it becomes PEM");
            json(serde_json::to_vec(&EnrolRequest { token: "ab".repeat(32), csr, facts: Default::default() }))
        }
        "reports" => {
            let note = |seq| ReportEntry { seq, report: Report::Note { text: "text".into() } };
            let entries = vec![note(1), note(2), note(3)];
            json(serde_json::to_vec(&ReportBatch { job: Some("job".into()), entries }))
        }
        "local-job" => {
            let life = Duration::from_secs(60).as_secs();
            json(serde_json::to_vec(&LocalJob::alone("web01", "<sequence/>", life)))
        }
        "capture-open" => json(serde_json::to_vec(&found())),
        "deploy-open" => {
            let there = DeployOpen { size: SIZE, serial: Some("s".into()), device: "/dev/vda".into() };
            json(serde_json::to_vec(&there))
        }
        "deploy-map" => json(serde_json::to_vec(&MapFrom { first: 1 })),
        "batch" => {
            let whole = whole_batch();
            // Without its content: the question alone.
            vec![whole[..16 + 33 + 9].to_vec(), whole[..2000].to_vec(), whole]
        }
        "wanted" => vec![Wanted(vec![0]).encode(), Wanted(vec![0, 1, 3]).encode()],
        "answers" => {
            let deploy = &stage().deploy;
            vec![
                BatchAnswer::Lacking(vec![1, 2]).encode(),
                deploy.map(0).expect("the deploy is open"),
                deploy.contents(&Wanted(vec![0]).encode()).expect("the chunk is there"),
            ]
        }
        _ => panic!("no such target"),
    }
}
