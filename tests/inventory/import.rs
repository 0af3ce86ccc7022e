//! Files of other tools.

use std::process::Command;

use replant::inventory::document::{from_xml, plain_facts};
use serde_json::Value;

use super::document::assert_valid;
use crate::common::{TestSite, require_tool};

const VMX: &str = include_str!("fixtures/web01.vmx");
const OVF: &str = include_str!("fixtures/appliance.ovf");

/// Imports a file and gives the plain facts of the document that is written.
#[track_caller]
fn imported(name: &str, content: impl AsRef<[u8]>, machine: &str) -> Value {
    let site = TestSite::new();
    site.write(name, content);
    site.replant(&["inventory", "import", name]).expect(0);
    facts(&site, machine)
}

#[track_caller]
fn facts(site: &TestSite, machine: &str) -> Value {
    let xml = site.read(&format!("facts/{machine}.xml"));
    assert_valid(&xml);
    assert!(!xml.contains("hunter2"), "a secret is in the document: {xml}");
    plain_facts(&from_xml(&xml).expect("a document").facts)
}

#[test]
fn a_vmx_file() {
    let facts = imported("web01.vmx", VMX, "web01");
    assert_eq!(facts["system"]["memory"], 4_u64 << 30);
    assert_eq!(facts["system"]["processor"]["count"], 4);
    assert_eq!(facts["system"]["processor"]["sockets"], 2);
    assert_eq!(facts["system"]["firmware"], "uefi");
    assert_eq!(facts["storage"]["disks"].as_array().map(Vec::len), Some(1), "one is absent, one is optical");
    assert_eq!(facts["virtualisation"]["snapshot_count"], 1, "the disk's file is one of a snapshot");
    assert_eq!(facts["network"]["nics"][0]["mac"], "00:0c:29:12:34:56");
    let kinds: Vec<&str> = facts["hardware"]["devices"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["optical", "passthrough"]);
}

#[test]
fn an_ovf_descriptor() {
    let facts = imported("appliance.ovf", OVF, "appliance");
    assert_eq!(facts["system"]["memory"], 2_u64 << 30);
    assert_eq!(facts["system"]["firmware"], "uefi");
    assert_eq!(facts["storage"]["disks"][0]["size"], 40_u64 << 30);
    assert_eq!(facts["storage"]["disks"][0]["allocated"], 987_654_321);
    assert_eq!(facts["storage"]["disks"][0]["bus"], "scsi");
    assert_eq!(facts["network"]["nics"][0]["model"], "VmxNet3");
}

