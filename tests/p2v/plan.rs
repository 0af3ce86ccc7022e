//! What is planned for a machine of metal, and what `apply` needs before it begins.

use std::process::Stdio;

use super::lab::{Ends, NETBOOT, wait_for};
use crate::common::TestSite;
use crate::netboot::BootLab;

fn site() -> TestSite {
    let site = TestSite::new();
    site.replant(&["init", "."]).expect(0);
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: p2v\n{NETBOOT}\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             machines:\n  - name: web01\n    source:\n      agent: {{ mac: \"52:54:00:00:00:01\" }}\n      \
             disks: [{{ path: \"serial:A\", size: 96MiB }}, {{ path: any, size: 32MiB }}]\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"52:54:00:00:00:01\" }}] }}\n    \
             target: {{ host: local }}\n    post_deploy: {{ action: stop }}\n"
        ),
    );
    site
}

#[test]
fn a_machine_of_metal_is_booted_captured_and_released_before_its_vm_takes_its_place() {
    let site = site();
    site.replant(&["plan", "plan.yaml", "--out", "run"]).expect(0);
    let manifest: serde_json::Value = serde_json::from_str(&site.read("run/plan.json")).expect("it is JSON");
    let tasks = manifest["tasks"].as_array().expect("a list of tasks");
    let of = |task: &str| tasks.iter().find(|known| known["address"] == task).unwrap_or_else(|| panic!("no {task}"));
    let needs = |task: &str| {
        let needs = of(task)["depends_on"].as_array().expect("a list of addresses").iter();
        let mut needs: Vec<String> = needs.map(|address| address.as_str().expect("an address").to_owned()).collect();
        needs.sort();
        needs
    };
    assert_eq!(needs("web01/boot"), ["host:local/agent", "web01/validate"]);
    assert_eq!(needs("web01/capture/disk1"), ["web01/boot"]);
    assert_eq!(needs("web01/release"), ["web01/capture"]);
    assert_eq!(needs("web01/post-deploy"), ["web01/deploy/guest", "web01/release"]);
    let boot = &manifest["boot"];
    assert_eq!((&boot["interface"], &boot["controller_port"]), (&"br0".into(), &7443.into()), "{boot}");
}

#[test]
fn apply_refuses_to_begin_where_no_machine_could_boot() {
    let (site, lab) = (site(), BootLab::new());
    let inside = |words: &[&str]| {
        let mut command = BootLab::inside(lab.namespace(), env!("CARGO_BIN_EXE_replant"));
        command.args(words).current_dir(site.path()).stdin(Stdio::null());
        command
    };
    let refused = |text: &str| {
        let output = inside(&["apply", "plan.yaml", "--yes"]).output().expect("replant starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(text), "`{text}`: {said}");
        assert!(!site.join(".replant/runs").exists() && !site.join("vms").exists(), "nothing has begun");
    };
    let plan = site.read("plan.yaml");
    site.write("plan.yaml", plan.replace("interface: br0", "interface: br7"));
    refused("there is no network interface `br7`");
    site.write("plan.yaml", &plan);

    // A service that runs for the folder knows its devices, and serves them no network.
    let start = |words: &[&str]| {
        let serve = inside(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("replant starts");
        let socket = site.join(".replant/controller.sock");
        wait_for(|| std::os::unix::net::UnixStream::connect(&socket).is_ok(), || "it does not serve".to_owned());
        Ends(serve)
    };
    let bare = start(&["serve", "--bind", "0.0.0.0:7443"]);
    refused("no network boot with it");
    drop(bare);
    let mut serve = inside(&["serve", "--json", "--plan", "plan.yaml", "--bind", "127.0.0.1:7443"]);
    let said = serve.output().expect("replant starts");
    assert!(String::from_utf8_lossy(&said.stderr).contains("do not reach 127.0.0.1"), "{said:?}");

    // One that serves it is well: it has asked itself.
    let mut serve = inside(&["serve", "--json", "--plan", "plan.yaml"]);
    let mut serve = Ends(serve.stdout(Stdio::piped()).spawn().expect("replant starts"));
    let mut line = String::new();
    let output = serve.0.stdout.take().expect("it was piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("it says where it is");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(said["unhealthy"], serde_json::json!([]), "{said}");
}
