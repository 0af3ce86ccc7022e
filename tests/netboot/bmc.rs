//! A management controller that speaks Redfish: sushy-tools' emulator, whose machine a script switches.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::lab::{BootLab, PATIENCE, require_tool_anywhere};
use crate::common::TestSite;

/// sushy-tools with its in-memory machine, whose power is the QEMU's.
const SUSHY: &str = r#"
import subprocess, sys
from sushy_tools.emulator.resources.systems import fakedriver
machine = sys.argv[1]
def switch(self, identity, state):
    system = self._get(identity)
    off = state in ('ForceOff', 'GracefulShutdown', 'ForceRestart')
    on = state in ('On', 'ForceOn', 'ForceRestart')
    subprocess.run([machine, 'boot', 'n' if system.get('boot_device') == 'Pxe' else 'c'], check=True)
    if off:
        subprocess.run([machine, 'off'], check=True)
    if on:
        subprocess.run([machine, 'on'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    self._update(system, power_state='On' if on else 'Off')
fakedriver.FakeDriver.set_power_state = switch
from sushy_tools.emulator import main
sys.argv = ['sushy-emulator'] + sys.argv[2:]
sys.exit(main.main())
"#;

/// Runs until it is dropped; the machine stays as it is.
pub struct Bmc {
    child: Child,
    port: u16,
    certificate: String,
}

impl Bmc {
    /// Starts it in a site that has a `machine.sh`, in a network namespace if one is named. Its user is `admin`, the
    /// password `secret`.
    pub fn start(site: &TestSite, namespace: Option<&str>) -> Self {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
        let python = home.join(".cache/replant/emulators/bin/python");
        assert!(python.is_file(), "this test needs sushy-tools: tests/run.sh installs it below ~/.cache/replant");
        require_tool_anywhere("openssl", "openssl");
        let port = free_port();
        let setup = format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout bmc.key -out bmc.pem -days 2 -subj /CN=bmc 2>/dev/null; \
             mkdir state; {} -c \"import bcrypt; print('admin:' + bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode())\" >users; \
             openssl x509 -in bmc.pem -outform der | sha256sum",
            python.display()
        );
        let made = Command::new("sh").args(["-ec", &setup]).current_dir(site.path()).output().expect("sh runs");
        assert!(made.status.success(), "{made:?}");
        let digest = String::from_utf8_lossy(&made.stdout).chars().take(64).collect::<String>();
        let folder = site.path().display().to_string();
        site.write("sushy.py", SUSHY);
        site.write(
            "sushy.conf",
            format!(
                "SUSHY_EMULATOR_LISTEN_IP='127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT={port}\n\
                 SUSHY_EMULATOR_SSL_CERT='{folder}/bmc.pem'\nSUSHY_EMULATOR_SSL_KEY='{folder}/bmc.key'\n\
                 SUSHY_EMULATOR_AUTH_FILE='{folder}/users'\nSUSHY_EMULATOR_STATE_DIR='{folder}/state'\n"
            ),
        );
        let mut command = match namespace {
            Some(namespace) => BootLab::inside(namespace, &python.display().to_string()),
            None => Command::new(python),
        };
        command.arg(site.join("sushy.py")).arg(site.join("machine.sh")).arg("--fake").arg("--config");
        let log = File::create(site.join("bmc.log")).expect("the log can be made");
        command.arg(site.join("sushy.conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the emulator starts");
        let begun = Instant::now();
        while !site.read("bmc.log").contains("Running on https://") {
            assert!(begun.elapsed() < PATIENCE, "the emulator does not listen: {}", site.read("bmc.log"));
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { child, port, certificate: format!("sha256:{digest}") }
    }

    /// What its certificate is known by.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A plan's `power` for its machine.
    pub fn power(&self, password: &str, certificate: &str) -> String {
        format!(
            "{{ redfish: {{ url: \"https://127.0.0.1:{}\", user: admin, password: {{ command: echo {password} }}, \
             certificate: \"{certificate}\" }} }}",
            self.port
        )
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("there is one").local_addr().expect("it has an address").port()
}
