//! `replant serve`: the controller as a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::apply::{boot_network, serve_network};
use super::status::state_root;
use super::{Exit, Failure, Global, logging, say};
use crate::controller::{Embedded, EmbeddedOptions};

/// The arguments of `replant serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The plan's folder (default: the nearest folder upwards that has `.replant/`)
    #[arg(long, value_name = "DIR", env = "REPLANT_ROOT")]
    root: Option<Utf8PathBuf>,
    /// Where agents reach it; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:7443")]
    bind: SocketAddr,
    /// An image store that has to be writable for the service to be healthy
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Serve the boot network that this plan declares (`netboot:`) as well
    #[arg(long, value_name = "PLAN")]
    plan: Option<Utf8PathBuf>,
}

/// How often we look whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The socket of a service that runs for a plan root.
pub(super) fn socket_of(root: &camino::Utf8Path) -> PathBuf {
    root.join(".replant/controller.sock").into_std_path_buf()
}

/// Runs the verb: until SIGTERM or SIGINT; a second one ends it at once.
pub fn run(args: &ServeArgs, global: &Global) -> Result<Exit, Failure> {
    logging::on_stderr(global.json);
    let root = state_root(args.root.as_deref())?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let options = EmbeddedOptions {
        socket: Some(socket_of(&root)),
        store: args.store.clone(),
        loopback_too: args.plan.is_some(),
        ..EmbeddedOptions::listening(root.join(".replant"), args.bind)
    };
    let (controller, network) = match &args.plan {
        None => (Embedded::start(&options)?, None),
        Some(plan) => {
            let (plan, warnings) = crate::plan::load(plan)?;
            if !global.json {
                say(&warnings);
            }
            let Some(netboot) = &plan.netboot else {
                return Err(Failure::with(Exit::Usage, "the plan has no `netboot`: it says which network is served"));
            };
            let network = boot_network(&root, netboot);
            if args.bind.port() == 0 {
                return Err(Failure::with(Exit::Usage, "machines that boot are told the port: `--bind` must name one"));
            }
            let address = network.controller(args.bind.port())?;
            if !args.bind.ip().is_unspecified() && args.bind.ip() != address.ip() {
                let message =
                    format!("agents on `{}` do not reach {}: bind to {address}", netboot.interface, args.bind);
                return Err(Failure::with(Exit::Usage, message));
            }
            let (controller, network) = serve_network(&options, address, &network)?;
            (controller, Some(network))
        }
    };
    let bad: Vec<String> = controller
        .health()
        .into_iter()
        .filter_map(|check| check.error.map(|error| format!("{}: {error}", check.what)))
        .collect();
    let (address, ca) = (controller.address(), controller.fingerprint());
    match global.json {
        true => {
            let socket = controller.socket();
            println!("{}", serde_json::json!({ "address": address, "ca": ca, "socket": socket, "unhealthy": bad }));
        }
        false => {
            println!("serving on https://{address}, CA {ca}");
            bad.iter().for_each(|line| println!("not well: {line}"));
        }
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
    drop(network);
    controller.shut_down();
    Ok(Exit::Done)
}
