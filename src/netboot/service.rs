//! The network boot service: everything that answers on the boot network, started, watched and stopped as one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::answer::BootDirectory;
use super::dnsmasq::{Dnsmasq, DnsmasqError, DnsmasqFiles};
use super::http::{self, BootFiles, BootSite};
use super::interface::{BootInterface, InterfaceError, own_macs};
use super::probe::{ProbeError, probe};
use super::router_advert;
use super::script::Scripts;
use super::settings::{DhcpMode, NetbootSettings};
use crate::hardware::MacAddress;
use crate::render::RenderError;

/// How often the list of devices is compared with what dnsmasq knows.
const LOOK: Duration = Duration::from_secs(1);
/// Probes before a start counts as failed, and the pause between them.
const FIRST_PROBES: u32 = 20;
const BETWEEN_PROBES: Duration = Duration::from_millis(250);

/// Machines that must never be booted, whatever anybody lists: this host, and the hosts that run the VMs.
#[derive(Clone, Debug, Default)]
pub struct Forbidden(BTreeMap<MacAddress, &'static str>);

impl Forbidden {
    /// This host's adapters, and those of the hypervisor hosts.
    pub fn new(own: BTreeSet<MacAddress>, hosts: BTreeSet<MacAddress>) -> Self {
        let hosts = hosts.into_iter().map(|mac| (mac, "it belongs to a host that runs the virtual machines"));
        let own = own.into_iter().map(|mac| (mac, "it belongs to this controller"));
        Self(hosts.chain(own).collect())
    }

    /// Why the machine with this adapter must not be booted.
    pub fn why(&self, mac: MacAddress) -> Option<&'static str> {
        self.0.get(&mac).copied()
    }
}

/// How the service is set up.
pub struct NetbootOptions {
    /// Interface, mode and port.
    pub settings: NetbootSettings,
    /// The folder of vmlinuz and agent.img.
    pub agent: PathBuf,
    /// Whether it may be built later: no device boots into it until then.
    pub agent_may_follow: bool,
    /// Adapters of the hosts that run the VMs.
    pub host_macs: BTreeSet<MacAddress>,
    /// A folder that outlives the service.
    pub state: PathBuf,
}

