//! The agent from a medium, and what its drivers serve.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::lab::{PATIENCE, agent, long, require_tool_anywhere};
use crate::common::TestSite;

fn boots(site: &TestSite, words: &[&str]) {
    let console = site.join("console.log");
    let _ = std::fs::remove_file(&console);
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,tb-size=256", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]);
    command.args(["-serial", &format!("file:{}", console.display())]).args(words).stdin(Stdio::null());
    struct Power(Child);
    impl Drop for Power {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let machine = Power(command.spawn().expect("QEMU starts"));
    let begun = Instant::now();
    loop {
        let shown = String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
        if shown.contains("replant-agent: replant") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the agent does not boot: {shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(machine);
}

#[test]
fn a_medium_boots_with_bios_and_with_uefi() {
    for (tool, package) in [("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")] {
        require_tool_anywhere(tool, package);
    }
    let site = TestSite::new();
    let agent = agent().display().to_string();
    let words = ["agent", "iso", "--agent", &agent, "--out", "agent.iso", "--order"];
    assert!(site.replant(&[&words[..], &["a;b"]].concat()).expect(2).stderr.contains("';'"));
    site.replant(&[&words[..], &["console=ttyS0"]].concat()).expect(0);
    assert!(site.replant(&[&words[..], &["console=ttyS0"]].concat()).expect(1).stderr.contains("is there already"));
    let image = site.join("agent.iso").display().to_string();
    boots(&site, &["-machine", "pc", "-cdrom", &image, "-boot", "d"]);
    if long() {
        std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", site.join("vars.fd")).expect("apt-get install ovmf");
        let variables = format!("if=pflash,format=raw,unit=1,file={}", site.join("vars.fd").display());
        let code = "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
        // As a USB stick or a disk would be seen: a disk with a partition table, not a CD.
        let disk = format!("if=none,id=u,format=raw,readonly=on,file={image}");
        let words = ["-machine", "q35", "-drive", code, "-drive", &variables, "-drive", &disk];
        boots(&site, &[&words[..], &["-device", "virtio-blk-pci,drive=u,bootindex=0"]].concat());
    }
}

#[test]
fn drivers_are_told_for_each_device_of_a_list() {
    let site = TestSite::new();
    let agent = agent().display().to_string();
    site.write("pci.txt", "# lspci -n\n00:03.0 0200: 1af4:1000\n00:04.0 0100: 15ad:07c0 (rev 02)\ndead:beef\n");
    let told = site.replant(&["agent", "drivers", "--agent", &agent, "--inventory", "pci.txt"]).expect(10).stdout;
    for line in ["1af4:1000  virtio_pci", "15ad:07c0  vmw_pvscsi", "dead:beef  no driver"] {
        assert!(told.contains(line), "{told}");
    }
    site.write("pci.txt", "15ad:07b0\n");
    site.replant(&["agent", "drivers", "--agent", &agent, "--inventory", "pci.txt"]).expect(0);
    site.write("pci.txt", "15ad:07b0\nnonsense\n");
    let wrong = site.replant(&["agent", "drivers", "--agent", &agent, "--inventory", "pci.txt"]).expect(2).stderr;
    assert!(wrong.contains("pci.txt:2") && wrong.contains("8086:100e"), "{wrong}");
}
