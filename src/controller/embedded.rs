//! A controller for the duration of one run or one verb.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::devices::Devices;
use super::health::{Check, Health, Probe};
use super::jobs::Jobs;
use super::local;
use super::pki::{Authority, Fingerprint, PkiError};
use super::server::{self, Service};

/// How an embedded controller is set up.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The folder of `ca.pem` and `ca.key`: `.replant/` of the plan's root. A CA is made there if there is none.
    pub state: PathBuf,
    /// Where agents reach it: loopback for guests on QEMU's user network. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether guests on QEMU's user network reach it as well: on the same port of the loopback.
    pub loopback_too: bool,
    /// Where verbs reach it; a folder of its own if nothing is said.
    pub socket: Option<PathBuf>,
    /// A store whose health is probed.
    pub store: Option<PathBuf>,
}

impl EmbeddedOptions {
    /// On an address that machines on the network reach.
    pub fn listening(state: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self { state: state.into(), listen, loopback_too: false, socket: None, store: None }
    }

    /// On a free port of the loopback, which guests on QEMU's user network reach as `10.0.2.2`.
    pub fn loopback(state: impl Into<PathBuf>) -> Self {
        Self::listening(state, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// A running controller; it stops when this is dropped.
pub struct Embedded {
    // Stops the tasks first, then the folder with the socket goes.
    runtime: Option<Runtime>,
    folder: tempfile::TempDir,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    service: Arc<Service>,
    address: SocketAddr,
    fingerprint: Fingerprint,
    jobs: Arc<Jobs>,
}

impl Embedded {
    /// Starts it on threads of its own.
    pub fn start(options: &EmbeddedOptions) -> Result<Self, PkiError> {
        Self::start_with(options, Vec::new())
    }

    /// Starts it with probes of others in its health.
    pub fn start_with(options: &EmbeddedOptions, probes: Vec<(String, Probe)>) -> Result<Self, PkiError> {
        let authority = Authority::open(&options.state)?;
        let fingerprint = authority.fingerprint();
        let acceptor = server::acceptor(&authority)?;
        let jobs = Arc::new(Jobs::default());
        let devices = devices(&options.state)?.map(Arc::new);
        let health = Health { devices: devices.clone(), store: options.store.clone(), probes };
        let service = Arc::new(Service { authority, jobs: jobs.clone(), devices, health });
        // A folder of its own with a short path: socket paths are limited to about a hundred bytes.
        let folder = tempfile::Builder::new()
            .prefix("replant-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| PkiError::Io { path: std::env::temp_dir(), error })?;
        let socket = options.socket.clone().unwrap_or_else(|| folder.path().join("controller.sock"));
        if options.socket.is_some() {
            remove_dead_socket(&socket)?;
        }
        let io = |path: PathBuf| move |error| PkiError::Io { path, error };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("controller")
            .enable_all()
            .build()
            .map_err(io("the controller's threads".into()))?;
        let listen = |address: SocketAddr| move |error| PkiError::Listen { address, error };
        let bind = async |address: SocketAddr| server::bind(address).await.map_err(listen(address));
        let (listeners, address, unix) = runtime.block_on(async {
            let mut listeners = vec![bind(options.listen).await?];
            let address = listeners[0].local_addr().map_err(listen(options.listen))?;
            if options.loopback_too && !address.ip().is_unspecified() && !address.ip().is_loopback() {
                listeners.push(bind(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))).await?);
            }
            let unix = UnixListener::bind(&socket).map_err(io(socket.clone()))?;
            Ok::<_, PkiError>((listeners, address, unix))
        })?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).map_err(io(socket.clone()))?;
        let (stop, stopped) = watch::channel(false);
        let serving = listeners
            .into_iter()
            .map(|listener| runtime.spawn(server::serve(listener, acceptor.clone(), service.clone(), stopped.clone())))
            .collect();
        runtime.spawn(local::serve(unix, jobs.clone(), address.port(), fingerprint.to_string()));
        Ok(Self { runtime: Some(runtime), folder, socket, stop, serving, service, address, fingerprint, jobs })
    }

    /// The devices it knows, if it has a state database.
    pub fn devices(&self) -> Option<&Arc<Devices>> {
        self.service.devices.as_ref()
    }

    /// Tries everything it needs.
    pub fn health(&self) -> Vec<Check> {
        self.service.health.probe()
    }

    /// Accepts nothing new, lets requests end, keeps what captures have.
    pub fn shut_down(mut self) {
        self.stop.send_replace(true);
        for serving in std::mem::take(&mut self.serving) {
            if let Some(runtime) = &self.runtime {
                // It has not panicked, or somebody was told already.
                let _ = runtime.block_on(serving);
            }
        }
        self.jobs.end_all();
    }

    /// The local socket, for [`super::CONTROLLER_SOCKET`].
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// The folder of the socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The fingerprint of its CA.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

/// The devices of the plan root whose state folder this is.
fn devices(state: &Path) -> Result<Option<Devices>, PkiError> {
    let root = state.parent().filter(|_| state.file_name().is_some_and(|name| name == ".replant"));
    let Some(root) = root.and_then(|root| camino::Utf8Path::from_path(root)) else { return Ok(None) };
    let root = if root.as_str().is_empty() { camino::Utf8Path::new(".") } else { root };
    let content = |error: super::devices::DeviceError| PkiError::Content {
        what: "the device database".to_owned(),
        message: error.to_string(),
    };
    Devices::open(root).map(Some).map_err(content)
}

/// A socket that a dead controller left goes; one that answers belongs to a live one.
fn remove_dead_socket(socket: &Path) -> Result<(), PkiError> {
    let io = |error| PkiError::Io { path: socket.to_owned(), error };
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another controller serves it")));
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(error)),
        _ => Ok(()),
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if !self.socket.starts_with(self.folder.path()) {
            // A leftover is taken away by the next one.
            let _ = fs::remove_file(&self.socket);
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
