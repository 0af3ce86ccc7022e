//! Names and values made of quotes, spaces, line breaks, substitutions, brackets and other scripts stay values in
//! every language: scripts are run against tools that record their arguments, XML and JSON are read back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use replant::inventory::ResolvedPlan;
use replant::plan::MachineName;
use replant::provider::file_stem;
use replant::sequence;

use super::site;
use super::snapshots::render_into;

/// What stands between the recorded calls.
const END: &str = "\nend of call\n";

/// Records its arguments, each behind the other with a zero byte, and does the little that scripts rely on.
const FAKE: &str = r#"#!/bin/sh
{ printf '%s\0' "${0##*/}" "$@"; printf '\nend of call\n\0'; } >>"$RECORD"
case ${0##*/}/$1 in
  qemu-img/create) shift $(($# - 2)); printf '%s' "$2" >"$1" ;;
  qemu-img/info) shift $(($# - 1)); printf 'virtual size: (%s bytes)\n' "$(cat "$1")" ;;
esac
"#;

struct Site {
    folder: tempfile::TempDir,
    stem: String,
}

impl Site {
    fn new(plan: &ResolvedPlan) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        render_into(plan, &folder.path().join("artifacts"));
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).expect("it is new");
        for tool in ["replant", "qemu-img", "qemu-system-x86_64"] {
            fs::write(tools.join(tool), FAKE).expect("it can be written");
            fs::set_permissions(tools.join(tool), fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let stem = file_stem(&plan.plan.machines[0].name.value.0).into_owned();
        Self { folder, stem }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Runs a script and returns its exit code with the calls it made.
    fn run(&self, script: &Path, arguments: &[&str]) -> (i32, Vec<Vec<String>>) {
        let record = self.folder.path().join("record");
        fs::write(&record, "").expect("it can be written");
        let tools = self.folder.path().join("tools");
        let output = Command::new("dash")
            .arg(script)
            .args(arguments)
            .env("PATH", format!("{}:/usr/bin:/bin", tools.display()))
            .env("REPLANT", tools.join("replant"))
            .env("REPLANT_ROOT", self.root())
            .env("RECORD", &record)
            .output()
            .expect("dash can be run: install the Debian package dash");
        let text = String::from_utf8(fs::read(&record).expect("it is there")).expect("arguments are UTF-8");
        let end = format!("{END}\0");
        let calls = text.split(&end).filter(|call| !call.is_empty());
        let calls = calls.map(|call| {
            call.strip_suffix('\0').expect("each ends with a zero").split('\0').map(str::to_owned).collect()
        });
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.is_empty(), "{}: {complaint}", script.display());
        (output.status.code().expect("it ends by itself"), calls.collect())
    }

    fn script(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("artifacts/{0}/{0}_{id}.sh", self.stem))
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("artifacts/{0}/{0}_{file}", self.stem)))
            .expect("it is rendered")
    }
}

