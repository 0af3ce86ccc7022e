//! The controller that a run works with: the service of its folder, or one of its own for as long as it takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use camino::Utf8Path;

use super::super::serve::socket_of;
use super::super::{Exit, Failure, logging};
use crate::controller::{BootNetwork, BootNetworkOptions, Embedded, EmbeddedOptions};
use crate::plan::Netboot;

/// A controller; one of our own ends when this is dropped, the boot network first.
pub(super) struct RunController {
    _network: Option<BootNetwork>,
    _own: Option<Embedded>,
    socket: PathBuf,
}

impl RunController {
    /// Finds the service that runs for the folder, or brings a controller along; with the boot network if the run needs
    /// one. Nothing has been done yet when this fails.
    pub(super) fn start(root: &Utf8Path, boot: Option<&Netboot>) -> Result<Self, Failure> {
        let socket = std::path::absolute(socket_of(root))?;
        let network = boot.map(|netboot| boot_network(root, netboot));
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            if let Some(Err(silence)) = network.as_ref().map(BootNetworkOptions::ask) {
                let message = format!(
                    "a service runs for this folder, and no network boot with it ({silence}): \
                     start it with `replant serve --plan PLAN`, or end it"
                );
                return Err(Failure::with(Exit::Error, message));
            }
            return Ok(Self { _network: None, _own: None, socket });
        }
        let state = root.join(".replant");
        let log = state.join("controller.log");
        let Some((network, netboot)) = network.zip(boot) else {
            let own = Embedded::start(&EmbeddedOptions::loopback(state))?;
            logging::in_file(log.as_std_path())?;
            return Ok(Self { _network: None, socket: own.socket(), _own: Some(own) });
        };
        // The same port every time: agents at work look for their next controller where the last one was.
        let address = network.controller(netboot.controller_port)?;
        let options = EmbeddedOptions { loopback_too: true, ..EmbeddedOptions::listening(state, address) };
        let (own, network) = serve_network(&options, address, &network)?;
        logging::in_file(log.as_std_path())?;
        Ok(Self { _network: Some(network), socket: own.socket(), _own: Some(own) })
    }

    /// Where the run's verbs reach it.
    pub(super) fn socket(&self) -> String {
        self.socket.display().to_string()
    }
}

/// The boot network of a plan's folder.
pub(crate) fn boot_network(root: &Utf8Path, netboot: &Netboot) -> BootNetworkOptions {
    let state = root.join(".replant");
    BootNetworkOptions {
        netboot: netboot.clone(),
        agent: state.join("agent").into_std_path_buf(),
        state: state.into_std_path_buf(),
    }
}

/// A controller that boots its devices from the network; agents reach it at `address`.
pub(crate) fn serve_network(
    options: &EmbeddedOptions,
    address: SocketAddr,
    network: &BootNetworkOptions,
) -> Result<(Embedded, BootNetwork), Failure> {
    let own = Embedded::start_with(options, vec![network.probe()])?;
    let network = BootNetwork::start(&own, address, network)?;
    Ok((own, network))
}
