//! The controller's doors for registered devices, tried by those who may not pass them, without any machine.

use std::path::PathBuf;
use std::time::Duration;

use camino::Utf8PathBuf;
use hyper::Method;
use replant::agent::{
    self, BootOrder, Client, DeviceFacts, Disks, EnrolError, Enrolment, Finished, HttpError, Place, Silent,
};
use replant::controller::devices::{Device, DeviceState, Devices, NewDevice};
use replant::controller::{
    CaptureGrant, CaptureOpen, CaptureOpened, Embedded, EmbeddedOptions, LocalAnswer, LocalClient, LocalJob, Report,
};
use replant::image::remote::MAX_BATCH;
use replant::image::{Cipher, Store, StoreSettings};
use tempfile::TempDir;

use crate::common::refusal::{enrolment_status, status};

const SIZE: u64 = 8 << 20;

struct Site {
    folder: TempDir,
    controller: Embedded,
    devices: Devices,
    runtime: tokio::runtime::Runtime,
}

fn facts(mac: &str, uuid: &str) -> DeviceFacts {
    [("nic.eth0.mac", mac), ("smbios.product_uuid", uuid)].map(|(name, value)| (name.into(), value.into())).into()
}

const UUIDS: [&str; 2] = ["00112233-4455-6677-8899-aabbccddeef0", "00112233-4455-6677-8899-aabbccddeef1"];
const MACS: [&str; 2] = ["52:54:00:00:00:01", "52:54:00:00:00:02"];

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        let controller = Embedded::start(&EmbeddedOptions::loopback(folder.path().join(".replant"))).unwrap();
        Store::create(&folder.path().join("store"), StoreSettings::new(Cipher::None), None).unwrap();
        let devices = Devices::open(&root).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder, controller, devices, runtime }
    }

    fn device(&self, number: usize) -> Device {
        let new = NewDevice {
            name: Some(format!("machine{number}")),
            macs: vec![MACS[number].parse().unwrap()],
            uuid: Some(UUIDS[number].parse().unwrap()),
            serial: None,
        };
        self.devices.add(&new).unwrap()
    }

    fn order(&self, device: &Device, life: Duration) -> BootOrder {
        let token = self.devices.issue_token(&device.id, life).unwrap();
        let controller = ("127.0.0.1".to_owned(), self.controller.address().port());
        BootOrder { controller, ca: self.controller.fingerprint(), token }
    }

    fn enrol(&self, order: &BootOrder, facts: DeviceFacts) -> Result<Enrolment, EnrolError> {
        self.runtime.block_on(agent::enrol(order, facts))
    }

    fn enrolled(&self, number: usize) -> Enrolment {
        let device = self.device(number);
        let order = self.order(&device, Duration::from_secs(60));
        let enrolment = self.enrol(&order, facts(MACS[number], UUIDS[number])).unwrap();
        assert!(enrolment.stays && enrolment.device == device.id.as_str());
        enrolment
    }

    /// A job that may capture `disk0`; it ends when the client goes.
    fn job(&self, device: &str) -> (LocalClient, String) {
        let grant = CaptureGrant {
            machine: "web01".into(),
            disk: "disk0".into(),
            store: self.folder.path().join("store"),
            key: None,
            identity: "agent serial=S size=8388608".into(),
            size: SIZE,
            serial: Some("S".into()),
            compress: true,
            zero_unreadable: false,
            limit: None,
        };
        let job = LocalJob {
            device: Some(device.to_owned()),
            captures: vec![grant],
            ..LocalJob::alone("web01", "<sequence/>", 0)
        };
        let (client, answer) = LocalClient::create(&self.controller.socket(), &job).unwrap();
        let LocalAnswer::Queued { job } = answer else { panic!("{answer:?}") };
        (client, job)
    }

    fn post(&self, client: &Client, path: &str, body: Vec<u8>) -> Result<Vec<u8>, HttpError> {
        self.runtime.block_on(client.request(Method::POST, path, Some(body))).map(|answer| answer.to_vec())
    }

    fn images(&self) -> Vec<PathBuf> {
        let images = walkdir::WalkDir::new(self.folder.path().join("store"));
        let files = images.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        let mut files: Vec<PathBuf> = files.map(|entry| entry.into_path()).collect();
        files.retain(|path| !path.components().any(|part| part.as_os_str() == "locks"));
        files.sort();
        files
    }
}

