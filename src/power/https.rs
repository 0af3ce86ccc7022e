//! Requests to a management controller whose certificate is pinned: such devices sign their own, so that no authority
//! could vouch for them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::PowerError;
use crate::controller::{Fingerprint, crypto_provider};

/// Management controllers are slow.
const REQUEST: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 4 << 20;

/// A service and what we know of it.
pub(super) struct Service {
    pub(super) host: String,
    pub(super) port: u16,
    authorization: String,
    pinned: Arc<Pinned>,
    config: Arc<ClientConfig>,
}

/// What it answers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) tag: Option<String>,
    pub(super) json: serde_json::Value,
}

impl Service {
    /// A service that shows this certificate; `authorization` is the value of that header.
    pub(super) fn new(host: &str, port: u16, authorization: String, certificate: Option<Fingerprint>) -> Self {
        let pinned = Arc::new(Pinned { wanted: certificate, shown: Mutex::new(None) });
        let config = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider speaks both")
            .dangerous()
            .with_custom_certificate_verifier(pinned.clone())
            .with_no_client_auth();
        Self { host: host.to_owned(), port, authorization, pinned, config: Arc::new(config) }
    }

    /// Host and port.
    pub(super) fn at(&self) -> String {
        match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// One request on a connection of its own; every status is an answer.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        tag: Option<&str>,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, PowerError> {
        match timeout(REQUEST, self.exchange(method, path, tag, body)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(self.broken(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {REQUEST:?}"))))
            }
        }
    }

    fn broken(&self, error: io::Error) -> PowerError {
        let shown = *self.pinned.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.pinned.wanted, shown) {
            (Some(expected), Some(found)) if expected != found => {
                PowerError::OtherCertificate { at: self.at(), expected, found }
            }
            _ => PowerError::Connection { at: self.at(), error },
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        tag: Option<&str>,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, PowerError> {
        let other = |error: hyper::Error| self.broken(io::Error::other(error));
        let nonsense = |message: String| PowerError::Nonsense { at: self.at(), message };
        let stream = self.connect().await?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
        let driver = tokio::spawn(driver);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.at())
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::ACCEPT, "application/json")
            .header("OData-Version", "4.0");
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map(serde_json::Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|error| nonsense(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(other)?;
        let status = response.status();
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body = Limited::new(response.into_body(), MAX_ANSWER);
        let body = body.collect().await.map_err(|error| nonsense(error.to_string()))?.to_bytes();
        driver.abort();
        // Actions answer with nothing, or with something of their own; only what succeeds has to be JSON.
        let json = match serde_json::from_slice(&body) {
            Ok(json) => json,
            Err(_) if body.is_empty() || !status.is_success() => serde_json::Value::Null,
            Err(error) => return Err(nonsense(format!("`{path}` is not JSON: {error}"))),
        };
        Ok(Answer { status, tag, json })
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, PowerError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| self.broken(error))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| self.broken(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await.map_err(|error| self.broken(error))
    }
}

/// The fingerprint of the certificate that a service shows now: for a person to compare before it is pinned. Nothing is
/// sent to the service.
pub async fn presented_certificate(host: &str, port: u16) -> Result<Fingerprint, PowerError> {
    let service = Service::new(host, port, String::new(), None);
    let outcome = match timeout(REQUEST, service.connect()).await {
        Ok(outcome) => outcome.map(drop),
        Err(_) => Err(service.broken(io::Error::from(io::ErrorKind::TimedOut))),
    };
    let shown = *service.pinned.shown.lock().unwrap_or_else(PoisonError::into_inner);
    match (shown, outcome) {
        (Some(shown), _) => Ok(shown),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(PowerError::Nonsense { at: service.at(), message: "it shows no certificate".to_owned() }),
    }
}

/// Accepts one certificate. Its names and dates do not matter: it is the one that a person has compared.
#[derive(Debug)]
struct Pinned {
    wanted: Option<Fingerprint>,
    shown: Mutex<Option<Fingerprint>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        match self.wanted == Some(shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &crypto_provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &crypto_provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
