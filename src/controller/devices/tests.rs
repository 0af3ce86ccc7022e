use std::time::Duration;

use camino::Utf8PathBuf;

use super::*;
use crate::controller::pki::Fingerprint;

struct Site {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    devices: Devices,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
    let devices = Devices::open(&root).unwrap();
    Site { _folder: folder, root, devices }
}

const MAC: &str = "52:54:00:00:00:01";
const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const MINUTE: Duration = Duration::from_secs(60);

fn new(name: &str, mac: &str) -> NewDevice {
    NewDevice { name: Some(name.into()), macs: vec![mac.parse().unwrap()], ..NewDevice::default() }
}

fn seen(mac: &str, uuid: &str) -> Sighting {
    Sighting { macs: vec![mac.parse().unwrap()], uuid: uuid.parse().ok(), serial: None }
}

fn facts(mac: &str, uuid: &str) -> Facts {
    [("nic.eth0.mac", mac), ("smbios.product_uuid", uuid), ("smbios.product_serial", "SN-1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn certificate(byte: &str) -> Fingerprint {
    Fingerprint::parse(&format!("sha256:{}", byte.repeat(32))).unwrap()
}

#[test]
fn a_device_is_there_for_whoever_opens_the_database_next() {
    let site = site();
    let added = site.devices.add(&new("web01", MAC)).unwrap();
    assert_eq!(added.state, DeviceState::Registered);
    assert_eq!(added.boot, BootAnswer::Local);
    let again = Devices::open(&site.root).unwrap();
    assert_eq!(again.list().unwrap(), std::slice::from_ref(&added));
    for text in [added.id.as_str(), "web01", MAC, &added.id.as_str()[..9]] {
        assert_eq!(again.named(text).unwrap().id, added.id, "{text}");
    }
    assert!(matches!(again.named("web02"), Err(DeviceError::Unknown { .. })));
    again.forget(&added.id).unwrap();
    assert_eq!(site.devices.list().unwrap(), []);
    assert!(matches!(site.devices.forget(&added.id), Err(DeviceError::Unknown { .. })));
}

#[test]
fn what_finds_a_device_belongs_to_one_device() {
    let site = site();
    site.devices.add(&new("web01", MAC)).unwrap();
    let taken = |device: &NewDevice| site.devices.add(device).unwrap_err().to_string();
    assert!(taken(&new("other", MAC)).contains("MAC address 52:54:00:00:00:01 belongs to dev-"));
    assert!(taken(&new("web01", "52:54:00:00:00:02")).contains("the name `web01` belongs to dev-"));
    assert!(matches!(site.devices.add(&NewDevice::default()), Err(DeviceError::Nameless)));
    assert!(matches!(site.devices.add(&new("../x", "52:54:00:00:00:02")), Err(DeviceError::Name { .. })));
    assert_eq!(site.devices.list().unwrap().len(), 1);
}

#[test]
fn a_known_address_with_another_identity_is_a_stranger() {
    let site = site();
    let device = site.devices.add(&new("web01", MAC)).unwrap();
    // Nobody said which UUID it has: the first enrolment does.
    assert_eq!(site.devices.find(&seen(MAC, UUID)).unwrap().unwrap().id, device.id);
    site.devices.enrolled(&device.id, certificate("aa"), &facts(MAC, UUID)).unwrap();
    let other = "99112233-4455-6677-8899-aabbccddeeff";
    assert!(matches!(site.devices.find(&seen(MAC, other)), Err(DeviceError::Stranger { what: "UUID", .. })));
    site.devices.set_boot(&device.id, BootAnswer::Agent, false).unwrap();
    let boot = site.devices.boot(&seen(MAC, other), MINUTE).unwrap();
    assert!(matches!(boot, Boot::Ignore { why: Why::Refused(_) }), "{boot:?}");
    let stolen = site.devices.enrolled(&device.id, certificate("bb"), &facts(MAC, other));
    assert!(matches!(stolen, Err(DeviceError::Stranger { .. })));
    assert_eq!(site.devices.get(&device.id).unwrap().certificate, Some(certificate("aa")));
    // The UUID finds it behind another adapter.
    assert_eq!(site.devices.find(&seen("52:54:00:00:00:09", UUID)).unwrap().unwrap().id, device.id);
    assert_eq!(site.devices.find(&seen("52:54:00:00:00:09", other)).unwrap(), None);
}

#[test]
fn boots_are_answered_counted_and_cut_when_they_loop() {
    let site = site();
    let boot = || site.devices.boot(&seen(MAC, UUID), MINUTE).unwrap();
    assert!(matches!(boot(), Boot::Ignore { why: Why::Unknown }));
    let id = site.devices.add(&new("web01", MAC)).unwrap().id;
    assert!(matches!(boot(), Boot::Local { .. }));
    site.devices.set_boot(&id, BootAnswer::Agent, true).unwrap();
    assert!(matches!(boot(), Boot::Agent { .. }));
    assert!(matches!(boot(), Boot::Local { .. }), "a one-shot holds once");
    site.devices.set_boot(&id, BootAnswer::Agent, false).unwrap();
    let mut tokens = Vec::new();
    for _ in 0..UNHEARD_BOOTS {
        let Boot::Agent { token, device } = boot() else { panic!("the agent was to be served") };
        assert_eq!(device.state, DeviceState::Booted);
        tokens.push(token);
    }
    assert!(matches!(boot(), Boot::Local { .. }), "a loop is cut");
    assert_eq!(site.devices.get(&id).unwrap().boots, UNHEARD_BOOTS + 1);
    // Any of the tokens enrols, one of them once.
    assert_eq!(site.devices.redeem(&tokens[2]).unwrap(), id);
    for token in &tokens {
        assert!(matches!(site.devices.redeem(token), Err(DeviceError::UnknownToken)));
    }
    site.devices.enrolled(&id, certificate("aa"), &facts(MAC, UUID)).unwrap();
    assert!(matches!(boot(), Boot::Agent { .. }), "an enrolment ends the count");
    site.devices.revoke(&id).unwrap();
    assert!(matches!(boot(), Boot::Ignore { why: Why::Told }));
    assert!(matches!(site.devices.issue_token(&id, MINUTE), Err(DeviceError::ShutOut { .. })));
}

#[test]
fn tokens_expire_and_a_release_withdraws_everything() {
    let site = site();
    let id = site.devices.add(&new("web01", MAC)).unwrap().id;
    let late = site.devices.issue_token(&id, Duration::ZERO).unwrap();
    assert!(matches!(site.devices.redeem(&late), Err(DeviceError::ExpiredToken)));
    assert!(matches!(site.devices.redeem(&late), Err(DeviceError::UnknownToken)));
    assert!(matches!(site.devices.redeem("guess"), Err(DeviceError::UnknownToken)));
    site.devices.enrolled(&id, certificate("aa"), &facts(MAC, UUID)).unwrap();
    let waiting = site.devices.issue_token(&id, MINUTE).unwrap();
    assert_eq!(site.devices.by_certificate(certificate("aa")).unwrap(), Some(id.clone()));
    site.devices.release(&id).unwrap();
    assert_eq!(site.devices.by_certificate(certificate("aa")).unwrap(), None);
    assert!(matches!(site.devices.redeem(&waiting), Err(DeviceError::UnknownToken)));
    site.devices.probe().unwrap();
}