fn open(size: u64, serial: &str) -> Vec<u8> {
    let open = CaptureOpen { size, serial: Some(serial.into()), device: "/dev/sda".into(), boot: "b".into() };
    serde_json::to_vec(&open).unwrap()
}

#[test]
fn a_token_enrols_its_own_machine_once() {
    let site = Site::new();
    let (one, two) = (site.device(0), site.device(1));
    let order = site.order(&one, Duration::from_secs(60));
    // The token is right, the machine is not: it is used up all the same, and nothing changes.
    assert_eq!(enrolment_status(site.enrol(&order, facts(MACS[1], UUIDS[1]))), 403);
    assert_eq!(enrolment_status(site.enrol(&order, facts(MACS[0], UUIDS[0]))), 401, "a token that was used");
    let late = site.order(&one, Duration::ZERO);
    assert_eq!(enrolment_status(site.enrol(&late, facts(MACS[0], UUIDS[0]))), 401, "a token that has expired");
    for device in [&one, &two] {
        let now = site.devices.get(&device.id).unwrap();
        assert_eq!((now.certificate, now.state), (None, DeviceState::Registered));
    }
}

#[test]
fn a_certificate_opens_the_jobs_of_its_device_and_no_others() {
    let site = Site::new();
    let (one, two) = (site.enrolled(0), site.enrolled(1));
    let (_job, id) = site.job(&one.device);
    let before = site.images();
    let path = |device: &str, job: &str, disk: &str, what: &str| {
        format!("/v1/devices/{device}/jobs/{job}/captures/{disk}/{what}")
    };
    let mine = |what: &str| path(&one.device, &id, "disk0", what);
    assert_eq!(status(site.post(&two.client, &mine("open"), open(SIZE, "S"))), 403, "another device");
    let own = path(&two.device, &id, "disk0", "open");
    assert_eq!(status(site.post(&two.client, &own, open(SIZE, "S"))), 410, "another device's job under our own name");
    let order = site.order(&site.devices.named("machine0").unwrap(), Duration::from_secs(60));
    let anonymous = Client::new(order.controller.clone(), order.ca, None).unwrap();
    assert_eq!(status(site.post(&anonymous, &mine("open"), open(SIZE, "S"))), 401, "no certificate");
    for disk in ["disk1", "..%2f..%2fdisk0", "%2e%2e"] {
        let path = path(&one.device, &id, disk, "open");
        assert_eq!(status(site.post(&one.client, &path, open(SIZE, "S"))), 403, "{disk}");
    }
    assert_eq!(status(site.post(&one.client, &mine("remove"), Vec::new())), 403);
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE + 512, "S"))), 409, "another size");
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE, "T"))), 409, "another serial number");
    assert_eq!(status(site.post(&one.client, &mine("open"), b"{}".to_vec())), 400);
    assert_eq!(status(site.post(&one.client, &mine("batch"), b"rpB1".to_vec())), 409, "not open");
    assert_eq!(site.images(), before, "nothing was changed");

    let opened = site.post(&one.client, &mine("open"), open(SIZE, "S")).unwrap();
    let opened: CaptureOpened = serde_json::from_slice(&opened).unwrap();
    assert_eq!((opened.chunk_size, opened.next_chunk, opened.compress), (replant::image::DEFAULT_CHUNK_SIZE, 0, true));
    assert_eq!(status(site.post(&one.client, &mine("batch"), vec![0; 64])), 409, "no batch");
    assert_eq!(status(site.post(&one.client, &mine("batch"), vec![0; MAX_BATCH + 1])), 413, "too large");
    assert_eq!(status(site.post(&one.client, &mine("finish"), Vec::new())), 409, "nothing has come yet");
    let zeros = [
        b"rpB1".as_slice(),
        &0u64.to_le_bytes(),
        &1u32.to_le_bytes(),
        &[0],
        &(SIZE / u64::from(replant::image::DEFAULT_CHUNK_SIZE)).to_le_bytes(),
    ]
    .concat();
    assert_eq!(site.post(&one.client, &mine("batch"), zeros).unwrap(), [0]);
    site.post(&one.client, &mine("finish"), Vec::new()).unwrap();
    site.post(&one.client, &mine("finish"), Vec::new()).expect("an answer that got lost is given again");

    site.devices.release(&site.devices.named("machine0").unwrap().id).unwrap();
    assert_eq!(status(site.post(&one.client, &mine("open"), open(SIZE, "S"))), 403, "a device that was released");
}

