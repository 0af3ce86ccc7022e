//! HTTPS: TLS 1.3, client certificates of our CA, bounded bodies, bounded time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::devices::{DeviceError, DeviceId, Devices};
use super::health::Health;
use super::jobs::{JobError, Jobs};
use super::peer::Peer;
use super::pki::{Authority, Fingerprint, PkiError, crypto_provider};
use super::protocol::{Ack, EnrolAnswer, EnrolRequest, JOB_HEADER, Report, ReportBatch};
use super::{pull, transfer};

/// Largest body: a batch of reports.
const MAX_BODY: usize = 1 << 20;
/// Largest body before anything is proven: a token and a certificate request.
const MAX_ENROL_BODY: usize = 32 << 10;
/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// What is read of a connection at once.
const READ_AT_ONCE: usize = 64 << 10;
const HANDSHAKE: Duration = Duration::from_secs(20);
const HEADERS: Duration = Duration::from_secs(20);
/// Longest time of a request, its body included.
const REQUEST: Duration = Duration::from_secs(120);
/// Longest life of a connection that has shown no certificate.
const VISIT: Duration = Duration::from_secs(60);
/// Longest life of one that has: captures keep theirs.
const CONNECTION: Duration = Duration::from_secs(86_400);
/// How long requests under way may take to end when the controller stops.
const GRACE: Duration = Duration::from_secs(10);

/// What the routes work with.
pub(super) struct Service {
    pub(super) authority: Authority,
    pub(super) jobs: Arc<Jobs>,
    /// Registered devices; `None` for a controller without a state database.
    pub(super) devices: Option<Arc<Devices>>,
    pub(super) health: Health,
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

/// Serves until `stop` says so; then nothing new is accepted, and what is under way gets [`GRACE`] to end.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) {
    let router = router(service);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            match connection(stream, acceptor, router, stop).await {
                Ok(()) => {}
                Err(error) => tracing::info!(%from, %error, "a connection ended badly"),
            }
            drop(permit);
        });
    }
    drop(listener);
    let _ = timeout(GRACE, room.acquire_many(MAX_CONNECTIONS as u32)).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // Without it the last segment of every answer waits for an acknowledgement.
    stream.set_nodelay(true)?;
    // TLS by itself reads 4 KiB at once.
    let stream = BufReader::with_capacity(READ_AT_ONCE, stream);
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = Peer(certificates.and_then(|chain| chain.first()).map(Fingerprint::of));
    // Who has proven nothing gets one short visit.
    let life = if peer.0.is_some() { CONNECTION } else { VISIT };
    let router = router.layer(Extension(peer));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = timeout(life, async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    });
    match ended.await {
        Ok(ended) => ended.map_err(io::Error::other),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it was cut off after {life:?}"))),
    }
}

fn router(service: Arc<Service>) -> Router {
    let enrolment = Router::new().route("/v1/enrol", post(enrol)).layer(DefaultBodyLimit::max(MAX_ENROL_BODY));
    let transfers = Router::new()
        .route("/v1/devices/{device}/jobs/{job}/captures/{disk}/{what}", post(transfer::capture))
        .route("/v1/devices/{device}/jobs/{job}/deploys/{disk}/{what}", post(pull::deploy))
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/health", get(health))
        .route("/v1/devices/{device}/sequence", get(sequence))
        .route("/v1/devices/{device}/jobs/{job}/resume", get(resume))
        .route("/v1/devices/{device}/reports", post(reports))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(enrolment)
        .merge(transfers)
        .layer(axum::middleware::from_fn(in_time))
        .with_state(service)
}

/// No request takes longer, whoever sends it however slowly.
async fn in_time(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match timeout(REQUEST, next.run(request)).await {
        Ok(response) => {
            // What the routes refuse themselves is logged there, with the reason; this is what never reaches them.
            let status = response.status();
            if matches!(status.as_u16(), 400 | 404 | 405 | 413 | 415 | 422) {
                tracing::warn!(%status, ?path, "a request was refused for its size or form");
            }
            response
        }
        Err(_) => {
            tracing::warn!("a request was cut off after {REQUEST:?}");
            (StatusCode::REQUEST_TIMEOUT, "too slow").into_response()
        }
    }
}

/// Whether `peer` may speak for a device: an unknown device and a foreign certificate give the same answer.
pub(super) fn authorise(service: &Service, device: &str, peer: Option<Fingerprint>) -> Result<(), JobError> {
    let peer = peer.ok_or(JobError::NoCertificate)?;
    if let Some(certificate) = service.jobs.alone(device) {
        return if certificate == Some(peer) { Ok(()) } else { Err(JobError::OtherDevice) };
    }
    let owner = service.devices.as_ref().map(|devices| devices.by_certificate(peer));
    match owner {
        Some(Ok(Some(owner))) if owner.as_str() == device => Ok(()),
        Some(Err(error)) => {
            tracing::error!(%error, "the device database cannot be asked");
            Err(JobError::Broken)
        }
        _ => Err(JobError::OtherDevice),
    }
}

