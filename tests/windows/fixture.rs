//! Synthetic Windows disks and driver packages.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use replant::guest::SkipList;
use replant::guest::windows::driver::DriverPackage;
use replant::guest::windows::{
    DiskView, FoundWindows, MountedVolume, NtfsMount, TargetNic, TargetTables, WindowsConvertError, WindowsOptions,
    WindowsOutcome, WindowsSurvey, convert, survey,
};
use replant::provider::Catalog;

use crate::common::{TestSite, require_root, require_tool};

/// Debian's Python, which has its packages.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows").join(name)
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Makes a disk; `layout` is bios, uefi or volume.
#[track_caller]
pub fn make_windows(site: &TestSite, generation: &str, layout: &str, variant: &str) -> PathBuf {
    require_root();
    require_tool("ntfs-3g", "ntfs-3g");
    require_tool("sfdisk", "fdisk");
    require_tool("hivexsh", "libhivex-bin");
    let path = site.join(format!("windows-{generation}.img"));
    let mut command = Command::new(PYTHON);
    command.arg(script("make-windows.py")).arg(&path).args([generation, layout, variant]);
    output(&mut command);
    path
}

/// Looks at a disk file.
#[track_caller]
pub fn look(path: &Path) -> WindowsSurvey {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let read_at = |buffer: &mut [u8], offset: u64| file.read_exact_at(buffer, offset);
    survey(&[DiskView { name: "/dev/disk0".into(), size, read_at: &read_at }]).unwrap()
}

/// The only Windows of a disk file.
#[track_caller]
pub fn found(path: &Path) -> FoundWindows {
    let mut survey = look(path);
    assert_eq!((survey.found.len(), survey.damaged.len()), (1, 0), "{survey:?}");
    survey.found.remove(0)
}

/// What the embedded provider says.
pub fn tables() -> TargetTables {
    Catalog::embedded().unwrap().get("qemu").unwrap().windows().clone()
}

/// A converted volume file, and what was done.
pub fn convert_volume(
    site: &TestSite,
    volume: &Path,
    packages: &[DriverPackage],
    skip: &[&str],
) -> Result<WindowsOutcome, WindowsConvertError> {
    let facts = found(volume).facts;
    let mount = NtfsMount::writable(volume, &site.join("mounted")).unwrap();
    let files = MountedVolume::new(mount.at());
    let tables = tables();
    let nics = [TargetNic { mac: "52:54:00:12:34:56".into(), name: None }];
    let skip = SkipList::new(skip.iter().map(|id| (*id).to_owned()));
    let options = WindowsOptions { tables: &tables, packages, nics: &nics, first_boot: &[], skip: &skip };
    let outcome = convert(&files, &facts, &options, |_| {});
    mount.release().unwrap();
    outcome
}

/// Every value of a hive as hivex reads it, by key and name; a key alone has the name `` and no type.
pub type Dump = BTreeMap<(String, String), (String, String)>;

/// Dumps a hive with hivex.
#[track_caller]
pub fn dump(hive: &Path) -> Dump {
    let text = output(Command::new(PYTHON).arg(script("dump-hive.py")).arg(hive).env("PYTHONIOENCODING", "utf-8"));
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let text = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
            ((text(0), text(1)), (text(2), text(3)))
        })
        .collect()
}

/// A package for virtio devices, as driver collections have them: `FOLDER/NAME/GENERATION/amd64`.
pub fn driver(root: &Path, name: &str, generation: &str, target: &str, ids: &[&str]) -> PathBuf {
    let folder = root.join(format!("{name}/{generation}/amd64"));
    fs::create_dir_all(&folder).unwrap();
    let file = name.to_lowercase();
    let (class, guid, kind) = match file.as_str() {
        "netkvm" => ("Net", "{4D36E972-E325-11CE-BFC1-08002BE10318}", 3),
        _ => ("SCSIAdapter", "{4D36E97B-E325-11CE-BFC1-08002BE10318}", 0),
    };
    let models: String = ids.iter().map(|id| format!("%Desc% = Install, {id}\r\n")).collect();
    let inf = format!(
        "[Version]\r\nSignature=\"$Windows NT$\"\r\nClass={class}\r\nClassGuid={guid}\r\nProvider=%Vendor%\r\n\
         DriverVer=03/12/2024,100.95.104.26200\r\nCatalogFile={file}.cat\r\n\
         [SourceDisksNames]\r\n1 = %Disk%,,,\r\n[SourceDisksFiles]\r\n{file}.sys = 1,,\r\n\
         [Manufacturer]\r\n%Vendor% = Models,{target}\r\n[Models.{target}]\r\n{models}\
         [Install]\r\nCopyFiles = Files\r\n[Files]\r\n{file}.sys\r\n\
         [Install.Services]\r\nAddService = {file}, 2, Service\r\n\
         [Service]\r\nServiceType = 1\r\nStartType = {kind}\r\nErrorControl = 1\r\nServiceBinary = %12%\\{file}.sys\r\n\
         LoadOrderGroup = SCSI miniport\r\nAddReg = Parameters\r\n\
         [Parameters]\r\nHKR, \"Parameters\", \"BusType\", 0x00010001, 0x0000000A\r\n\
         [Strings]\r\nVendor = \"Example\"\r\nDesc = \"A device\"\r\nDisk = \"Disk\"\r\n"
    );
    // Real ones are UTF-16.
    let bytes: Vec<u8> = [0xfeff].into_iter().chain(inf.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    fs::write(folder.join(format!("{file}.inf")), bytes).unwrap();
    fs::write(folder.join(format!("{file}.cat")), "catalog").unwrap();
    let mut program = b"MZ".to_vec();
    program.resize(0x3c, 0);
    program.extend(64u32.to_le_bytes());
    program.extend(b"PE\0\0\x64\x86");
    program.resize(4096, 0xc3);
    fs::write(folder.join(format!("{file}.sys")), program).unwrap();
    folder.join(format!("{file}.inf"))
}

/// Identifiers of virtio disks and network adapters, old and new.
pub const DISK: [&str; 2] =
    ["PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00", "PCI\\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01"];
pub const NIC: [&str; 2] =
    ["PCI\\VEN_1AF4&DEV_1000&SUBSYS_00011AF4&REV_00", "PCI\\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01"];

/// A collection with drivers for every generation that the tests make.
pub fn collection(root: &Path) -> Vec<PathBuf> {
    let folders = [
        ("2k8R2", "NTamd64.6.1"),
        ("2k12R2", "NTamd64.6.3"),
        ("2k16", "NTamd64.10.0"),
        ("2k19", "NTamd64.10.0"),
        ("2k22", "NTamd64.10.0"),
        ("2k25", "NTamd64.10.0"),
    ];
    let both = folders.iter().flat_map(|(folder, target)| {
        [driver(root, "viostor", folder, target, &DISK), driver(root, "NetKVM", folder, target, &NIC)]
    });
    both.collect()
}

/// The packages of [`collection`].
pub fn packages(site: &TestSite) -> Vec<DriverPackage> {
    let root = site.join("drivers");
    collection(&root)
        .iter()
        .map(|inf| {
            let origin = inf.parent().unwrap().strip_prefix(&root).unwrap().display().to_string();
            DriverPackage::open(inf, &origin).unwrap()
        })
        .collect()
}
