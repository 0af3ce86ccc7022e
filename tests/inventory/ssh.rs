//! A running Linux over ssh: a real server on the loopback address, with keys of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use replant::inventory::document::{from_xml, plain_facts};

use super::document::assert_valid;
use crate::common::{Finished, TestSite, require_root, require_tool};

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a server that lets the owner of `key` in.
fn serve(site: &TestSite) -> Server {
    require_tool("ssh", "openssh-client");
    require_root();
    let sshd = Path::new("/usr/sbin/sshd");
    assert!(sshd.exists(), "this test needs `sshd`: apt-get install openssh-server (tests/run.sh installs it)");
    fs::create_dir_all("/run/sshd").expect("the folder that sshd goes to without rights");
    for key in ["host", "user"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(site.join(key)));
    }
    fs::copy(site.join("user.pub"), site.join("authorized")).expect("a key can be copied");
    fs::set_permissions(site.join("user"), fs::Permissions::from_mode(0o600)).expect("permissions");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let root = site.path().display();
    site.write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nAuthorizedKeysFile {root}/authorized\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nPrintMotd no\n"
        ),
    );
    let host = site.read("host.pub");
    site.write("known_hosts", format!("[127.0.0.1]:{port} {host}"));
    let log = fs::File::create(site.join("sshd.log")).expect("a log");
    let child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(site.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd starts");
    let mut server = Server { child, port };
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.child.try_wait().expect("sshd can be asked");
        assert!(ended.is_none() && Instant::now() < end, "sshd does not answer: {}", site.read("sshd.log"));
        sleep(Duration::from_millis(50));
    }
    server
}

fn look(site: &TestSite, port: u16, hosts: &[&str]) -> Finished {
    let options = [
        format!("--ssh-option=-p{port}"),
        format!("--ssh-option=-i{}", site.join("user").display()),
        format!("--ssh-option=-oUserKnownHostsFile={}", site.join("known_hosts").display()),
        "--ssh-option=-oIdentitiesOnly=yes".to_owned(),
        "--ssh-option=-Fnone".to_owned(),
    ];
    let mut arguments = vec!["inventory", "ssh", "--name", "here"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend(hosts);
    site.replant(&arguments)
}

#[test]
fn a_running_linux_tells_its_facts_and_what_changed_since() {
    let site = TestSite::new();
    let server = serve(&site);
    look(&site, server.port, &["root@127.0.0.1"]).expect(0);
    let xml = site.read("facts/here.xml");
    assert_valid(&xml);
    let document = from_xml(&xml).expect("a document");
    assert_eq!(document.observations[0].source.as_deref(), Some("root@127.0.0.1"));
    let facts = plain_facts(&document.facts);
    let real = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    assert_eq!(facts["os"]["family"], "linux");
    assert_eq!(facts["os"]["kernel"], real("/proc/sys/kernel/osrelease"));
    let kib: u64 = real("/proc/meminfo").split_whitespace().nth(1).expect("MemTotal").parse().expect("a number");
    assert_eq!(facts["system"]["memory"], kib * 1024);
    let processors = real("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    assert_eq!(facts["system"]["processor"]["count"], processors);

    let old = site.write("old.xml", xml.replace(&format!(">{}<", kib * 1024), ">1073741824<"));
    look(&site, server.port, &["root@127.0.0.1"]).expect(0);
    let changes = site.replant(&["inventory", "diff", old.to_str().expect("text"), "facts/here.xml"]).expect(0).stdout;
    assert!(changes.contains(&format!("~ system.memory: 1073741824 -> {}", kib * 1024)), "{changes}");
    let shown = site.replant(&["inventory", "show", "--sources", "facts/here.xml"]).expect(0).stdout;
    assert!(shown.contains("ssh by replant") && shown.contains("family: linux  (o"), "{shown}");
}

#[test]
fn a_machine_that_does_not_let_us_in_is_named_with_the_reason() {
    let site = TestSite::new();
    let server = serve(&site);
    site.write("authorized", "");
    let refused = look(&site, server.port, &["root@127.0.0.1"]).expect(3).stderr;
    for part in ["root@127.0.0.1: ssh ended with", "Permission denied", "must work without a question"] {
        assert!(refused.contains(part), "no `{part}` in {refused}");
    }
    site.write("known_hosts", "");
    let unknown = look(&site, server.port, &["root@127.0.0.1"]).expect(3).stderr;
    assert!(unknown.contains("Host key verification failed"), "{unknown}");
    let option = look(&site, server.port, &["--", "-oProxyCommand=touch pwned"]).expect(3).stderr;
    assert!(option.contains("does not begin with `-`"), "{option}");
    assert!(!site.join("pwned").exists() && !site.join("facts/here.xml").exists());
}
