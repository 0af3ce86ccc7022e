//! The boot network of a controller: its registered devices boot from it for as long as it is there.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::boot::DeviceBoot;
use super::embedded::Embedded;
use super::health::Probe;
use crate::netboot::{
    self, BootInterface, DhcpMode, InterfaceError, NetbootError, NetbootOptions, NetbootService, NetbootSettings,
};
use crate::plan::Netboot;

/// Seconds after which a kernel that has panicked starts its machine again: it comes back into the agent.
const PANIC: &str = "panic=30";

/// What is served, and from where.
#[derive(Clone, Debug)]
pub struct BootNetworkOptions {
    /// `netboot:` of the plan.
    pub netboot: Netboot,
    /// The folder of the agent; it may still be empty as long as no device is to boot into it.
    pub agent: PathBuf,
    /// A folder that outlives the service: `.replant/` of the plan's root.
    pub state: PathBuf,
}

/// Why there is no boot network.
#[derive(Debug, thiserror::Error)]
pub enum BootNetworkError {
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// It cannot be served.
    #[error(transparent)]
    Netboot(#[from] NetbootError),
    /// A controller without devices boots none.
    #[error("the controller has no device database: network boot needs the folder of a plan")]
    NoDevices,
    /// Threads cannot be started.
    #[error("the threads of network boot cannot be started")]
    Threads(#[source] std::io::Error),
}

impl BootNetworkOptions {
    fn settings(&self) -> NetbootSettings {
        let mode = match self.netboot.range {
            Some((first, last)) => DhcpMode::Dhcp { first, last },
            None => DhcpMode::Proxy,
        };
        NetbootSettings { interface: self.netboot.interface.clone(), mode, http_port: self.netboot.http_port }
    }

    /// Where agents of this network reach their controller, on that port.
    pub fn controller(&self, port: u16) -> Result<SocketAddr, BootNetworkError> {
        let interface = BootInterface::look(&self.netboot.interface)?;
        Ok(SocketAddr::new(IpAddr::V4(interface.address), port))
    }

    /// Asks DHCP and TFTP of the network what a machine would ask.
    pub fn ask(&self) -> Result<(), String> {
        let interface = BootInterface::look(&self.netboot.interface).map_err(|error| error.to_string())?;
        let runtime = runtime().map_err(|error| error.to_string())?;
        let proxy = self.netboot.range.is_none();
        runtime.block_on(netboot::probe(&interface, proxy)).map_err(|error| error.to_string())
    }

    /// [`Self::ask`] for a controller's health.
    pub fn probe(&self) -> (String, Probe) {
        let options = self.clone();
        (format!("network boot on {}", self.netboot.interface), Box::new(move || options.ask()))
    }

    /// What the kernel of every machine is told besides its boot order.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["quiet".to_owned(), PANIC.to_owned(), "console=tty0".to_owned()];
        // The last console is the one that the agent's own lines go to.
        words.extend(self.netboot.console.iter().map(|port| format!("console={port}")));
        words.extend(self.netboot.emergency_shell.then(|| "replant.shell".to_owned()));
        words
    }
}

/// A boot network that is served. It ends when this is dropped.
pub struct BootNetwork {
    runtime: Runtime,
    service: Option<NetbootService>,
}

impl BootNetwork {
    /// Serves the devices of a controller that agents reach at `controller`. Returns when DHCP and TFTP have answered.
    pub fn start(
        embedded: &Embedded,
        controller: SocketAddr,
        options: &BootNetworkOptions,
    ) -> Result<Self, BootNetworkError> {
        let devices = embedded.devices().ok_or(BootNetworkError::NoDevices)?.clone();
        let directory = DeviceBoot::new(devices, controller, embedded.fingerprint(), options.words());
        let runtime = runtime().map_err(BootNetworkError::Threads)?;
        let service = NetbootOptions {
            settings: options.settings(),
            agent: options.agent.clone(),
            agent_may_follow: true,
            host_macs: Default::default(),
            state: options.state.clone(),
        };
        let service = runtime.block_on(NetbootService::start(service, Arc::new(directory)))?;
        Ok(Self { runtime, service: Some(service) })
    }
}

impl Drop for BootNetwork {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            self.runtime.block_on(service.stop());
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("netboot").enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_told_of_its_consoles_and_opens_a_shell_only_if_the_plan_allows_it() {
        let mut options = BootNetworkOptions {
            netboot: Netboot {
                interface: "br0".into(),
                range: None,
                http_port: 8069,
                controller_port: 7443,
                console: None,
                emergency_shell: false,
            },
            agent: "agent".into(),
            state: ".replant".into(),
        };
        assert_eq!(options.words(), ["quiet", "panic=30", "console=tty0"]);
        options.netboot.console = Some("ttyS1,115200".into());
        options.netboot.emergency_shell = true;
        assert_eq!(options.words()[2..], ["console=tty0", "console=ttyS1,115200", "replant.shell"]);
    }
}