/// A refusal as the agent sees it.
pub(super) struct Refusal(pub(super) JobError);

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
            JobError::Gone => (StatusCode::GONE, "the job is not there any more"),
            JobError::NotGranted => (StatusCode::FORBIDDEN, "the job does not allow it"),
            JobError::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "the controller is out of order"),
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
    let (device, stays) = match (service.jobs.redeem(&request.token), &service.devices) {
        (Ok(device), _) => (device, false),
        (Err(JobError::UnknownToken), Some(devices)) => match devices.redeem(&request.token) {
            Ok(device) => (device.to_string(), true),
            Err(DeviceError::ExpiredToken) => return Err(JobError::ExpiredToken.into()),
            Err(DeviceError::UnknownToken) => return Err(JobError::UnknownToken.into()),
            Err(error) => {
                tracing::error!(%error, "the device database cannot be asked");
                return Err(JobError::Broken.into());
            }
        },
        (Err(error), _) => return Err(error.into()),
    };
    let (certificate, fingerprint) = match service.authority.device_certificate(&device, &request.csr) {
        Ok(issued) => issued,
        Err(error) => {
            tracing::warn!(%error, device, "a certificate request was refused");
            return Ok((StatusCode::BAD_REQUEST, "the certificate request is not usable").into_response());
        }
    };
    let name = match (&service.devices, stays) {
        (Some(devices), true) => match devices.enrolled(&DeviceId::new(device.clone()), fingerprint, &request.facts) {
            Ok(enrolled) => {
                tracing::info!(device, "a device has enrolled");
                enrolled.name.unwrap_or_default()
            }
            Err(error) => {
                tracing::warn!(%error, device, "a machine is not the device that its token is for");
                return Err(JobError::OtherDevice.into());
            }
        },
        _ => {
            service.jobs.enrolled(&device, fingerprint, Report::Enrolled { facts: request.facts })?;
            String::new()
        }
    };
    Ok(Json(EnrolAnswer { device, certificate, stays, name }).into_response())
}

/// How long a device waits for work in one request.
const WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);

async fn sequence(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    authorise(&service, &device, peer.0)?;
    if service.jobs.alone(&device).is_some() {
        let sequence = service.jobs.sequence(&device, peer.0)?;
        return Ok(([(header::CONTENT_TYPE, "application/xml")], sequence).into_response());
    }
    if let Some(devices) = &service.devices
        && let Err(error) = devices.touch(&DeviceId::new(device.clone()))
    {
        tracing::warn!(%error, device, "that it was heard of could not be recorded");
    }
    let until = tokio::time::Instant::now() + WAIT;
    while tokio::time::Instant::now() < until {
        if let Some((job, sequence)) = service.jobs.next(&device) {
            let headers = [(header::CONTENT_TYPE.as_str(), "application/xml"), (JOB_HEADER, &job)];
            return Ok((headers, sequence).into_response());
        }
        tokio::time::sleep(LOOK).await;
    }
    // It may have been released meanwhile.
    authorise(&service, &device, peer.0)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn resume(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path((device, job)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    authorise(&service, &device, peer.0)?;
    Ok(match service.jobs.resume(&device, &job)? {
        Some(point) => Json(point).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn reports(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path(device): Path<String>,
    Json(batch): Json<ReportBatch>,
) -> Result<Json<Ack>, Refusal> {
    let acknowledged = match batch.job {
        None => service.jobs.report(&device, peer.0, batch.entries)?,
        Some(job) => {
            authorise(&service, &device, peer.0)?;
            service.jobs.report_of(&device, &job, batch.entries)?
        }
    };
    Ok(Json(Ack { acknowledged }))
}

/// Says only whether all is well: whoever may know more asks the one who started it.
async fn health(State(service): State<Arc<Service>>) -> Response {
    let probe = service.clone();
    let checks = tokio::task::spawn_blocking(move || probe.health.probe()).await.unwrap_or_default();
    let well = !checks.is_empty() && checks.iter().all(|check| check.error.is_none());
    for check in checks.iter().filter(|check| check.error.is_some()) {
        tracing::warn!(what = check.what, error = check.error, "a probe has failed");
    }
    match well {
        true => (StatusCode::OK, "well\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not well\n").into_response(),
    }
}

/// Binds the listening socket.
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
