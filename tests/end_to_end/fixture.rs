//! The source machine, and a working directory with a plan for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{TestSite, require_root, require_tool};

/// The disks of the source machine, as `make-source.sh` names them.
const DISKS: [&str; 2] = ["web01-sda.qcow2", "web01-sdb.raw"];

/// A working directory with a copy of the source machine and a plan for it.
pub struct Migration {
    /// The folder.
    pub site: TestSite,
}

/// Where caches for all tests lie: the agent's packages, the agent, the source machine.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end")
}

/// Makes the source machine once for all tests and all processes.
fn source() -> PathBuf {
    require_root();
    for (tool, package) in [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("mmdebstrap", "mmdebstrap"),
        ("grub-mkimage", "grub-common"),
        ("busybox", "busybox-static"),
    ] {
        require_tool(tool, package);
    }
    let folder = cache().join("source");
    std::fs::create_dir_all(&folder).expect("the cache folder can be made");
    let lock = File::create(cache().join("source.lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    if !folder.join("web01.expected").exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart/make-source.sh");
        run(Command::new("sh").arg(script).arg(&folder));
    }
    folder
}

/// Runs a tool to its end; its output is shown when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Migration {
    /// A site with the source's disks and a plan whose machine is declared by `machine` (YAML lines below the
    /// machine's name and disks).
    pub fn new(machine: &str) -> Self {
        let site = TestSite::new();
        let source = source();
        std::fs::create_dir_all(site.join("source")).expect("folders can be made");
        for disk in DISKS {
            run(Command::new("cp")
                .args(["--sparse=always", "--preserve=timestamps"])
                .arg(source.join(disk))
                .arg(site.join("source")));
        }
        let mut init = site.command(&["init", "."]);
        run(&mut init);
        let indented: String = machine.lines().map(|line| format!("    {line}\n")).collect();
        site.write(
            "plan.yaml",
            format!(
                "replant: 1\nname: end-to-end\n\
                 store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
                 hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
                 machines:\n  - name: web01\n    source:\n      disks:\n        \
                 - path: source/{}\n        - {{ path: source/{}, format: raw }}\n{indented}",
                DISKS[0], DISKS[1]
            ),
        );
        Self { site }
    }

    /// `replant apply plan.yaml --yes` and more words, with the shared cache of agent packages.
    pub fn apply(&self, words: &[&str]) -> Command {
        let mut arguments = vec!["apply", "plan.yaml", "--yes"];
        arguments.extend(words);
        let mut command = self.site.command(&arguments);
        command.env("REPLANT_CACHE", cache().join("agent"));
        command
    }

    /// The addresses of the plan's tasks that `apply` runs, in execution order.
    pub fn tasks(&self) -> Vec<String> {
        let printed = self.site.replant(&["plan", "plan.yaml", "--json"]).expect(0).stdout;
        let plan: serde_json::Value = serde_json::from_str(&printed).expect("the preview is JSON");
        let groups = plan["groups"].as_array().expect("a list of groups");
        let lines = groups.iter().flat_map(|group| group["lines"].as_array().expect("a list of tasks"));
        lines
            .map(|task| task["address"].as_str().expect("an address").to_owned())
            .filter(|address| !address.ends_with("/cleanup"))
            .collect()
    }

    /// The line that the source machine prints on its console: a marker and checksums of files on both disks.
    pub fn expected(&self) -> String {
        let line = std::fs::read_to_string(cache().join("source/web01.expected"));
        line.expect("the source says what it prints").trim().to_owned()
    }

    /// The addresses of the tasks that are done now.
    pub fn finished(&self) -> Vec<String> {
        let printed = self.site.replant(&["status", "--json"]).expect(0).stdout;
        let status: serde_json::Value = serde_json::from_str(&printed).expect("the status is JSON");
        let tasks = status["tasks"].as_array().expect("a list of tasks").iter();
        tasks
            .filter(|task| matches!(task["status"].as_str(), Some("applied" | "already-true")))
            .map(|task| task["task"].as_str().expect("an address").to_owned())
            .collect()
    }

    /// Applies to the end and returns the addresses of the tasks that were begun.
    pub fn resume(&self) -> Vec<String> {
        let events = run(&mut self.apply(&["--json"]));
        let events = events.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let started = events.filter(|event| event["type"] == "task-started");
        started.filter_map(|event| event["task"].as_str().map(str::to_owned)).collect()
    }

    /// Every path below the site that a run may make, apart from the image store and the records in `.replant`.
    pub fn world(&self) -> Vec<String> {
        let mut paths: Vec<String> = walkdir::WalkDir::new(self.site.path())
            .into_iter()
            .map(|entry| entry.expect("the site can be read").into_path())
            .map(|path| path.strip_prefix(self.site.path()).expect("below the site").display().to_string())
            .filter(|path| !path.starts_with(".replant") && !path.starts_with("store"))
            .collect();
        paths.sort();
        paths
    }

    /// A digest of the source's disk files.
    pub fn source_digest(&self) -> String {
        run(Command::new("sha256sum").args(DISKS).current_dir(self.site.join("source")))
    }

    /// A digest of everything on the VM's disks that a guest can see: the second disk byte for byte, the first as
    /// its boot areas plus the tree of its root file system without times (which the guest step's own clock sets).
    pub fn vm_digest(&self) -> (String, String) {
        let vm = self.site.join("vms/web01");
        let raw = |name: &str| {
            let path = self.site.join(format!("{name}.check"));
            run(Command::new("qemu-img")
                .args(["convert", "-O", "raw"])
                .arg(vm.join(format!("{name}.qcow2")))
                .arg(&path));
            path
        };
        let (first, second) = (raw("disk0"), raw("disk1"));
        let whole = run(Command::new("sha256sum").stdin(File::open(&second).expect("just written")));
        let mount = self.site.join("mnt");
        std::fs::create_dir_all(&mount).expect("folders can be made");
        let script = "set -e\n\
             head -c 1048576 \"$1\" | sha256sum\n\
             mount -o ro,noload,loop,offset=1048576 \"$1\" \"$2\"\n\
             trap 'umount \"$2\"' EXIT\n\
             tar -C \"$2\" --sort=name --format=posix --pax-option=delete=atime,delete=ctime,delete=mtime \
                 --mtime=@0 -cf - . | sha256sum";
        let tree = run(Command::new("sh").args(["-c", script, "sh"]).arg(&first).arg(&mount));
        for path in [first, second] {
            std::fs::remove_file(path).expect("our own file can be removed");
        }
        std::fs::remove_dir(mount).expect("our own folder can be removed");
        (whole, tree)
    }
}
