//! Who may not pass a running service is refused, the service's log says so, and nothing has changed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use hyper::Method;
use replant::agent::{self, BootOrder, Client, DeviceFacts, EnrolError, Enrolment, HttpError};
use replant::controller::Fingerprint;
use replant::controller::devices::{Device, Devices, NewDevice};

use crate::common::TestSite;
use crate::common::refusal::{enrolment_status, status};

const MACS: [&str; 2] = ["52:54:00:00:00:01", "52:54:00:00:00:02"];
/// Longest wait for the service to lose its patience; its own limits are 20 and 60 seconds.
const PATIENCE: Duration = Duration::from_secs(400);

struct Service {
    site: TestSite,
    child: Child,
    address: SocketAddr,
    ca: Fingerprint,
    runtime: tokio::runtime::Runtime,
}

impl Service {
    fn start() -> Self {
        let site = TestSite::new();
        site.replant(&["init", "."]).expect(0);
        let log = std::fs::File::create(site.join("serve.log")).unwrap();
        let mut command = site.command(&["serve", "--json", "--bind", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let address = said["address"].as_str().unwrap().parse().unwrap();
        let ca = Fingerprint::parse(said["ca"].as_str().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { site, child, address, ca, runtime }
    }

    fn devices(&self) -> Devices {
        Devices::open(&Utf8PathBuf::try_from(self.site.path().to_owned()).unwrap()).unwrap()
    }

    fn device(&self, number: usize) -> Device {
        let macs = vec![MACS[number].parse().unwrap()];
        self.devices().add(&NewDevice { name: Some(format!("web0{number}")), macs, ..NewDevice::default() }).unwrap()
    }

    fn order(&self, device: &Device, life: Duration) -> BootOrder {
        let token = self.devices().issue_token(&device.id, life).unwrap();
        BootOrder { controller: self.place(self.address), ca: self.ca, token }
    }

    fn place(&self, address: SocketAddr) -> (String, u16) {
        (address.ip().to_string(), address.port())
    }

    fn enrol(&self, order: &BootOrder, number: usize) -> Result<Enrolment, EnrolError> {
        let facts = DeviceFacts::from([("nic.eth0.mac".to_owned(), MACS[number].to_owned())]);
        self.runtime.block_on(agent::enrol(order, facts))
    }

    fn ask(&self, client: &Client, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, HttpError> {
        self.runtime.block_on(client.request(method, path, body)).map(|answer| answer.to_vec())
    }

    fn log(&self) -> String {
        self.site.read("serve.log")
    }

    /// The log, when it has said something so many times.
    fn log_with(&self, said: &str, times: usize) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if log.matches(said).count() >= times {
                return log;
            }
            assert!(begun.elapsed() < PATIENCE, "`{said}` is not {times} times in the log:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that a refused request could have changed: devices but for when they were seen, and files.
    fn world(&self) -> (Vec<Device>, Vec<PathBuf>) {
        let mut devices = self.devices().list().unwrap();
        devices.iter_mut().for_each(|device| device.last_seen = None);
        let files = walkdir::WalkDir::new(self.site.path()).into_iter().map(|entry| entry.unwrap().into_path());
        let mut files: Vec<PathBuf> = files.collect();
        files.retain(|path| !path.to_string_lossy().contains("state.db"));
        files.sort();
        (devices, files)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_refusal_is_in_the_log_and_changes_nothing() {
    let service = Service::start();
    let (one, two) = (service.device(0), service.device(1));
    let order = service.order(&one, Duration::from_secs(600));
    let me = service.enrol(&order, 0).unwrap();
    let late = service.order(&two, Duration::ZERO);
    let anonymous = Client::new(service.place(service.address), service.ca, None).unwrap();
    let before = service.world();

    assert_eq!(enrolment_status(service.enrol(&order, 0)), 401, "a replayed token");
    assert_eq!(enrolment_status(service.enrol(&late, 1)), 401, "an expired token");
    let get = |client: &Client, path: String| status(service.ask(client, Method::GET, &path, None));
    let post = |client: &Client, path: String, body| status(service.ask(client, Method::POST, &path, Some(body)));
    assert_eq!(get(&anonymous, format!("/v1/devices/{}/sequence", one.id)), 401, "no certificate");
    assert_eq!(get(&me.client, format!("/v1/devices/{}/sequence", two.id)), 403, "another device's certificate");
    for name in ["..%2f..%2fetc%2fpasswd", "%2e%2e", "..%00", "a%2fb"] {
        assert_eq!(get(&me.client, format!("/v1/devices/{name}/sequence")), 403, "{name}");
        assert_eq!(get(&me.client, format!("/v1/devices/{}/jobs/{name}/resume", one.id)), 410, "{name}");
        let capture = format!("/v1/devices/{}/jobs/{name}/captures/{name}/open", one.id);
        assert_eq!(post(&me.client, capture, b"{}".to_vec()), 410, "{name}");
    }
    let large = |bytes: usize| format!("{{\"token\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    let oversized = |client: &Client, path: &str, bytes: usize| {
        match service.ask(client, Method::POST, path, Some(large(bytes))) {
            Err(HttpError::Refused { status, .. }) => assert_eq!(status, 413, "{path}"),
            // The service has answered and closed before the whole body was sent.
            Err(HttpError::Connection { .. }) => {}
            other => panic!("{path}: {other:?}"),
        }
    };
    oversized(&anonymous, "/v1/enrol", 40 << 10);
    oversized(&me.client, &format!("/v1/devices/{}/reports", one.id), 2 << 20);

    assert_eq!(service.world(), before, "nothing has changed");
    let log = service.log_with("413 Payload Too Large", 2);
    for said in [
        "the token is unknown",
        "the token has expired",
        "no client certificate was shown",
        "the client certificate does not open this device",
        "the job is not there any more",
        "413 Payload Too Large",
    ] {
        assert!(log.contains(said), "`{said}` is not in the log:\n{log}");
    }
}

#[test]
fn a_port_that_another_program_has_is_named_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = TestSite::new();
    site.replant(&["init", "."]).expect(0);
    let stderr = site.replant(&["serve", "--bind", &address]).expect(1).stderr;
    assert!(stderr.contains(&format!("cannot listen on {address}: choose another")), "{stderr}");
    assert!(stderr.contains("Address already in use"), "{stderr}");
}

#[test]
fn whoever_sends_slowly_is_cut_off_and_keeps_nobody_waiting() {
    let service = Service::start();
    let one = service.device(0);
    let before = service.world();
    // Some say nothing at all, not even to TLS; some begin a request and let it hang.
    let mute: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(service.address).unwrap()).collect();
    let certificate = std::fs::read(service.site.join(".replant/ca.pem")).unwrap();
    let slow: Vec<_> = ["GET /health HTT", "POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{\"to"]
        .into_iter()
        .map(|begin| service.runtime.block_on(begun(service.address, &certificate, begin)))
        .collect();
    let order = service.order(&one, Duration::from_secs(600));
    service.enrol(&order, 0).expect("others are served meanwhile");
    for mut stream in mute {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = stream.read(&mut [0; 64]);
        assert!(
            matches!(end, Ok(0)) || end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
            "{end:?}"
        );
    }
    for mut stream in slow {
        let ended = service.runtime.block_on(async {
            let mut rest = Vec::new();
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
            tokio::time::timeout(PATIENCE, reading).await.map(|_| rest)
        });
        let rest = ended.expect("it is cut off");
        assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 2"), "a part of a request is no request");
    }
    let log = service.log();
    assert!(log.contains("a connection ended badly"), "{log}");
    let mut after = service.world();
    after.0.iter_mut().for_each(|device| {
        let fresh = before.0.iter().find(|known| known.id == device.id).unwrap();
        *device = fresh.clone();
    });
    assert_eq!(after, before, "but for the one that has enrolled, nothing has changed");
}

/// A TLS connection that has sent these bytes.
async fn begun(
    address: SocketAddr,
    certificate: &[u8],
    begin: &str,
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(replant::controller::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(replant::controller::SERVER_NAME).unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, begin.as_bytes()).await.unwrap();
    tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
    stream
}

/// Somebody between agent and controller: passes everything on, and changes one byte of all that the controller says once
/// a connection is begun.
struct Meddler {
    address: SocketAddr,
    armed: Arc<AtomicBool>,
    changed: Arc<AtomicU64>,
}

impl Meddler {
    fn before(controller: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (armed, changed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (meddle, count) = (armed.clone(), changed.clone());
        std::thread::spawn(move || {
            for agent in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(controller).unwrap();
                let (up, down) = (agent.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(up, server, |_, _| {}));
                let (meddle, count) = (meddle.clone(), count.clone());
                // What comes first is of the handshake; the answer to a request comes after it.
                let change = move |so_far: u64, bytes: &mut [u8]| {
                    if meddle.load(Ordering::Relaxed) && so_far > 0 && bytes.len() > 60 {
                        let last = bytes.len() - 30;
                        bytes[last] ^= 1;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                };
                std::thread::spawn(move || pass(down, agent, change));
            }
        });
        Self { address, armed, changed }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(u64, &mut [u8])) {
    let (mut buffer, mut so_far) = (vec![0; 16 << 10], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        change(so_far, &mut buffer[..count]);
        so_far += count as u64;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_sequence_that_was_tampered_with_on_its_way_is_not_run() {
    let service = Service::start();
    let one = service.device(0);
    let meddler = Meddler::before(service.address);
    let mut order = service.order(&one, Duration::from_secs(600));
    order.controller = service.place(meddler.address);
    let me = service.enrol(&order, 0).expect("it only passes things on so far");
    let sequence = "<sequence xmlns=\"urn:replant:sequence:1\" id=\"x\" description=\"a long text, so that it has a part to \
                    be changed\"><step id=\"off\" command=\"shutdown\"/></sequence>";
    let job = replant::controller::LocalJob {
        device: Some(me.device.clone()),
        ..replant::controller::LocalJob::alone("web00", sequence, 0)
    };
    let socket = service.site.join(".replant/controller.sock");
    let (_job, _) = replant::controller::LocalClient::create(&socket, &job).unwrap();
    let path = format!("/v1/devices/{}/sequence", me.device);
    assert_eq!(service.ask(&me.client, Method::GET, &path, None).unwrap(), sequence.as_bytes());
    meddler.armed.store(true, Ordering::Relaxed);
    let outcome = service.ask(&me.client, Method::GET, &path, None);
    assert!(meddler.changed.load(Ordering::Relaxed) > 0, "something was changed");
    assert!(matches!(outcome, Err(HttpError::Untrusted { .. } | HttpError::Connection { .. })), "{outcome:?}");
    meddler.armed.store(false, Ordering::Relaxed);
    assert_eq!(
        service.ask(&me.client, Method::GET, &path, None).unwrap(),
        sequence.as_bytes(),
        "the job is what it was"
    );
}
