//! `replant device`: the machines that the controller knows.

mod change;
mod list;
mod show;

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Subcommand;

use super::status::state_root;
use super::{Exit, Failure, Global};
use crate::controller::devices::Devices;
use crate::hardware::{MacAddress, SmbiosUuid};
use crate::units::parse_duration;

/// The arguments of `replant device`.
#[derive(Debug, clap::Args)]
pub struct DeviceArgs {
    /// The plan's folder (default: the nearest folder upwards that has `.replant/`)
    #[arg(long, global = true, value_name = "DIR", env = "REPLANT_ROOT")]
    root: Option<Utf8PathBuf>,
    #[command(subcommand)]
    verb: DeviceVerb,
}

#[derive(Debug, Subcommand)]
enum DeviceVerb {
    /// List every device
    Ls,
    /// Show all that is known of one device
    Show(DeviceArg),
    /// Register a machine, by anything that will find it
    Add(AddArgs),
    /// End a device's part: its certificate opens nothing any more, and it boots its own disk
    Release(DeviceArg),
    /// Shut a device out: as `release`, and it is ignored
    Revoke(DeviceArg),
    /// Have a device boot into the agent the next time it asks the network
    BootAgent(BootAgentArgs),
    /// Remove a device: it is a stranger from now on
    Forget(DeviceArg),
}

#[derive(Debug, clap::Args)]
struct DeviceArg {
    /// Its id (or how that begins), name, MAC address, UUID or serial number
    #[arg(value_name = "DEVICE")]
    device: String,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// A network adapter of it; may be repeated
    #[arg(long, value_name = "MAC")]
    mac: Vec<MacAddress>,
    /// What its firmware says it is
    #[arg(long, value_name = "UUID")]
    uuid: Option<SmbiosUuid>,
    /// Its serial number
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
}

#[derive(Debug, clap::Args)]
struct BootAgentArgs {
    /// Its id (or how that begins), name, MAC address, UUID or serial number
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The agent once, its own disk afterwards
    #[arg(long)]
    once: bool,
    /// Print a boot order for a kernel that is booted by hand; the token in it is good once
    #[arg(long, value_name = "https://HOST:PORT")]
    order: Option<String>,
    /// How long that token is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration, requires = "order")]
    life: Duration,
}

/// Runs the verb.
pub fn run(args: &DeviceArgs, global: &Global) -> Result<Exit, Failure> {
    let root = state_root(args.root.as_deref())?;
    let devices = Devices::open(&root)?;
    match &args.verb {
        DeviceVerb::Ls => list::run(&devices, global),
        DeviceVerb::Show(args) => show::run(&devices, &args.device, global),
        DeviceVerb::Add(args) => change::add(&devices, args, global),
        DeviceVerb::Release(args) => change::release(&devices, &args.device, global),
        DeviceVerb::Revoke(args) => change::revoke(&devices, &args.device, global),
        DeviceVerb::BootAgent(args) => change::boot_agent(&devices, &root, args, global),
        DeviceVerb::Forget(args) => change::forget(&devices, &args.device, global),
    }
}
