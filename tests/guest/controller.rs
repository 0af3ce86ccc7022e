//! Every door of the controller, tried by those who may not pass it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use replant::agent::{self, AgentError, BootOrder, Client, Disks, EnrolError, Enrolment, HttpError, Place};
use replant::controller::{
    Authority, Embedded, EmbeddedOptions, Fingerprint, Identity, LocalAnswer, LocalClient, LocalJob, Report,
    SERVER_NAME, crypto_provider,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;

use crate::common::refusal::{enrolment_status, status};

const SEQUENCE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<sequence xmlns="urn:replant:sequence:1" id="web01_test" description="Nothing but the end">
  <step id="end" description="The end" command="shutdown"/>
</sequence>
"#;

struct Site {
    folder: TempDir,
    controller: Embedded,
    runtime: tokio::runtime::Runtime,
}

/// A job with the connection that keeps it alive.
struct Job {
    client: LocalClient,
    device: String,
    order: BootOrder,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let controller = Embedded::start(&EmbeddedOptions::loopback(folder.path())).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder, controller, runtime }
    }

    fn job(&self, machine: &str, sequence: &str, token_seconds: u64) -> Job {
        let job = LocalJob::alone(machine, sequence, token_seconds);
        let (client, answer) = LocalClient::create(&self.controller.socket(), &job).unwrap();
        let LocalAnswer::Order { device, port, ca, token } = answer else { panic!("{answer:?}") };
        let ca = Fingerprint::parse(&ca).unwrap();
        assert_eq!(ca, self.controller.fingerprint());
        Job { client, device, order: BootOrder { controller: ("127.0.0.1".to_owned(), port), ca, token } }
    }

    fn enrol(&self, order: &BootOrder) -> Result<Enrolment, EnrolError> {
        self.runtime.block_on(agent::enrol(order, Default::default()))
    }

    fn get(&self, client: &Client, device: &str) -> Result<String, HttpError> {
        let path = format!("/v1/devices/{device}/sequence");
        let answer = self.runtime.block_on(client.request(Method::GET, &path, None))?;
        Ok(String::from_utf8(answer.to_vec()).unwrap())
    }

    fn post(&self, client: &Client, path: &str, body: Vec<u8>) -> Result<(), HttpError> {
        self.runtime.block_on(client.request(Method::POST, path, Some(body))).map(drop)
    }
}

fn place(site: &Site) -> Place<'static> {
    Place { folder: site.folder.path().join("mnt"), disks: Disks::Machine, console: &agent::Silent }
}

#[test]
fn a_token_opens_one_enrolment_and_its_certificate_one_job() {
    let site = Site::new();
    let job = site.job("web01", SEQUENCE, 60);
    let enrolment = site.enrol(&job.order).unwrap();
    assert_eq!(enrolment.device, job.device);
    assert_eq!(site.get(&enrolment.client, &job.device).unwrap(), SEQUENCE);
    assert_eq!(enrolment_status(site.enrol(&job.order)), 401, "a token that was used");
    let guess = BootOrder { token: "0".repeat(64), ..job.order.clone() };
    assert_eq!(enrolment_status(site.enrol(&guess)), 401, "a token that nobody issued");
    let late = site.job("web01", SEQUENCE, 0);
    assert_eq!(enrolment_status(site.enrol(&late.order)), 401, "a token that has expired");
}

