//! Requests to the controller, and the proof that it is the one that the boot order names.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::controller::{Fingerprint, Identity, SERVER_NAME, crypto_provider};

/// Largest answer that is read: a sequence with all its text.
const MAX_ANSWER: usize = 8 << 20;
/// Longest time of one request, with its connection.
const REQUEST: Duration = Duration::from_secs(60);

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The controller cannot be reached, or the connection broke.
    #[error("the controller at {at} cannot be reached")]
    Connection {
        /// Host and port.
        at: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// It took too long.
    #[error("the controller at {at} did not answer within {REQUEST:?}")]
    Slow {
        /// Host and port.
        at: String,
    },
    /// It refused.
    #[error("the controller refuses `{path}` ({status}): {message}")]
    Refused {
        /// The path.
        path: String,
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It is not the one that the boot order names, or its answer makes no sense.
    #[error("the controller at {at} is not to be trusted: {message}")]
    Untrusted {
        /// Host and port.
        at: String,
        /// Why.
        message: String,
    },
}

impl HttpError {
    /// Whether another attempt can help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Slow { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Untrusted { .. } => false,
        }
    }
}

/// A client of one controller.
#[derive(Clone)]
pub struct Client {
    host: String,
    port: u16,
    config: Arc<ClientConfig>,
}

impl Client {
    /// A client that trusts the controller whose chain ends in that CA, and shows `identity` if it has one.
    pub fn new((host, port): (String, u16), ca: Fingerprint, identity: Option<Identity>) -> Result<Self, HttpError> {
        let untrusted = |error: rustls::Error| HttpError::Untrusted { at: host.clone(), message: error.to_string() };
        let builder = ClientConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(untrusted)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(ca)));
        let config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).map_err(untrusted)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self { host, port, config: Arc::new(config) })
    }

    /// One request on a connection of its own. An answer other than success is an error.
    pub async fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, HttpError> {
        match timeout(REQUEST, self.exchange(method, path, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::Slow { at: self.at() }),
        }
    }

    fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, HttpError> {
        let connection = |error: std::io::Error| match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(tls) => HttpError::Untrusted { at: self.at(), message: tls.to_string() },
            None => HttpError::Connection { at: self.at(), error },
        };
        let broken = |error: hyper::Error| connection(std::io::Error::other(error));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connection)?;
        let name = ServerName::try_from(SERVER_NAME).expect("the name is one");
        let stream = TlsConnector::from(self.config.clone()).connect(name, stream).await.map_err(connection)?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(driver);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, SERVER_NAME);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| HttpError::Untrusted { at: self.at(), message: error.to_string() })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| connection(std::io::Error::other(error)))?;
        driver.abort();
        match status {
            StatusCode::OK => Ok(body.to_bytes()),
            other => Err(HttpError::Refused {
                path: path.to_owned(),
                status: other.as_u16(),
                message: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            }),
        }
    }
}

/// Accepts the one chain that ends in the CA with this fingerprint and was issued for a controller.
#[derive(Debug)]
struct Pinned(Fingerprint);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.0)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
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
