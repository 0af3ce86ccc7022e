//! Requests to the controller, and the proof that it is the one that the boot order names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::controller::{Fingerprint, Identity, JOB_HEADER, SERVER_NAME, crypto_provider};
use crate::image::remote::MAX_BATCH;

/// Largest answer that is read: the contents of the largest chunk that a store can have.
const MAX_ANSWER: usize = MAX_BATCH;
/// What is read of a connection at once: TLS by itself takes 4 KiB.
const READ_AT_ONCE: usize = 64 << 10;
/// Longest time of one request, with its connection.
const REQUEST: Duration = Duration::from_secs(60);
/// First wait of a channel after a failed attempt; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
            Self::Refused { status, .. } => *status >= 500 || *status == 408,
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
        Ok(self.request_named(method, path, body).await?.1)
    }

    /// As [`Self::request`]; the first part is the job that the answer names.
    pub async fn request_named(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(Option<String>, Bytes), HttpError> {
        let exchange = async {
            let (mut sender, driver) = self.connect().await?;
            let answer = self.exchange(&mut sender, method, path, body.map(Bytes::from)).await;
            driver.abort();
            answer
        };
        match timeout(REQUEST, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::Slow { at: self.at() }),
        }
    }

    /// A connection for one request after another.
    pub fn channel(&self, patience: Duration) -> std::io::Result<Channel> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Channel { client: self.clone(), runtime, connection: None, patience, standing: None })
    }

    fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn broken(&self, error: std::io::Error) -> HttpError {
        match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(tls) => HttpError::Untrusted { at: self.at(), message: tls.to_string() },
            None => HttpError::Connection { at: self.at(), error },
        }
    }

    async fn connect(&self) -> Result<Open, HttpError> {
        let broken = |error| self.broken(error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        // Every request has its answer before a connection is given up, so what still waits to be sent is wanted by nobody.
        stream.set_zero_linger().map_err(broken)?;
        let name = ServerName::try_from(SERVER_NAME).expect("the name is one");
        let stream = BufReader::with_capacity(READ_AT_ONCE, stream);
        let stream = TlsConnector::from(self.config.clone()).connect(name, stream).await.map_err(broken)?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(std::io::Error::other(error)))?;
        Ok((sender, tokio::spawn(driver)))
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<(Option<String>, Bytes), HttpError> {
        let broken = |error: hyper::Error| self.broken(std::io::Error::other(error));
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, SERVER_NAME);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| HttpError::Untrusted { at: self.at(), message: error.to_string() })?;
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let job = response.headers().get(JOB_HEADER).and_then(|job| Some(job.to_str().ok()?.to_owned()));
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| self.broken(std::io::Error::other(error)))?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok((job, body.to_bytes())),
            other => Err(HttpError::Refused {
                path: path.to_owned(),
                status: other.as_u16(),
                message: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            }),
        }
    }
}

/// A connection, and what drives it.
type Open = (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>);

/// One connection that is made again whenever it breaks; for a thread of its own.
pub struct Channel {
    client: Client,
    runtime: Runtime,
    connection: Option<Open>,
    patience: Duration,
    standing: Option<String>,
}

impl Channel {
    /// After a broken connection, `path` is asked first whether there is still any use in trying. Whoever refuses a request
    /// closes the connection without reading the whole body; sending it, we see the broken connection and not the refusal.
    pub fn asking(self, path: String) -> Self {
        Self { standing: Some(path), ..self }
    }

    /// Posts until there is an answer, or a refusal, or patience has an end.
    pub fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Bytes, HttpError> {
        let body = body.into();
        let begun = Instant::now();
        let (mut wait, mut in_doubt) = (FIRST_WAIT, false);
        loop {
            let Self { client, runtime, connection, standing, .. } = self;
            let first = standing.as_deref().filter(|_| in_doubt);
            let attempt = runtime.block_on(async {
                timeout(REQUEST, async {
                    let (sender, _) = match connection {
                        Some(open) if !open.0.is_closed() => open,
                        _ => connection.insert(client.connect().await?),
                    };
                    if let Some(first) = first {
                        client.exchange(sender, Method::GET, first, None).await?;
                    }
                    client.exchange(sender, Method::POST, path, Some(body.clone())).await
                })
                .await
                .unwrap_or_else(|_| Err(HttpError::Slow { at: client.at() }))
            });
            match attempt {
                Ok((_, answer)) => return Ok(answer),
                Err(error) if error.is_passing() && begun.elapsed() < self.patience => {
                    tracing::info!(%error, path, "trying again");
                    if let Some((_, driver)) = self.connection.take() {
                        driver.abort();
                    }
                    in_doubt = true;
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(error) => return Err(error),
            }
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
