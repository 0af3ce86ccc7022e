//! The registry that virt-v2v writes on the same disk, beside ours. Takes a minute or two: runs with `REPLANT_TEST_LONG=1`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use replant::guest::windows::NtfsMount;

use crate::common::{TestSite, require_tool};

use super::fixture::{Dump, collection, convert_volume, dump, make_windows, packages};

/// Where the Windows volume begins on the disks of `make-windows.py`, and its bytes.
const VOLUME: (u64, u64) = (67584 * 512, 400_000 * 512);

fn volume_of(disk: &Path, to: &Path) {
    let bytes = fs::read(disk).unwrap();
    let (start, len) = (VOLUME.0 as usize, VOLUME.1 as usize);
    fs::write(to, &bytes[start..start + len]).unwrap();
}

fn system(site: &TestSite, volume: &Path, name: &str) -> Dump {
    let mount = NtfsMount::writable(volume, &site.join("mounted")).unwrap();
    let copy = site.join(name);
    fs::copy(mount.at().join("Windows/System32/config/SYSTEM"), &copy).unwrap();
    mount.release().unwrap();
    dump(&copy)
}

/// What one dump has and the other has not, with the peer's names replaced by ours.
fn added(before: &Dump, after: &Dump) -> BTreeMap<(String, String), (String, String)> {
    let name = |text: &str| {
        let text = text.replace("guestor.inf_tmp", "replant-viostor.inf_amd64");
        text.replace("guestor.inf", "replant-viostor.inf").replace("guestor_conf", "replant-viostor")
    };
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    new.map(|((key, value), data)| ((name(key).to_uppercase(), name(value).to_uppercase()), data.clone())).collect()
}

fn compare(generation: &str) {
    if std::env::var_os("REPLANT_TEST_LONG").is_none() {
        return;
    }
    require_tool("virt-v2v", "virt-v2v");
    let site = TestSite::new();
    let disk = make_windows(&site, generation, "bios", "large");
    let (theirs, ours) = (site.join("theirs.img"), site.join("ours.img"));
    volume_of(&disk, &ours);
    let before = system(&site, &ours, "before");
    collection(&site.join("virtio-win"));
    fs::create_dir(site.join("out")).unwrap();
    // It puts a program into the guest that Debian does not have; the registry does not depend on what is in it.
    fs::create_dir(site.join("virt-tools")).unwrap();
    for program in ["rhsrvany.exe", "pnp_wait.exe"] {
        fs::write(site.join("virt-tools").join(program), "MZ").unwrap();
    }
    let run = Command::new("virt-v2v")
        .args(["-i", "disk"])
        .arg(&disk)
        .args(["-o", "local", "-of", "raw", "-on", "peer", "-os"])
        .arg(site.join("out"))
        .env("VIRTIO_WIN", site.join("virtio-win"))
        .env("VIRT_TOOLS_DATA_DIR", site.join("virt-tools"))
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .env("LIBGUESTFS_CACHEDIR", site.path())
        .env("TMPDIR", site.path())
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(run.status.success(), "{}{}", said(&run.stdout), said(&run.stderr));
    volume_of(&site.join("out/peer-sda"), &theirs);
    convert_volume(&site, &ours, &packages(&site), &[]).unwrap();
    let mut theirs = added(&before, &system(&site, &theirs, "theirs"));
    let ours = added(&before, &system(&site, &ours, "ours"));
    // Each has a service of its own that runs its script at the first boot.
    let service = |name: &str| format!("\\SERVICES\\{name}");
    assert!(
        ours.keys().any(|(key, _)| key.contains(&service("REPLANT-FIRSTBOOT"))),
        "ours runs at the first boot, too"
    );
    theirs.retain(|(key, _), _| !key.contains(&service("FIRSTBOOT")));
    let mut same = 0;
    let mut report = Vec::new();
    for (key, value) in &theirs {
        match ours.get(key) {
            Some(own) if own == value => same += 1,
            Some(_) if ["", "ACTIVE", "CONFIGURATIONS", "CONFIGURATION"].contains(&key.1.as_str()) => same += 1,
            Some(own) => report.push(format!("{}\\{}: theirs {value:?}, ours {own:?}", key.0, key.1)),
            None => report.push(format!("{}\\{}: theirs {value:?}, ours nothing", key.0, key.1)),
        }
    }
    eprintln!(
        "{generation}: virt-v2v adds {} keys and values, {same} of them are ours, too; we add {}",
        theirs.len(),
        ours.len()
    );
    report.iter().for_each(|line| eprintln!("  {line}"));
    assert!(theirs.len() > 5 && report.is_empty(), "{report:#?}");
}

#[test]
fn server_2008_r2_has_what_virt_v2v_writes() {
    compare("2008r2");
}

#[test]
fn server_2019_has_what_virt_v2v_writes() {
    compare("2019");
}
