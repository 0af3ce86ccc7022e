//! A working directory with a plan of two small machines that are copied as they are and left switched off.

use std::fs;

use crate::common::{Finished, TestSite, require_tool};

const PLAN: &str = r#"replant: 1
name: move
store: { path: store, encryption: none }
hosts:
  local: { provider: qemu, settings: { folder: vms, accel: tcg } }
defaults:
  target: { host: local, memory: 256MiB, cpus: 1, firmware: bios, network: user }
  guest: { convert: none }
  post_deploy: { action: stop }
machines:
  - name: web01
    source: { disks: [{ path: source/web01-a.raw }, { path: source/web01-b.raw, format: raw }] }
  - name: db01
    source: { disks: [{ path: source/db01.raw }] }
    after: [web01]
"#;

/// The site with its plan in `plan.yaml` and three disks.
pub fn site() -> TestSite {
    require_tool("qemu-img", "qemu-utils");
    let site = TestSite::new();
    site.write("plan.yaml", PLAN);
    for (name, mebibytes) in [("web01-a", 12), ("web01-b", 8), ("db01", 8)] {
        let path = site.write(&format!("source/{name}.raw"), name.repeat(100_000));
        fs::File::options().write(true).open(path).unwrap().set_len(mebibytes << 20).unwrap();
    }
    site
}

/// Changes the plan.
pub fn edit(site: &TestSite, from: &str, to: &str) {
    let plan = site.read("plan.yaml");
    assert!(plan.contains(from), "the plan has no `{from}`");
    site.write("plan.yaml", plan.replace(from, to));
}

/// What was printed, with paths from the site on.
pub fn stable(site: &TestSite, finished: &Finished) -> String {
    let root = format!("{}/", site.path().display());
    finished.stdout.replace(&root, "")
}
