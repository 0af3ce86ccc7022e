//! HTTPS: TLS 1.3, client certificates of our CA, bounded bodies, bounded time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::jobs::{JobError, Jobs};
use super::peer::Peer;
use super::pki::{Authority, Fingerprint, PkiError, crypto_provider};
use super::protocol::{Ack, EnrolAnswer, EnrolRequest, Report, ReportBatch};

/// Largest body: a batch of reports.
const MAX_BODY: usize = 1 << 20;
/// Largest body before anything is proven: a token and a certificate request.
const MAX_ENROL_BODY: usize = 32 << 10;
/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(20);
const HEADERS: Duration = Duration::from_secs(20);
/// Longest life of a connection; an agent opens one for each request.
const CONNECTION: Duration = Duration::from_secs(120);

/// What the routes work with.
pub(super) struct Service {
    pub(super) authority: Authority,
    pub(super) jobs: Arc<Jobs>,
}

/// The TLS configuration: TLS 1.3 only; a client certificate is optional here, because enrolment has none yet, and each
/// route demands its own.
pub(super) fn acceptor(authority: &Authority) -> Result<TlsAcceptor, PkiError> {
    let content =
        |message: String| PkiError::Content { what: "the controller's TLS configuration".to_owned(), message };
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(|error| content(error.to_string()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| content(error.to_string()))?;
    let identity = authority.server_identity()?;
    let config = rustls::ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| content(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(|error| content(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the task is dropped.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, service: Arc<Service>) {
    let router = router(service);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            match timeout(CONNECTION, connection(stream, acceptor, router)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::info!(%from, %error, "a connection ended badly"),
                Err(_) => tracing::info!(%from, "a connection was cut off after {CONNECTION:?}"),
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) -> io::Result<()> {
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = Peer(certificates.and_then(|chain| chain.first()).map(Fingerprint::of));
    let router = router.layer(Extension(peer));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(io::Error::other)
}

fn router(service: Arc<Service>) -> Router {
    let enrolment = Router::new().route("/v1/enrol", post(enrol)).layer(DefaultBodyLimit::max(MAX_ENROL_BODY));
    Router::new()
        .route("/v1/devices/{device}/sequence", get(sequence))
        .route("/v1/devices/{device}/reports", post(reports))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(enrolment)
        .with_state(service)
}

/// A refusal as the agent sees it.
struct Refusal(JobError);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::warn!(why = %self.0, "a request was refused");
        let (status, text) = match self.0 {
            // One answer for every bad token: nothing can be learned by trying.
            JobError::UnknownToken | JobError::ExpiredToken => (StatusCode::UNAUTHORIZED, "the token opens nothing"),
            JobError::NoCertificate => (StatusCode::UNAUTHORIZED, "a client certificate is needed"),
            JobError::OtherDevice => (StatusCode::FORBIDDEN, "the certificate does not open this device"),
            JobError::Gap { .. } => (StatusCode::CONFLICT, "reports are missing"),
            JobError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too many reports"),
            JobError::Name => (StatusCode::BAD_REQUEST, "that is no name"),
        };
        (status, text).into_response()
    }
}

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        Self(error)
    }
}

async fn enrol(State(service): State<Arc<Service>>, Json(request): Json<EnrolRequest>) -> Result<Response, Refusal> {
    let device = service.jobs.redeem(&request.token)?;
    let (certificate, fingerprint) = match service.authority.device_certificate(&device, &request.csr) {
        Ok(issued) => issued,
        Err(error) => {
            tracing::warn!(%error, device, "a certificate request was refused");
            return Ok((StatusCode::BAD_REQUEST, "the certificate request is not usable").into_response());
        }
    };
    service.jobs.enrolled(&device, fingerprint, Report::Enrolled { facts: request.facts })?;
    Ok(Json(EnrolAnswer { device, certificate }).into_response())
}

async fn sequence(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let sequence = service.jobs.sequence(&device, peer.0)?;
    Ok(([(header::CONTENT_TYPE, "application/xml")], sequence).into_response())
}

async fn reports(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(device): Path<String>,
    Json(batch): Json<ReportBatch>,
) -> Result<Json<Ack>, Refusal> {
    let acknowledged = service.jobs.report(&device, peer.0, batch.entries)?;
    Ok(Json(Ack { acknowledged }))
}

/// Binds the listening socket.
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
