//! Scripts of machines that boot into the agent: how they are switched, and never a secret.

use std::fs;

use super::site;
use super::snapshots::{render_into, tool};

const METAL: &str = r#"replant: 1
name: metal
store: { path: store, encryption: aes-256-gcm, key: { file: .replant/store.key } }
netboot: { interface: br0, range: 10.77.0.100-10.77.0.200, console: "ttyS1,115200" }
hosts: { local: { provider: qemu, settings: { folder: vms } } }
defaults: { target: { host: local }, post_deploy: { action: stop } }
machines:
  - name: web01
    source: { agent: { mac: "52:54:00:00:00:01", serial: "A 'quoted' 42" }, disks: [{ path: any, size: 1GiB }] }
    inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: "52:54:00:00:00:01" }] }
    power: { redfish: { url: "https://bmc1", user: "o'hara", password: { command: "pass bmc; id" }, certificate: "sha256:0000000000000000000000000000000000000000000000000000000000000000" } }
  - name: web02
    source: { agent: { uuid: "00112233-4455-6677-8899-aabbccddeeff" }, disks: [{ path: any, size: 1GiB }] }
    inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: "52:54:00:00:00:02" }] }
    power: { ipmi: { host: "10.0.0.5:6230", user: admin, password: { env: BMC }, cipher: 17 } }
  - name: web03
    source: { agent: { mac: "52:54:00:00:00:03" }, disks: [{ path: any, size: 1GiB }] }
    inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: "52:54:00:00:00:03" }] }
"#;

#[test]
fn each_kind_of_power_has_its_words_and_every_value_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    render_into(&site::resolved(METAL), folder.path());
    let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
    for (machine, words) in [
        (
            "web01",
            &[
                "--serial='A '\\''quoted'\\'' 42'",
                "--redfish=https://bmc1",
                "--certificate=sha256:0",
                "--user='o'\\''hara'",
                "--password='command:pass bmc; id'",
            ][..],
        ),
        (
            "web02",
            &[
                "--uuid=00112233-4455-6677-8899-aabbccddeeff",
                "--ipmi=10.0.0.5:6230 --cipher=17",
                "--user=admin --password=env:BMC",
            ],
        ),
        ("web03", &["--mac=52:54:00:00:00:03\n"]),
    ] {
        let path = format!("{machine}/{machine}_capture.sh");
        let script = read(&path);
        for word in words {
            assert!(script.contains(word), "{word} is not in\n{script}");
        }
        let path = folder.path().join(path).display().to_string();
        for (checker, arguments) in [("dash", vec!["-n", path.as_str()]), ("shellcheck", vec!["--shell=sh", &path])] {
            let (clean, text) = tool(checker, checker, &arguments);
            assert!(clean, "{machine}: {text}");
        }
    }
    assert!(!read("web03/web03_capture.sh").contains("--password"));
    let agent = read("host_local/host_local_agent.sh");
    assert_eq!(agent.matches("--flavour=generic").count(), 2, "metal needs every driver:\n{agent}");
}
