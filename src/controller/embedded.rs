//! A controller for the duration of one run or one verb.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::runtime::Runtime;

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
}

impl EmbeddedOptions {
    /// On a free port of the loopback, which guests on QEMU's user network reach as `10.0.2.2`.
    pub fn loopback(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }
}

/// A running controller; it stops when this is dropped.
pub struct Embedded {
    // Stops the tasks first, then the folder with the socket goes.
    runtime: Option<Runtime>,
    folder: tempfile::TempDir,
    address: SocketAddr,
    fingerprint: Fingerprint,
    jobs: Arc<Jobs>,
}

impl Embedded {
    /// Starts it on threads of its own.
    pub fn start(options: &EmbeddedOptions) -> Result<Self, PkiError> {
        let authority = Authority::open(&options.state)?;
        let fingerprint = authority.fingerprint();
        let acceptor = server::acceptor(&authority)?;
        let jobs = Arc::new(Jobs::default());
        let service = Arc::new(Service { authority, jobs: jobs.clone() });
        // A folder of its own with a short path: socket paths are limited to about a hundred bytes.
        let folder = tempfile::Builder::new()
            .prefix("replant-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| PkiError::Io { path: std::env::temp_dir(), error })?;
        let socket = folder.path().join("controller.sock");
        let io = |path: PathBuf| move |error| PkiError::Io { path, error };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("controller")
            .enable_all()
            .build()
            .map_err(io("the controller's threads".into()))?;
        let (listener, unix) = runtime.block_on(async {
            let listener = server::bind(options.listen).await.map_err(io(options.listen.to_string().into()))?;
            let unix = UnixListener::bind(&socket).map_err(io(socket.clone()))?;
            Ok::<_, PkiError>((listener, unix))
        })?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).map_err(io(socket.clone()))?;
        let address = listener.local_addr().map_err(io(options.listen.to_string().into()))?;
        runtime.spawn(server::serve(listener, acceptor, service));
        runtime.spawn(local::serve(unix, jobs.clone(), address.port(), fingerprint.to_string()));
        Ok(Self { runtime: Some(runtime), folder, address, fingerprint, jobs })
    }

    /// The local socket, for [`super::CONTROLLER_SOCKET`].
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("controller.sock")
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

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