#[test]
fn a_job_that_is_gone_is_told_from_one_that_never_was_allowed() {
    let site = Site::new();
    let one = site.enrolled(0);
    let (job, id) = site.job(&one.device);
    drop(job);
    let reports = format!("/v1/devices/{}/reports", one.device);
    let batch = format!("{{\"job\":\"{id}\",\"entries\":[]}}").into_bytes();
    // The controller hears of the end of the conversation a moment later.
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        matches!(site.post(&one.client, &reports, batch.clone()), Err(HttpError::Refused { status: 410, .. }))
    });
    assert!(gone);
}

const RESTARTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<sequence xmlns="urn:replant:sequence:1" id="web01_restarts" description="A restart in the middle">
  <step id="first" description="Before the restart" command="nothing" reboot="true"/>
  <step id="second" description="Behind the restart" command="nothing"/>
  <step id="off" description="The end" command="shutdown"/>
</sequence>
"#;

#[test]
fn a_sequence_survives_the_restart_that_one_of_its_steps_asks_for() {
    let site = Site::new();
    let macs = vec![MACS[0].parse().unwrap()];
    let device = site.devices.add(&NewDevice { name: Some("web01".into()), macs, ..NewDevice::default() }).unwrap();
    let job = LocalJob { device: Some(device.id.to_string()), ..LocalJob::alone("web01", RESTARTS, 0) };
    let (mut client, _) = LocalClient::create(&site.controller.socket(), &job).unwrap();
    let boot = || {
        let order = site.order(&device, Duration::from_secs(60));
        let place = Place { folder: site.folder.path().join("mnt"), disks: Disks::Machine, console: &Silent };
        agent::run(&order, &place).unwrap()
    };
    assert_eq!(boot(), Finished::Restart);
    // All that the first boot knew is gone: it enrols again, is given the same job, and goes on.
    assert_eq!(boot(), Finished::Off);
    let mut steps = Vec::new();
    loop {
        let answer = client.next(Duration::from_secs(60)).unwrap();
        match answer {
            Some(LocalAnswer::Report { report: Report::Begin { step, .. } }) => steps.push(step),
            Some(LocalAnswer::Report { report: Report::Restart(point) }) => {
                steps.push(format!("restart behind {}", point.after))
            }
            Some(LocalAnswer::Report { report: Report::Result { ok, .. } }) => break assert!(ok),
            Some(LocalAnswer::Report { .. }) => {}
            other => panic!("{other:?} after {steps:?}"),
        }
    }
    assert_eq!(steps, ["first", "restart behind first", "second", "off"]);
}

#[test]
fn a_large_batch_for_a_job_that_is_gone_is_not_sent_again_and_again() {
    let site = Site::new();
    let one = site.enrolled(0);
    let (job, id) = site.job(&one.device);
    drop(job);
    let path = |what: &str| format!("/v1/devices/{}/jobs/{id}/{what}", one.device);
    let mut channel = one.client.channel(Duration::from_secs(1800)).unwrap().asking(path("resume"));
    // It is refused before it is read, so that what we see first is a broken connection.
    let outcome = channel.post(&path("captures/disk0/batch"), vec![1; 32 << 20]);
    assert_eq!(status(outcome), 410);
}
