//! Each generation: what is written, what must stay, and that writing it twice is writing it once.

use std::fs;
use std::path::Path;
use std::process::Command;

use replant::guest::windows::{Architecture, Generation, MountedVolume, NtfsMount, WindowsFiles, security};

use crate::common::{TestSite, require_tool};

use super::fixture::{Dump, convert_volume, dump, found, make_windows, packages};

/// The hives of a volume file, dumped by hivex, and the security descriptor of SYSTEM.
fn hives(site: &TestSite, volume: &Path, name: &str) -> (Dump, Dump, Vec<u8>) {
    let mount = NtfsMount::writable(volume, &site.join("mounted")).unwrap();
    let config = mount.at().join("Windows/System32/config");
    let dumped = ["SYSTEM", "SOFTWARE"].map(|hive| {
        let copy = site.join(format!("{name}-{hive}"));
        fs::copy(config.join(hive), &copy).unwrap();
        dump(&copy)
    });
    let descriptor = security::descriptor(&config.join("SYSTEM")).unwrap().unwrap();
    mount.release().unwrap();
    let [system, software] = dumped;
    (system, software, descriptor)
}

#[track_caller]
fn value(dump: &Dump, key: &str, name: &str) -> (String, String) {
    let found = dump.get(&(key.to_owned(), name.to_owned()));
    found.unwrap_or_else(|| panic!("there is no `{name}` of `{key}`")).clone()
}

