//! The route of deploys: images on their way to disks of agents, as fast as those ask.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tokio::sync::Semaphore;

use crate::image::remote::MAX_WANTED;

use super::deploys::DeployError;
use super::devices::{DeviceId, DeviceState};
use super::jobs::JobError;
use super::peer::Peer;
use super::protocol::{DeployOpen, MapFrom};
use super::server::{Refusal, Service, authorise};
use super::transfer::{MAX_WORDS, read, run, too_large};

/// Answers in memory at once: whoever comes later waits.
static ROOM: Semaphore = Semaphore::const_new(8);

/// `POST .../deploys/DISK/open|map|contents`.
pub(super) async fn deploy(
    State(service): State<Arc<Service>>,
    Extension(peer): Extension<Peer>,
    Path((device, job, disk, what)): Path<(String, String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    authorise(&service, &device, peer.0)?;
    let slot = service.jobs.deploy(&device, &job, &disk)?;
    let most = match what.as_str() {
        "open" | "map" => MAX_WORDS,
        "contents" => MAX_WANTED,
        _ => return Err(JobError::NotGranted.into()),
    };
    let Ok(body) = read(request, most).await else { return Ok(too_large()) };
    let unclear = || Ok((StatusCode::BAD_REQUEST, "that asks for nothing").into_response());
    match what.as_str() {
        "open" => {
            let Ok(found) = serde_json::from_slice::<DeployOpen>(&body) else { return unclear() };
            let opened = run(move || slot.begin(&found), DeployError::is_refusal).await;
            if let (Ok(_), Some(devices)) = (&opened, &service.devices)
                && service.jobs.alone(&device).is_none()
                && let Err(error) = devices.set_state(&DeviceId::new(device), DeviceState::Working)
            {
                tracing::warn!(%error, "what a device does could not be recorded");
            }
            Ok(opened.map_or_else(|refusal| refusal, |opened| Json(opened).into_response()))
        }
        "map" => {
            let Ok(MapFrom { first }) = serde_json::from_slice(&body) else { return unclear() };
            let part = run(move || slot.map(first), DeployError::is_refusal).await;
            Ok(part.map_or_else(|refusal| refusal, IntoResponse::into_response))
        }
        _ => {
            let _room = ROOM.acquire().await;
            let contents = run(move || slot.contents(&body), DeployError::is_refusal).await;
            Ok(contents.map_or_else(|refusal| refusal, IntoResponse::into_response))
        }
    }
}
