//! The route of captures: who asks is proven before a byte of the body is read, and few bodies are in memory at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::image::remote::MAX_BATCH;

use super::captures::{CaptureError, CaptureSlot};
use super::devices::{DeviceId, DeviceState};
use super::jobs::JobError;
use super::peer::Peer;
use super::protocol::{CaptureOpen, CapturedImage, Report};
use super::server::{Refusal, Service, authorise};

/// Batches in memory at once: whoever comes later waits, and so does its disk.
static ROOM: Semaphore = Semaphore::const_new(MOST_BATCHES);
const MOST_BATCHES: usize = 8;
/// Longest wait for the next bytes of a body.
const SILENCE: Duration = Duration::from_secs(20);
/// Largest body besides a batch.
pub(super) const MAX_WORDS: usize = 64 << 10;

/// `POST .../captures/DISK/open|batch|finish`.
pub(super) async fn capture(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path((device, job, disk, what)): Path<(String, String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    authorise(&service, &device, peer.0)?;
    let slot = service.jobs.capture(&device, &job, &disk)?;
    match what.as_str() {
        "open" => {
            let Ok(body) = read(request, MAX_WORDS).await else { return Ok(too_large()) };
            let Ok(found) = serde_json::from_slice::<CaptureOpen>(&body) else {
                return Ok((StatusCode::BAD_REQUEST, "that opens nothing").into_response());
            };
            let (name, begun) = (device.clone(), slot.clone());
            let opened = run(move || begun.begin(&name, &found), CaptureError::is_refusal).await;
            if let (Ok(_), Some(devices)) = (&opened, &service.devices)
                && let Err(error) = devices.set_state(&DeviceId::new(device), DeviceState::Working)
            {
                tracing::warn!(%error, "what a device does could not be recorded");
            }
            Ok(match opened {
                Ok(opened) => Json(opened).into_response(),
                Err(refusal) => refusal,
            })
        }
        "batch" => {
            let _room = ROOM.acquire().await;
            let mut body = Spare::new();
            let Ok(()) = read_into(&mut body.0, request, MAX_BATCH).await else { return Ok(too_large()) };
            let taken = slot.clone();
            let answer = run(move || taken.take(&body.0), CaptureError::is_refusal).await;
            tell(&service, &job, &slot);
            Ok(match answer {
                Ok(answer) => answer.encode().into_response(),
                Err(refusal) => refusal,
            })
        }
        "finish" => {
            let finished = slot.clone();
            Ok(match run(move || finished.finish(), CaptureError::is_refusal).await {
                Ok(report) => {
                    let image = CapturedImage {
                        id: report.id.to_string(),
                        digest: report.digest.to_string(),
                        stored: report.stored,
                        received: report.received,
                        repeated: report.repeated,
                        resumed: report.resumed,
                        unreadable: report.unreadable,
                    };
                    let (disk, total) = (slot.disk().to_owned(), report.size);
                    let told = Report::Captured { disk, done: total, total, image: Some(image.clone()) };
                    service.jobs.tell(&job, told);
                    Json(image).into_response()
                }
                Err(refusal) => refusal,
            })
        }
        _ => Err(JobError::NotGranted.into()),
    }
}

fn tell(service: &Service, job: &str, slot: &CaptureSlot) {
    if let Some((done, total)) = slot.progress() {
        service.jobs.tell(job, Report::Captured { disk: slot.disk().to_owned(), done, total, image: None });
    }
}

/// A body of `most` bytes at most.
pub(super) async fn read(request: Request, most: usize) -> Result<Vec<u8>, ()> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, request, most).await?;
    Ok(bytes)
}

/// As [`read`]. A body that stalls is given up, so that a cut connection does not keep its place among the few in memory.
async fn read_into(bytes: &mut Vec<u8>, request: Request, most: usize) -> Result<(), ()> {
    let mut body = Limited::new(request.into_body(), most);
    bytes.reserve(body.size_hint().lower().min(most as u64) as usize);
    while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(drop)? {
        if let Ok(data) = frame.map_err(drop)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(())
}

/// A batch's memory. It serves one batch after another: fresh memory costs about as much as filling it.
struct Spare(Vec<u8>);

/// Buffers that no batch uses now.
static SPARES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// Larger ones are let go: senders' batches have about 4 MiB.
const KEPT: usize = 8 << 20;

impl Spare {
    fn new() -> Self {
        Self(SPARES.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.capacity() <= KEPT && spares.len() < MOST_BATCHES {
            self.0.clear();
            spares.push(std::mem::take(&mut self.0));
        }
    }
}

pub(super) fn too_large() -> Response {
    tracing::warn!("a body was too large, or ended too early");
    (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large").into_response()
}

/// Runs what blocks on a thread for it; an error becomes what the agent is told.
pub(super) async fn run<T: Send + 'static, E: std::error::Error + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
    is_refusal: fn(&E) -> bool,
) -> Result<T, Response> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::warn!(error = %said(&error), "a capture or deploy was refused or has failed");
            let status = if is_refusal(&error) { StatusCode::CONFLICT } else { StatusCode::SERVICE_UNAVAILABLE };
            Err((status, said(&error)).into_response())
        }
        Err(error) => {
            tracing::error!(%error, "a capture or deploy has broken down");
            Err((StatusCode::INTERNAL_SERVER_ERROR, "the controller is out of order").into_response())
        }
    }
}

/// An error with what it comes from, in one line.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