fn number(number: u32) -> (String, String) {
    ("4".into(), number.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(kind: u32, text: &str) -> (String, String) {
    let bytes = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    (kind.to_string(), bytes.map(|byte| format!("{byte:02x}")).collect())
}

/// Converts a generation and checks everything about it; `set` is the control set in use.
fn check(generation: &str, expected: Generation, variant: &str, set: &str) {
    require_tool("ntfsfix", "ntfs-3g");
    let site = TestSite::new();
    let volume = make_windows(&site, generation, "volume", variant);
    let facts = found(&volume).facts;
    assert_eq!((facts.generation, facts.architecture), (expected, Architecture::Amd64));
    assert_eq!((facts.control_set.as_str(), facts.hazards.len()), (set, 0), "{:?}", facts.hazards);
    assert_eq!(facts.host_name.as_deref(), Some("SYNTHETIC"));
    assert_eq!(facts.tools[0].name, "VMware Tools");
    assert_eq!(facts.adapters[0].addresses[1].0, "10.77.0.61");
    let (system_before, software_before, descriptor) = hives(&site, &volume, "before");

    let packages = packages(&site);
    let outcome = convert_volume(&site, &volume, &packages, &[]).unwrap();
    assert!(outcome.edits.len() > 20, "{:?}", outcome.edits);
    let (system, software, same) = hives(&site, &volume, "after");
    assert_eq!(descriptor, same, "the owner and permissions of a hive stay");

    // The driver starts first, and Windows is led to it.
    let set = format!("\\{set}");
    let service = format!("{set}\\Services\\viostor");
    for (name, wanted) in [
        ("Start", number(0)),
        ("Type", number(1)),
        ("ErrorControl", number(1)),
        ("Group", text(1, "SCSI miniport")),
        ("ImagePath", text(2, "system32\\drivers\\viostor.sys")),
    ] {
        assert_eq!(value(&system, &service, name), wanted, "{name}");
    }
    assert_eq!(value(&system, &format!("{service}\\Parameters"), "BusType"), number(10));
    let critical = format!("{set}\\Control\\CriticalDeviceDatabase\\PCI#VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00");
    let class = "{4D36E97B-E325-11CE-BFC1-08002BE10318}";
    if expected.has_driver_database() {
        assert!(!system.contains_key(&(critical, "Service".into())));
        let database = "\\DriverDatabase";
        for id in ["DEV_1001&SUBSYS_00021AF4&REV_00", "DEV_1042&SUBSYS_11001AF4&REV_01"] {
            let key = format!("{database}\\DeviceIds\\PCI\\VEN_1AF4&{id}");
            assert_eq!(value(&system, &key, "replant-viostor.inf"), ("3".into(), "01ff0000".into()));
            let key = format!("{database}\\DriverPackages\\replant-viostor.inf_amd64\\Descriptors\\PCI\\VEN_1AF4&{id}");
            assert_eq!(value(&system, &key, "Configuration"), text(1, "replant-viostor"));
        }
        let package = format!("{database}\\DriverPackages\\replant-viostor.inf_amd64");
        let version = value(&system, &package, "Version");
        assert_eq!(version.0, "3");
        assert!(version.1.starts_with("00ff0900000000007be9364d25e3ce11bfc108002be10318") && version.1.len() == 96);
        let configured = format!("{package}\\Configurations\\replant-viostor");
        assert_eq!(value(&system, &configured, "Service"), text(1, "viostor"));
    } else {
        assert_eq!(value(&system, &critical, "Service"), text(1, "viostor"));
        assert_eq!(value(&system, &critical, "ClassGUID"), text(1, class));
    }
    // Start modes of the table, and what overrides them.
    assert_eq!(value(&system, &format!("{set}\\Services\\VMTools"), "Start"), number(4));
    assert_eq!(value(&system, &format!("{set}\\Services\\CqMgHost"), "Start"), number(4));
    assert_eq!(value(&system, &format!("{set}\\Services\\atapi"), "Start"), number(0));
    assert_eq!(value(&system, &format!("{set}\\Services\\atapi\\StartOverride"), "0"), number(0));
    assert_eq!(value(&system, &format!("{set}\\Services\\intelppm"), "Start"), number(3));
    assert_eq!(value(&system, &format!("{set}\\Control\\CrashControl"), "AutoReboot"), number(0));
    // The old adapter gave up its name and its addresses.
    let guid = "{11111111-2222-3333-4444-555555555555}";
    let tcpip = format!("{set}\\Services\\Tcpip\\Parameters\\Interfaces\\{guid}");
    assert_eq!(value(&system, &tcpip, "EnableDHCP"), number(1));
    assert_eq!(value(&system, &tcpip, "IPAddress"), ("7".into(), "0000".into()));
    assert_eq!(value(&system, &format!("{set}\\Services\\replant-firstboot"), "Start"), number(2));
    let path = value(&software, "\\Microsoft\\Windows\\CurrentVersion", "DevicePath");
    let wanted = "%SystemRoot%\\inf;%SystemRoot%\\replant\\drivers\\viostor;%SystemRoot%\\replant\\drivers\\netkvm";
    assert_eq!(path, text(2, wanted));

    // What the edits do not name is as it was, to the byte.
    let named: Vec<String> = outcome.edits.iter().map(|edit| edit.path.to_uppercase()).collect();
    for (prefix, before, after) in
        [("HKLM\\SYSTEM", &system_before, &system), ("HKLM\\SOFTWARE", &software_before, &software)]
    {
        for (key, old) in before {
            let path = format!("{prefix}{}\\{}", key.0, if key.1.is_empty() { "@" } else { &key.1 }).to_uppercase();
            assert!(after.get(key) == Some(old) || named.contains(&path), "{path} has changed and no edit says so");
        }
        for key in after.keys().filter(|key| !before.contains_key(*key)) {
            let path = format!("{prefix}{}", key.0).to_uppercase();
            assert!(named.iter().any(|own| own.starts_with(&path)), "{path} appeared and no edit says so");
        }
    }
    assert_eq!(value(&system, "\\ControlSet009\\Services\\VMTools", "Start"), number(2), "another control set stays");

    // Files, and who may change them.
    let mount = NtfsMount::writable(&volume, &site.join("mounted")).unwrap();
    let files = MountedVolume::new(mount.at());
    let list = String::from_utf8(files.read("\\Windows\\replant\\network.txt").unwrap().unwrap()).unwrap();
    let line = "52:54:00:12:34:56|{11111111-2222-3333-4444-555555555555}|Local Area Connection|10.77.0.60,10.77.0.61|\
                255.255.255.0,255.255.255.0|10.77.0.1|10.77.0.1,10.77.0.2\r\n";
    assert!(list.ends_with(line), "{list}");
    let remove = String::from_utf8(files.read("\\Windows\\replant\\remove.txt").unwrap().unwrap()).unwrap();
    assert!(remove.contains("msiexec.exe /x {1C5B1A7B-0D4C-4B0A-9F7E-0A1B2C3D4E5F} /quiet"), "{remove}");
    for made in ["drivers/viostor.sys", "../replant/firstboot.cmd", "../replant"] {
        let path = mount.at().join("Windows/System32").join(made);
        let own = security::descriptor(&path).unwrap().unwrap();
        assert_eq!(own, security::read_only_for_users(path.is_dir()), "{made}");
    }
    let backup = mount.at().join("Windows/System32/config/SYSTEM.replant-before");
    assert_eq!(
        security::descriptor(&backup).unwrap().unwrap(),
        descriptor,
        "a copy of a hive is as secret as the hive"
    );
    assert_eq!(dump(&backup), system_before);
    mount.release().unwrap();

    // Once more changes nothing, and the file system is in order.
    let again = convert_volume(&site, &volume, &packages, &[]).unwrap();
    assert_eq!(again.edits, []);
    let checked = Command::new("ntfsfix").arg("-n").arg(&volume).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert_eq!(found(&volume).facts.hazards, []);
}

#[test]
fn server_2008_r2() {
    check("2008r2", Generation::Server2008R2, "", "ControlSet001");
}

#[test]
fn server_2012_r2() {
    check("2012r2", Generation::Server2012R2, "", "ControlSet001");
}

#[test]
fn server_2016() {
    check("2016", Generation::Server2016, "", "ControlSet001");
}

#[test]
fn server_2019_that_starts_with_another_control_set() {
    check("2019", Generation::Server2019, "set3", "ControlSet003");
}

#[test]
fn server_2022() {
    check("2022", Generation::Server2022, "", "ControlSet001");
}

#[test]
fn server_2025() {
    check("2025", Generation::Server2025, "", "ControlSet001");
}
