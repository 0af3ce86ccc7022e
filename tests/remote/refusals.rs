//! The doors of a deploy, tried by those who may not pass them.

use std::time::Duration;

use camino::Utf8PathBuf;
use hyper::Method;
use replant::agent::{self, BootOrder, Client, Enrolment, HttpError};
use replant::controller::devices::{Devices, NewDevice};
use replant::controller::{
    DeployGrant, DeployOpen, DeployOpened, Embedded, EmbeddedOptions, LocalAnswer, LocalClient, LocalJob,
};
use replant::image::remote::{MAX_WANTED, MapPart, Wanted};
use replant::image::{
    CaptureRequest, Cipher, Compression, Control, DiskName, ImageFormat, ReadPlan, Store, StoreSettings, capture,
};

use crate::common::refusal::status;

const SIZE: u64 = 4 << 20;

struct Site {
    folder: tempfile::TempDir,
    controller: Embedded,
    devices: Devices,
    runtime: tokio::runtime::Runtime,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        let controller = Embedded::start(&EmbeddedOptions::loopback(folder.path().join(".replant"))).unwrap();
        let settings = StoreSettings { cipher: Cipher::None, chunk_size: 1 << 20 };
        let store = Store::create(&folder.path().join("store"), settings, None).unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, [vec![1; SIZE as usize / 2], vec![0; SIZE as usize / 2]].concat()).unwrap();
        let request = CaptureRequest {
            disk: DiskName::new("web01", "disk0").unwrap(),
            source,
            format: ImageFormat::Raw,
            identity: None,
            compression: Compression::Zstd,
            read: ReadPlan::default(),
        };
        let stop = std::sync::atomic::AtomicBool::new(false);
        capture(&store, &request, &Control::new(&stop, &|_| {})).unwrap();
        let devices = Devices::open(&root).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder, controller, devices, runtime }
    }

    fn enrolled(&self, name: &str, mac: &str) -> Enrolment {
        let (uuid, serial) = (None, None);
        let new = NewDevice { name: Some(name.into()), macs: vec![mac.parse().unwrap()], uuid, serial };
        let device = self.devices.add(&new).unwrap();
        let token = self.devices.issue_token(&device.id, Duration::from_secs(60)).unwrap();
        let controller = ("127.0.0.1".to_owned(), self.controller.address().port());
        let order = BootOrder { controller, ca: self.controller.fingerprint(), token };
        let facts = [("nic.eth0.mac".to_owned(), mac.to_owned())].into();
        self.runtime.block_on(agent::enrol(&order, facts)).unwrap()
    }

    fn job(&self, device: &str) -> (LocalClient, String) {
        let grant = DeployGrant {
            machine: "web01".into(),
            disk: "disk0".into(),
            image: None,
            store: self.folder.path().join("store"),
            key: None,
            serial: Some("T".into()),
            limit: None,
            budgets: None,
        };
        let job = LocalJob {
            device: Some(device.to_owned()),
            deploys: vec![grant],
            ..LocalJob::alone("web01", "<sequence/>", 0)
        };
        let (client, answer) = LocalClient::create(&self.controller.socket(), &job).unwrap();
        let LocalAnswer::Queued { job } = answer else { panic!("{answer:?}") };
        (client, job)
    }

    fn post(&self, client: &Client, path: &str, body: Vec<u8>) -> Result<Vec<u8>, HttpError> {
        self.runtime.block_on(client.request(Method::POST, path, Some(body))).map(|answer| answer.to_vec())
    }
}

fn open(size: u64, serial: &str) -> Vec<u8> {
    serde_json::to_vec(&DeployOpen { size, serial: Some(serial.into()), device: "/dev/vda".into() }).unwrap()
}

#[test]
fn a_certificate_opens_the_images_of_its_own_jobs_and_only_their_chunks() {
    let site = Site::new();
    let (one, two) = (site.enrolled("one", "52:54:00:00:00:01"), site.enrolled("two", "52:54:00:00:00:02"));
    let (_job, id) = site.job(&one.device);
    let base = |device: &str, disk: &str, what: &str| format!("/v1/devices/{device}/jobs/{id}/deploys/{disk}/{what}");
    let mine = |what: &str| base(&one.device, "disk0", what);
    assert_eq!(status(site.post(&two.client, &mine("open"), open(SIZE, "T"))), 403, "another device");
    let own = base(&two.device, "disk0", "open");
    assert_eq!(status(site.post(&two.client, &own, open(SIZE, "T"))), 410, "another device's job under our own name");
    for disk in ["disk1", "..%2fdisk0", "%2e%2e"] {
        let path = base(&one.device, disk, "open");
        assert_eq!(status(site.post(&one.client, &path, open(SIZE, "T"))), 403, "{disk}");
    }
    let capture = mine("open").replace("deploys", "captures");
    assert_eq!(status(site.post(&one.client, &capture, open(SIZE, "T"))), 403, "a deploy is no right to capture");
    assert_eq!(status(site.post(&one.client, &mine("remove"), Vec::new())), 403);
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE - 512, "T"))), 409, "too small");
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE, "U"))), 409, "another serial number");
    assert_eq!(status(site.post(&one.client, &mine("open"), b"{}".to_vec())), 400);
    let wanted = |chunks: &[u64]| Wanted(chunks.to_vec()).encode();
    assert_eq!(status(site.post(&one.client, &mine("contents"), wanted(&[0]))), 409, "not open");

    let opened = site.post(&one.client, &mine("open"), open(SIZE, "T")).unwrap();
    let opened: DeployOpened = serde_json::from_slice(&opened).unwrap();
    assert_eq!((opened.size, opened.chunk_size), (SIZE, 1 << 20));
    let part = site.post(&one.client, &mine("map"), b"{\"first\":0}".to_vec()).unwrap();
    assert_eq!(MapPart::decode(&part).unwrap().entries.len(), 3, "two chunks and a hole");
    assert_eq!(status(site.post(&one.client, &mine("map"), b"{\"first\":4}".to_vec())), 409, "beyond the end");
    assert_eq!(status(site.post(&one.client, &mine("map"), b"{\"first\":-1}".to_vec())), 400);
    assert!(site.post(&one.client, &mine("contents"), wanted(&[0, 1])).unwrap().starts_with(b"rpC1"));
    for (chunks, why) in [(&[2][..], "zeros"), (&[u64::MAX], "no such chunk"), (&[1, 0], "out of order")] {
        assert_eq!(status(site.post(&one.client, &mine("contents"), wanted(chunks))), 409, "{why}");
    }
    assert_eq!(status(site.post(&one.client, &mine("contents"), vec![0; MAX_WANTED + 1])), 413);
    site.devices.release(&site.devices.named("one").unwrap().id).unwrap();
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE, "T"))), 403, "a device that was released");
}