#[test]
fn a_descriptor_that_another_tool_wrote() {
    let facts = imported("tool.ovf", include_str!("fixtures/tool.ovf"), "appliance");
    assert_eq!(facts["system"]["memory"], 8_u64 << 30);
    assert_eq!(facts["system"]["processor"]["count"], 4);
    assert_eq!(facts["system"]["firmware"], "uefi");
    let disks: Vec<(u64, &str)> = facts["storage"]["disks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| Some((one["size"].as_u64()? >> 30, one["bus"].as_str()?)))
        .collect();
    assert_eq!(disks, [(8, "ide"), (40, "scsi")]);
    let macs: Vec<&str> =
        facts["network"]["nics"].as_array().expect("a list").iter().filter_map(|one| one["mac"].as_str()).collect();
    assert_eq!(macs, ["00:50:56:01:02:03", "00:50:56:01:02:04"]);
}

#[test]
fn a_domain_that_libvirt_wrote() {
    require_tool("virsh", "libvirt-clients");
    let output = Command::new("virsh").args(["-c", "test:///default", "dumpxml", "test"]).output().expect("virsh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts = imported("test.xml", output.stdout, "test");
    assert_eq!(facts["system"]["memory"], 8_u64 << 30);
    assert_eq!(facts["system"]["processor"]["count"], 2);
    let site = TestSite::new();
    site.write(
        "d.xml",
        "<domain type='kvm'><name>db</name><memory unit='MiB'>512</memory><vcpu>1</vcpu><os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os>
        <devices><disk type='file' device='disk'><driver type='qcow2'/><source file='/d.qcow2'/><target dev='vda' bus='virtio'/></disk>
        <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface>
        <graphics type='vnc' passwd='hunter2'/><hostdev type='pci'/></devices></domain>",
    );
    site.replant(&["inventory", "import", "d.xml"]).expect(0);
    let facts = self::facts(&site, "db");
    assert_eq!(facts["system"]["firmware"], "uefi");
    assert_eq!(facts["storage"]["disks"][0]["bus"], "virtio");
    assert_eq!(facts["hardware"]["devices"][0]["kind"], "passthrough");
}

/// A workbook as RVTools writes it, with `count` machines.
pub(super) fn workbook(count: u32) -> Vec<u8> {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheets: [(&str, &[&str]); 4] = [
        ("vInfo", &["VM", "Powerstate", "Template", "CPUs", "Memory", "Firmware", "Annotation", "VM UUID", "Host"]),
        ("vCPU", &["VM", "CPUs", "Sockets", "Cores p/s", "Max", "VM UUID"]),
        ("vDisk", &["VM", "Disk", "Capacity MiB", "Raw", "Disk Mode", "Thin", "Controller", "VM UUID"]),
        ("vNetwork", &["VM", "NIC label", "Adapter", "Network", "Connected", "Mac Address", "VM UUID"]),
    ];
    for (name, header) in sheets {
        let sheet = book.add_worksheet();
        sheet.set_name(name).expect("a name");
        for (column, text) in (0_u16..).zip(header) {
            sheet.write(0, column, *text).expect("a cell");
        }
        for row in 1..=count {
            let vm = format!("vm{row:05}");
            let id = format!("5000{row:04x}-0000-0000-0000-00000000beef");
            let cells: Vec<String> = match name {
                "vInfo" => ["", "poweredOn", "False", "2", "4096", "bios", "password hunter2", &id, "esx1"]
                    .map(str::to_owned)
                    .to_vec(),
                "vCPU" => ["", "2", "1", "2", "4800", &id].map(str::to_owned).to_vec(),
                "vDisk" => ["", "Hard disk 1", "40960", "False", "persistent", "True", "SCSI controller 0", &id]
                    .map(str::to_owned)
                    .to_vec(),
                _ => {
                    let mac = format!("00:50:56:00:{:02x}:{:02x}", row / 256, row % 256);
                    ["", "Network adapter 1", "Vmxnet3", "lan", "True", &mac, &id].map(str::to_owned).to_vec()
                }
            };
            sheet.write(row, 0, &vm).expect("a cell");
            for (column, cell) in (0_u16..).zip(&cells).skip(1) {
                match cell.parse::<f64>() {
                    Ok(number) => sheet.write(row, column, number).expect("a cell"),
                    Err(_) => sheet.write(row, column, cell).expect("a cell"),
                };
            }
        }
    }
    book.save_to_buffer().expect("a workbook")
}

#[test]
fn a_workbook_of_rvtools() {
    let site = TestSite::new();
    site.write("export.xlsx", workbook(300));
    let finished = site.replant(&["inventory", "import", "export.xlsx"]).expect(0);
    assert!(finished.stdout.contains("300 machines"), "{}", finished.stdout);
    let facts = facts(&site, "vm00042");
    assert_eq!(facts["system"]["memory"], 4_u64 << 30);
    assert_eq!(facts["system"]["processor"]["frequency"], 2_400_000_000_u64);
    assert_eq!(facts["storage"]["disks"][0]["size"], 40_u64 << 30);
    assert_eq!(facts["network"]["nics"][0]["mac"], "00:50:56:00:00:2a");
    let xml = site.read("facts/vm00042.xml");
    assert!(xml.contains("export.xlsx, vInfo, row 43"), "{xml}");
}

#[test]
fn tabs_of_rvtools_as_separated_values() {
    let site = TestSite::new();
    site.write("RVTools_tabvInfo.csv", "VM;CPUs;Memory;Powerstate\nweb01;2;4,096;poweredOff\n");
    site.write("RVTools_tabvDisk.csv", "VM;Disk;Capacity MB;Raw\nweb01;Hard disk 1;1024;True\n");
    site.write("RVTools_tabvSnapshot.csv", "VM;Name\nweb01;before update\nweb01;another\n");
    let files = ["RVTools_tabvInfo.csv", "RVTools_tabvDisk.csv", "RVTools_tabvSnapshot.csv"];
    site.replant(&["inventory", "import", files[0], files[1], files[2]]).expect(0);
    let facts = facts(&site, "web01");
    assert_eq!(facts["system"]["memory"], 4_u64 << 30);
    assert_eq!(facts["storage"]["disks"][0]["raw_device_mapping"], true);
    assert_eq!(facts["virtualisation"]["snapshot_count"], 2);
}

#[test]
fn this_machine_by_the_script_for_linux() {
    let site = TestSite::new();
    let script = site.replant(&["inventory", "script", "linux"]).expect(0).stdout;
    site.write("look.sh", &script);
    // No environment at all: the script sets what it needs.
    let output =
        Command::new("/usr/bin/env").args(["-i", "sh", "look.sh"]).current_dir(site.path()).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site.write("this.txt", &output.stdout);
    site.replant(&["inventory", "import", "this.txt", "--name", "this"]).expect(0);
    let facts = facts(&site, "this");
    assert_eq!(facts["os"]["family"], "linux");
    let total = std::fs::read_to_string("/proc/meminfo").expect("readable");
    let kib: u64 =
        total.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).expect("a number");
    assert_eq!(facts["system"]["memory"], kib * 1024);
    let processors = std::fs::read_to_string("/proc/cpuinfo").expect("readable").matches("\nprocessor").count() + 1;
    assert_eq!(facts["system"]["processor"]["count"], processors);
}

#[test]
fn the_scripts_ask_for_no_secrets() {
    let site = TestSite::new();
    for system in ["linux", "windows"] {
        let script = site.replant(&["inventory", "script", system]).expect(0).stdout.to_lowercase();
        for secret in [
            "/etc/shadow",
            "digitalproductid",
            "softwarelicensing",
            "backupproductkey",
            "id_rsa",
            "wpa_supplicant",
            "recoverypassword",
            "getkeyprotector",
            "printenv",
        ] {
            assert!(!script.contains(secret), "the script for {system} asks for {secret}");
        }
    }
}

#[test]
fn output_of_the_script_for_windows() {
    let output = r#"{ "format": "replant-windows-inventory", "version": 1, "time": "2026-11-22T20:10:55Z", "firmware": "uefi", "fastStartup": true,
        "system": [{ "Name": "DC01", "Domain": "example.org", "DomainRole": 5, "TotalPhysicalMemory": 8589934592, "Model": "PowerEdge" }],
        "os": [{ "Caption": "Microsoft Windows Server 2019", "BuildNumber": "17763", "SystemDrive": "C:" }],
        "processors": [{ "NumberOfCores": 4, "NumberOfLogicalProcessors": 8, "MaxClockSpeed": 2400 }],
        "disks": [{ "DeviceID": "\\\\.\\PHYSICALDRIVE0", "Index": 0, "Size": 107374182400, "InterfaceType": "SCSI" }],
        "storage": [{ "Number": 0, "PartitionStyle": 2, "BusType": 8, "IsBoot": true }],
        "volumes": [{ "DeviceID": "C:", "FileSystem": "NTFS", "Size": 100000000000, "FreeSpace": 60000000000 }],
        "encryption": [{ "DriveLetter": "C:", "ProtectionStatus": 1 }],
        "adapters": [{ "Index": 1, "NetConnectionID": "LAN", "MACAddress": "00:50:56:AB:CD:EF", "Speed": 1000000000, "PNPDeviceID": "PCI\\VEN_8086&DEV_100F&SUBSYS", "NetConnectionStatus": 2 }],
        "configurations": [{ "Index": 1, "DHCPEnabled": false, "IPAddress": ["192.0.2.17"], "IPSubnet": ["255.255.255.0"], "DefaultIPGateway": ["192.0.2.1"] }],
        "services": [{ "Name": "backup", "StartMode": "Auto", "State": "Running", "PathName": "C:\\Program Files\\backup.exe -password hunter2" }] }"#;
    let facts = imported("dc01.json", output, "dc01");
    assert_eq!(facts["os"]["roles"][0], "domain-controller");
    assert_eq!(facts["storage"]["volumes"][0]["encrypted"], true);
    assert_eq!(facts["storage"]["volumes"][0]["used"], 40_000_000_000_u64);
    assert_eq!(facts["network"]["nics"][0]["pci_id"], "8086:100f");
    assert_eq!(facts["network"]["nics"][0]["addresses"][0], "192.0.2.17/24");
    assert_eq!(facts["software"]["services"][0]["program"], r"C:\Program Files\backup.exe");
}

