//! The plain HTTP side: boot scripts, kernel and initramfs. Read-only, bounded, and without a secret of its own: whoever
//! is on the boot network can read all of it, one machine's unused token included.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{BootAnswer, BootDirectory};
use super::request::BootRequest;
use super::script::Scripts;
use super::service::Forbidden;

/// Connections at once.
const MAX_CONNECTIONS: usize = 128;
const HEADERS: Duration = Duration::from_secs(10);
/// Longest life of a connection: a slow network and a large initramfs.
const CONNECTION: Duration = Duration::from_secs(600);

/// The files of a built agent, read when they are asked for and kept until they change.
pub struct BootFiles {
    folder: PathBuf,
    kept: Mutex<BTreeMap<&'static str, Kept>>,
}

struct Kept {
    length: u64,
    modified: SystemTime,
    bytes: Bytes,
}

/// What is served; nothing else of the folder can be named.
const NAMES: [&str; 2] = ["vmlinuz", "agent.img"];

impl BootFiles {
    /// Of the folder that `replant agent build` wrote.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), kept: Mutex::default() }
    }

    /// The file's bytes; `None` if it is none of ours.
    pub fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else { return Ok(None) };
        let path = self.folder.join(name);
        let metadata = std::fs::metadata(&path)?;
        let (length, modified) = (metadata.len(), metadata.modified()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = kept.get(name).filter(|file| file.length == length && file.modified == modified) {
            return Ok(Some(file.bytes.clone()));
        }
        let bytes = Bytes::from(std::fs::read(&path)?);
        kept.insert(name, Kept { length, modified, bytes: bytes.clone() });
        Ok(Some(bytes))
    }

    /// The first file that is missing, if one is.
    pub fn missing(&self) -> Option<PathBuf> {
        NAMES.map(|name| self.folder.join(name)).into_iter().find(|path| !path.is_file())
    }
}

/// What the routes work with.
pub struct BootSite {
    /// Who boots into what.
    pub directory: Arc<dyn BootDirectory>,
    /// Whom nobody may boot.
    pub forbidden: Forbidden,
    /// The scripts.
    pub scripts: Scripts,
    /// The agent's files.
    pub files: BootFiles,
}

/// The routes: `/boot.ipxe`, `/boot?mac=..&uuid=..`, `/files/{name}`.
pub fn router(site: Arc<BootSite>) -> Router {
    Router::new()
        .route("/boot.ipxe", get(first))
        .route("/boot", get(boot))
        .route("/files/{name}", get(file))
        .with_state(site)
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a boot connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            if let Ok(Err(error)) = timeout(CONNECTION, connection).await {
                tracing::info!(%from, %error, "a boot connection ended badly");
            }
            drop(permit);
        });
    }
}

fn text(script: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], script).into_response()
}

fn broken(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a boot request cannot be answered");
    (StatusCode::INTERNAL_SERVER_ERROR, "the service has a problem: its log names it\n").into_response()
}

async fn first(State(site): State<Arc<BootSite>>) -> Response {
    match site.scripts.first() {
        Ok(script) => text(script),
        Err(error) => broken(&error),
    }
}

async fn boot(State(site): State<Arc<BootSite>>, RawQuery(query): RawQuery) -> Response {
    let request = match BootRequest::parse(query.as_deref().unwrap_or("")) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "a boot request makes no sense");
            return (StatusCode::BAD_REQUEST, "that is no boot request\n").into_response();
        }
    };
    let answer = match site.forbidden.why(request.mac) {
        Some(why) => {
            tracing::warn!(mac = %request.mac, why, "this machine must not be booted");
            BootAnswer::Ignore
        }
        None => site.directory.answer(&request),
    };
    let what = match &answer {
        BootAnswer::Agent { count, .. } => format!("agent (boot {} of {})", count.boots, count.limit),
        BootAnswer::Local { looped: None, .. } => "local disk".to_owned(),
        BootAnswer::Local { looped: Some(count), .. } => {
            format!("local disk: {} boots into the agent, and never a word from it", count.boots)
        }
        BootAnswer::Ignore => "nothing".to_owned(),
    };
    tracing::info!(mac = %request.mac, uuid = ?request.uuid, answer = what, "a machine asks what to boot");
    match site.scripts.answer(&answer) {
        Ok(Some(script)) => text(script),
        Ok(None) => (StatusCode::NOT_FOUND, "nothing to boot\n").into_response(),
        Err(error) => broken(&error),
    }
}