/// A plan whose texts are all `evil` in some place; the VM's name cannot have a slash, which the plan's check refuses.
fn plan_with(evil: &str) -> ResolvedPlan {
    let yaml = site::TWO_MACHINES.replace("firmware: uefi", "firmware: bios");
    let mut plan = site::resolved(&yaml);
    let machine = &mut plan.plan.machines[0];
    machine.name.value = MachineName(Arc::from(evil));
    machine.target.vm_name = format!("v{}", evil.replace('/', "_"));
    machine.post_deploy.wait_for = Some(evil.to_owned());
    machine.guest.root = Some(evil.to_owned());
    machine.guest.skip = vec![evil.to_owned()];
    for disk in &mut plan.machines[0].disks {
        disk.path = format!("/srv/{evil}").into();
        disk.identity = format!("block serial={evil} size=1");
    }
    plan
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn check(evil: &str) {
    let plan = plan_with(evil);
    let site = Site::new(&plan);
    let root = site.root().display().to_string();
    let vm = &plan.plan.machines[0].target.vm_name;
    let folder = format!("{root}/vms/{vm}");
    let (machine, path) = (format!("--machine={evil}"), format!("--path=/srv/{evil}"));
    let identity = format!("block serial={evil} size=1");

    let (code, calls) = site.run(&site.script("validate"), &["apply"]);
    let look = |disk: &str, format: &str| {
        let (format, identity) = (format!("--format={format}"), format!("--identity={identity}"));
        owned(&["replant", "source", "check", &machine, &format!("--disk={disk}"), &path, &format, &identity])
    };
    assert_eq!((code, calls), (0, vec![look("disk0", "qcow2"), look("disk1", "raw")]));

    let (code, calls) = site.run(&site.script("capture"), &["apply", "seal"]);
    let (first, second) = (format!("--disk=disk0={identity}"), format!("--disk=disk1={identity}"));
    let sealed = owned(&["replant", "image", "seal", "--store=/srv/site/store", &machine, &first, &second]);
    assert_eq!((code, calls), (0, vec![sealed]));

    assert_eq!(site.run(&site.script("create-vm"), &["check"]).0, 10);
    let (code, calls) = site.run(&site.script("create-vm"), &["apply"]);
    let make = |disk: &str, size: &str| {
        let file = format!("{folder}/{disk}.qcow2.new");
        owned(&["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=falloc", &file, size])
    };
    assert_eq!((code, calls), (0, vec![make("disk0", "1073741824"), make("disk1", "2147483648")]));
    assert_eq!(site.run(&site.script("create-vm"), &["check"]).0, 0);
    let again = site.run(&site.script("create-vm"), &["apply"]);
    assert!(again.1.iter().all(|call| call[1] == "info"), "a second apply makes nothing: {again:?}");

    let (code, calls) = site.run(&site.script("deploy-vm"), &["apply", "disk1"]);
    let to = format!("--to={folder}/disk1.qcow2");
    let expected =
        ["replant", "image", "deploy", "--store=/srv/site/store", &machine, "--disk=disk1", &to, "--format=qcow2"];
    assert_eq!((code, calls), (0, vec![owned(&expected)]));

    let (code, calls) = site.run(&Path::new(&folder).join("start.sh"), &["run"]);
    // The first call may only try whether KVM works here.
    let start = calls.last().expect("QEMU is called");
    let name = start.iter().position(|word| word == "-name").expect("the VM is named");
    assert_eq!((code, start[name + 1].clone()), (0, vm.replace(',', ",,")));

    let (code, calls) = site.run(&site.script("post-deploy"), &["apply"]);
    let (folder_, wait) = (format!("--folder={folder}"), format!("--wait-for={evil}"));
    let expected = vec![
        owned(&["replant", "source", "offline", &machine, &path, &path]),
        owned(&["replant", "vm", "start", &folder_]),
        owned(&["replant", "vm", "console", &folder_, &wait, "--timeout=300s"]),
    ];
    assert_eq!((code, calls), (0, expected));

    assert_eq!(site.run(&site.script("post-deploy"), &["undo"]), (0, vec![]));
    assert_eq!(site.run(&site.script("create-vm"), &["undo"]), (0, vec![]));
    assert!(!site.root().join("vms").exists(), "nothing is left, not even the folder around the VM");
    assert_eq!(site.run(&site.script("create-vm"), &["undo"]).0, 0, "undo twice is undo once");

    let sequence = sequence::parse(&site.text("deploy-vm.xml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sequence.id, format!("{evil}_deploy-vm"));
    let convert = sequence.steps().into_iter().find(|step| step.command == "guest.convert").expect("it is converted");
    assert_eq!((convert.parameter("root"), convert.list("skip")), (Some(evil), vec![evil]));
    let json: serde_json::Value = serde_json::from_str(&site.text("vm.json")).expect("it is JSON");
    assert_eq!(json["name"], *vm);
}

#[test]
fn the_usual_suspects_are_harmless() {
    for evil in [
        "'; touch /tmp/owned; '",
        "$(touch /tmp/owned)`id`",
        "a\nb\n",
        "<x y=\"z\">&amp;]]></x>",
        "--flag",
        "tab\there \\ \\n \\0",
        "%2F..%2f, ,, {{machine}} {{{x}}}",
        "\u{202e}na\u{ef}ve \u{1f980} \u{2019}",
        "* ? [a-z] ~ ! #",
    ] {
        check(evil);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_harmless(evil in "[ -~\n\t\u{e9}\u{2028}\u{1f980}'\"`$\\\\<>&;|(){}*]{1,16}") {
        check(&evil);
    }
}

#[test]
fn a_vm_of_somebody_else_is_left_alone() {
    let plan = plan_with("web01");
    let site = Site::new(&plan);
    let foreign = site.root().join("vms/vweb01");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("disk0.qcow2"), "precious").unwrap();
    let run = |verb: &str| {
        let output = Command::new("dash")
            .arg(site.script("create-vm"))
            .arg(verb)
            .env("REPLANT_ROOT", site.root())
            .output()
            .expect("dash can be run: install the Debian package dash");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("check").0, Some(1));
    let (code, message) = run("apply");
    assert_eq!(code, Some(78));
    assert!(message.contains("was not made for this machine"), "{message}");
    assert_eq!(run("undo").0, Some(0));
    assert_eq!(fs::read_to_string(foreign.join("disk0.qcow2")).unwrap(), "precious");
}