/// Why network boot cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NetbootError {
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The agent is not built.
    #[error("{missing} is missing: build the agent with `replant agent build --out {folder}`")]
    NoAgent {
        /// The missing file.
        missing: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// dnsmasq cannot be set up.
    #[error(transparent)]
    Dnsmasq(#[from] DnsmasqError),
    /// A script cannot be rendered.
    #[error(transparent)]
    Script(#[from] RenderError),
    /// The HTTP port is taken.
    #[error("HTTP for boot files cannot listen on {address}")]
    Http {
        /// The address.
        address: SocketAddrV4,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It runs and does not answer.
    #[error("network boot on {interface} does not work; dnsmasq said: {words}")]
    Silent {
        /// The interface.
        interface: String,
        /// dnsmasq's last words.
        words: String,
        /// What was asked in vain.
        #[source]
        error: ProbeError,
    },
}

/// What the service's own questions brought.
#[derive(Debug)]
pub struct NetbootHealth {
    /// dnsmasq's process, if it runs.
    pub dnsmasq: Option<u32>,
    /// Whether DHCP and TFTP answered.
    pub answers: Result<(), ProbeError>,
    /// Devices that get an answer.
    pub devices: usize,
}

/// A running service. Stop it with [`NetbootService::stop`]; dropped, it ends as well, less politely.
pub struct NetbootService {
    interface: BootInterface,
    settings: NetbootSettings,
    site: SocketAddrV4,
    dnsmasq: Arc<Dnsmasq>,
    devices: Arc<RwLock<BTreeSet<MacAddress>>>,
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl NetbootService {
    /// Starts it within a runtime, and returns when it has answered its own questions.
    pub async fn start(options: NetbootOptions, directory: Arc<dyn BootDirectory>) -> Result<Self, NetbootError> {
        let settings = options.settings;
        let interface = BootInterface::look(&settings.interface)?;
        if let DhcpMode::Dhcp { first, last } = settings.mode {
            interface.accepts(first, last)?;
        }
        let files = BootFiles::new(&options.agent);
        if let Some(missing) = files.missing().filter(|_| !options.agent_may_follow) {
            return Err(NetbootError::NoAgent { missing, folder: options.agent });
        }
        let address = SocketAddrV4::new(interface.address, settings.http_port);
        let http = |error| NetbootError::Http { address, error };
        let listener = TcpListener::bind(address).await.map_err(http)?;
        let site = SocketAddrV4::new(interface.address, listener.local_addr().map_err(http)?.port());
        let forbidden = Forbidden::new(own_macs(), options.host_macs);
        let dnsmasq_files = DnsmasqFiles::write(&interface, &settings.mode, site.port(), &options.state)?;
        let allowed = allowed(&*directory, &forbidden);
        dnsmasq_files.write_hosts(&allowed)?;
        let dnsmasq = Arc::new(Dnsmasq::start(dnsmasq_files));
        let devices = Arc::new(RwLock::new(allowed));
        let stop = Arc::new(AtomicBool::new(false));
        if let Err(error) = router_advert::answer(interface.index, devices.clone(), stop.clone()) {
            tracing::warn!(%error, "IPv6 router solicitations are not answered: iPXE takes a dozen seconds longer");
        }
        let boot_site = BootSite {
            directory: directory.clone(),
            forbidden: forbidden.clone(),
            scripts: Scripts::new(site)?,
            files,
        };
        let tasks = vec![
            tokio::spawn(http::serve(listener, http::router(Arc::new(boot_site)))),
            tokio::spawn(keep_list(directory, forbidden, dnsmasq.clone(), devices.clone())),
        ];
        let service = Self { interface, settings, site, dnsmasq, devices, tasks, stop };
        service.first_answer().await?;
        Ok(service)
    }

    /// Where boot files are served.
    pub fn site(&self) -> SocketAddrV4 {
        self.site
    }

    /// Asks DHCP and TFTP, as a machine would.
    pub async fn health(&self) -> NetbootHealth {
        let answers = probe(&self.interface, self.settings.mode == DhcpMode::Proxy).await;
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner).len();
        NetbootHealth { dnsmasq: self.dnsmasq.pid(), answers, devices }
    }

    /// Stops everything, and returns when dnsmasq has ended.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
        let dnsmasq = self.dnsmasq.clone();
        drop(self);
        if let Some(dnsmasq) = Arc::into_inner(dnsmasq) {
            dnsmasq.stop().await;
        }
    }

    async fn first_answer(&self) -> Result<(), NetbootError> {
        let mut left = FIRST_PROBES;
        loop {
            let Err(error) = self.health().await.answers else { return Ok(()) };
            left -= 1;
            if left == 0 || (self.dnsmasq.pid().is_none() && left < FIRST_PROBES / 2) {
                let (interface, words) = (self.interface.name.clone(), self.dnsmasq.last_words());
                return Err(NetbootError::Silent { interface, words, error });
            }
            tokio::time::sleep(BETWEEN_PROBES).await;
        }
    }
}

impl Drop for NetbootService {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn allowed(directory: &dyn BootDirectory, forbidden: &Forbidden) -> BTreeSet<MacAddress> {
    let (refused, allowed): (BTreeSet<_>, BTreeSet<_>) =
        directory.answered().into_iter().partition(|mac| forbidden.why(*mac).is_some());
    for mac in refused {
        tracing::warn!(%mac, why = forbidden.why(mac), "this device gets no answer");
    }
    allowed
}

/// Tells dnsmasq when the devices changed.
async fn keep_list(
    directory: Arc<dyn BootDirectory>,
    forbidden: Forbidden,
    dnsmasq: Arc<Dnsmasq>,
    devices: Arc<RwLock<BTreeSet<MacAddress>>>,
) {
    loop {
        tokio::time::sleep(LOOK).await;
        let wanted = allowed(&*directory, &forbidden);
        if *devices.read().unwrap_or_else(PoisonError::into_inner) == wanted {
            continue;
        }
        match dnsmasq.files.write_hosts(&wanted) {
            Ok(()) => {
                dnsmasq.reread();
                *devices.write().unwrap_or_else(PoisonError::into_inner) = wanted;
            }
            Err(error) => tracing::error!(%error, "the list of devices could not be written"),
        }
    }
}