async fn file(State(site): State<Arc<BootSite>>, Path(name): Path<String>) -> Response {
    // Tens of megabytes from the page cache, once: not worth a thread.
    match site.files.get(&name) {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
        Err(error) => broken(&error),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::Request;
    use proptest::prelude::*;
    use tower::ServiceExt;

    use super::*;
    use crate::netboot::{BootCount, BootEntry, BootTable, BootWish};

    const MAC: &str = "52:54:00:00:00:01";
    const OURS: &str = "52:54:00:00:00:09";

    fn site(folder: &std::path::Path) -> Router {
        let table = BootTable::default();
        for mac in [MAC, OURS] {
            let entry = BootEntry {
                name: "web01".into(),
                uuid: None,
                wish: BootWish::Agent,
                count: BootCount { boots: 0, limit: u32::MAX },
                order: vec!["replant.token=secret".into()],
            };
            table.put(mac.parse().unwrap(), entry);
        }
        let forbidden = Forbidden::new([OURS.parse().unwrap()].into(), [].into());
        let scripts = Scripts::new("10.0.0.1:8069".parse().unwrap()).unwrap();
        router(Arc::new(BootSite { directory: Arc::new(table), forbidden, scripts, files: BootFiles::new(folder) }))
    }

    fn ask(router: &Router, uri: &str) -> Option<(StatusCode, Bytes)> {
        let request = Request::builder().uri(uri).body(axum::body::Body::empty()).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Some(runtime.block_on(async {
            let response = router.clone().oneshot(request).await.unwrap();
            (response.status(), response.into_body().collect().await.unwrap().to_bytes())
        }))
    }

    #[test]
    fn a_file_is_served_and_read_again_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let router = site(folder.path());
        assert_eq!(ask(&router, "/files/vmlinuz").unwrap().0, StatusCode::INTERNAL_SERVER_ERROR);
        std::fs::write(folder.path().join("vmlinuz"), "one").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        assert_eq!(ask(&router, "/files/vmlinuz").unwrap(), (StatusCode::OK, Bytes::from("one")));
        std::fs::write(folder.path().join("vmlinuz"), "three").unwrap();
        assert_eq!(ask(&router, "/files/vmlinuz").unwrap().1, Bytes::from("three"));
        for other in ["/files/secret", "/files/..%2fsecret", "/files/", "/files/a/b", "/"] {
            assert_eq!(ask(&router, other).unwrap().0, StatusCode::NOT_FOUND, "{other}");
        }
    }

    #[test]
    fn our_own_adapters_are_never_booted_even_if_somebody_listed_them() {
        let folder = tempfile::tempdir().unwrap();
        let router = site(folder.path());
        assert_eq!(ask(&router, &format!("/boot?mac={MAC}")).unwrap().0, StatusCode::OK);
        assert_eq!(ask(&router, &format!("/boot?mac={OURS}")).unwrap().0, StatusCode::NOT_FOUND);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_request_panics_and_only_the_device_gets_its_token(
            path in prop_oneof![
                "/[!-~]{0,80}",
                "/boot\\?[!-~]{0,80}",
                "/boot\\?mac=([0-9a-f]{2}-){5}[0-9a-f]{2}&uuid=[0-9a-fA-F-]{0,40}",
                "/boot\\?mac=52-54-00-00-00-01&(uuid|mac|platform)=[!-~]{0,40}",
                "/files/[!-~]{0,40}",
            ],
        ) {
            let folder = tempfile::tempdir().unwrap();
            if let Some((status, body)) = ask(&site(folder.path()), &path) {
                let told = String::from_utf8_lossy(&body).contains("secret");
                let own = path.to_lowercase().replace('-', ":").contains(&format!("mac={MAC}"));
                prop_assert!(!told || (own && status == StatusCode::OK), "{path}: {status}");
                prop_assert!(!path.starts_with("/boot") || status != StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
    }
}