#[test]
fn without_its_own_certificate_nobody_sees_a_job() {
    let site = Site::new();
    let (mine, theirs) = (site.job("web01", SEQUENCE, 60), site.job("db01", SEQUENCE, 60));
    let me = site.enrol(&mine.order).unwrap();
    let anonymous = Client::new(mine.order.controller.clone(), mine.order.ca, None).unwrap();
    assert_eq!(status(site.get(&anonymous, &mine.device)), 401, "no certificate");
    assert_eq!(status(site.get(&me.client, &theirs.device)), 403, "another device's job");
    assert_eq!(status(site.get(&me.client, "nobody-00000000")), 403, "no such device gives the same answer");
    let reports = format!("/v1/devices/{}/reports", theirs.device);
    assert_eq!(status(site.post(&me.client, &reports, br#"{"entries":[]}"#.to_vec())), 403);
    assert_eq!(status(site.post(&anonymous, &reports, br#"{"entries":[]}"#.to_vec())), 401);
    site.controller.jobs().end(&mine.device);
    assert_eq!(status(site.get(&me.client, &mine.device)), 403, "the certificate of a job that has ended");
}

#[test]
fn certificates_of_another_ca_are_refused_on_both_sides() {
    let site = Site::new();
    let job = site.job("web01", SEQUENCE, 60);
    let other = tempfile::tempdir().unwrap();
    let other = Authority::open(other.path()).unwrap();
    let wrong = BootOrder { ca: other.fingerprint(), ..job.order.clone() };
    assert!(matches!(site.enrol(&wrong), Err(EnrolError::Http(HttpError::Untrusted { .. }))));
    assert!(site.enrol(&job.order).is_ok(), "the token was not shown to a controller that is not trusted");

    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let (certificate, _) = other.device_certificate(&job.device, &csr).unwrap();
    let identity = Identity {
        chain: vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    };
    let forged = Client::new(job.order.controller.clone(), job.order.ca, Some(identity)).unwrap();
    let refused = site.get(&forged, &job.device);
    assert!(
        matches!(refused, Err(HttpError::Connection { .. } | HttpError::Untrusted { .. })),
        "the connection itself is refused: {refused:?}"
    );
}

#[test]
fn large_bodies_and_senseless_ones_are_refused() {
    let site = Site::new();
    let job = site.job("web01", SEQUENCE, 60);
    let me = site.enrol(&job.order).unwrap();
    let anonymous = Client::new(job.order.controller.clone(), job.order.ca, None).unwrap();
    let large = |bytes: usize| format!("{{\"token\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    assert_eq!(status(site.post(&anonymous, "/v1/enrol", large(40 << 10))), 413);
    let reports = format!("/v1/devices/{}/reports", job.device);
    assert_eq!(status(site.post(&me.client, &reports, large(2 << 20))), 413);
    assert_eq!(status(site.post(&me.client, &reports, b"not json".to_vec())), 400);
    let gap = br#"{"entries":[{"seq":7,"report":{"type":"note","text":"x"}}]}"#;
    assert_eq!(status(site.post(&me.client, &reports, gap.to_vec())), 409);
    assert_eq!(status(site.get(&me.client, "..%2f..%2fetc")), 403);
}

#[test]
fn the_controller_speaks_tls_1_3_only() {
    let site = Site::new();
    let address = site.controller.address();
    let certificate = std::fs::read(site.folder.path().join("ca.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&certificate).unwrap()).unwrap();
    let connect = |version: &'static rustls::SupportedProtocolVersion| {
        let config = rustls::ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        site.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(SERVER_NAME).unwrap();
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
        })
    };
    assert!(connect(&rustls::version::TLS12).is_err());
    connect(&rustls::version::TLS13).unwrap();
}

#[test]
fn only_the_owner_can_make_jobs() {
    let site = Site::new();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(site.controller.socket()), 0o600);
    assert_eq!(mode(site.controller.folder().to_owned()), 0o700);
    let job = LocalJob::alone("../etc", SEQUENCE, 60);
    let error = LocalClient::create(&site.controller.socket(), &job).err().expect("a bad name is refused");
    assert!(error.to_string().contains("name"), "{error}");
}

/// Every report of a job until its result.
fn reports(job: &mut Job) -> Vec<Report> {
    let mut seen = Vec::new();
    loop {
        let answer = job.client.next(Duration::from_secs(60)).unwrap();
        let Some(LocalAnswer::Report { report }) = answer else { panic!("{answer:?} after {seen:?}") };
        let last = matches!(report, Report::Result { .. });
        seen.push(report);
        if last {
            return seen;
        }
    }
}

#[test]
fn an_agent_works_off_its_sequence_and_is_heard() {
    let site = Site::new();
    let mut job = site.job("web01", SEQUENCE, 60);
    agent::run(&job.order, &place(&site)).unwrap();
    let seen = reports(&mut job);
    assert!(matches!(&seen[0], Report::Enrolled { facts } if facts.contains_key("firmware")), "{seen:?}");
    assert!(
        matches!(&seen[1], Report::Begin { step, what, position: 1, total: 1, .. } if step == "end" && what == "The end"),
        "{seen:?}"
    );
    assert!(matches!(seen.last(), Some(Report::Result { ok: true, .. })), "{seen:?}");
}

#[test]
fn a_sequence_that_cannot_be_run_is_reported_as_failed() {
    let site = Site::new();
    for (sequence, said) in
        [(SEQUENCE.replace("\"shutdown\"", "\"warp.drive\""), "warp.drive"), ("<nonsense".to_owned(), "cannot be read")]
    {
        let mut job = site.job("web01", &sequence, 60);
        let error = agent::run(&job.order, &place(&site)).unwrap_err();
        assert!(matches!(&error, AgentError::Sequence { message } if message.contains(said)), "{error}");
        let seen = reports(&mut job);
        assert!(
            matches!(seen.last(), Some(Report::Result { ok: false, message, .. }) if message.contains(said)),
            "{seen:?}"
        );
    }
}