#[test]
fn files_that_are_wrong_name_place_value_and_way_out() {
    let table: [(&str, String, &[&str]); 12] = [
        ("a.vmx", VMX.replace("\"4096\"", "\"much\""), &["a.vmx:6:", "`memsize` cannot be `much`", "whole number"]),
        ("b.vmx", VMX.replace("guestOS = \"debian10-64\"", "nonsense"), &["b.vmx:5:", "`nonsense`"]),
        ("c.vmx", VMX.replace("displayName", "unknown"), &["names no virtual machine", "displayName"]),
        ("d.ovf", OVF.replace("ovf:capacity=\"40\"", "ovf:capacity=\"x\""), &["d.ovf:5:", "`vmdisk1` cannot be `x"]),
        ("e.ovf", OVF.replace("ovf:/disk/vmdisk1", "ovf:/disk/other"), &["ovf:/disk/other", "DiskSection"]),
        ("f.ovf", OVF.replace("</Envelope>", ""), &["f.ovf:", "not well-formed"]),
        (
            "g.xml",
            "<domain><name>a</name>\n<memory unit='KiB'>lots</memory></domain>".into(),
            &["g.xml:2:", "`lots KiB`"],
        ),
        ("h.xml", "<network><domain/></network>".into(), &["h.xml:1:", "no `name`"]),
        (
            "tabvInfo.csv",
            "VM,CPUs,Memory\nweb01,2,a lot\n".into(),
            &["sheet `tabvInfo.csv`, row 2, column `Memory`", "`a lot` is not a number"],
        ),
        ("tabvDisk.csv", "VM,Disk\nweb01,x\n".into(), &["no sheet `vInfo`", "export everything"]),
        ("i.txt", "replant-linux-inventory 1\n= hostname\n| a\n".into(), &["i.txt:3:", "ends before its end"]),
        ("j.bin", "what is this".into(), &["nothing tells what kind", "--from"]),
    ];
    for (name, content, parts) in table {
        let site = TestSite::new();
        site.write(name, content);
        let stderr = site.replant(&["inventory", "import", name]).expect(3).stderr;
        for part in parts {
            assert!(stderr.contains(part), "{name}: no `{part}` in {stderr}");
        }
        assert!(!site.join("facts").exists(), "{name}: nothing is written");
    }
    let site = TestSite::new();
    let mut broken = workbook(2);
    broken.truncate(broken.len() / 2);
    site.write("k.xlsx", broken);
    let stderr = site.replant(&["inventory", "import", "k.xlsx"]).expect(3).stderr;
    assert!(stderr.contains("not a workbook that can be read"), "{stderr}");
}
