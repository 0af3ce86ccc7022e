//! `replant device`: the machines that the controller knows.

mod change;
mod list;
mod show;
mod work;

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Subcommand;

use super::image::OnReadErrorArg;
use super::status::state_root;
use super::{Exit, Failure, Global};
use crate::controller::devices::Devices;
use crate::hardware::{MacAddress, SmbiosUuid};
use crate::image::RateSchedule;
use crate::plan::{IpmiAccess, Power, RedfishAccess, SecretRef};
use crate::units::{ByteCount, ByteRate, parse_duration};

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
    /// Register a machine unless it is, have it boot into the agent, and wait for it
    BootSource(BootSourceArgs),
    /// Wait until a device's agent has enrolled and asks for work
    Wait(WaitArgs),
    /// Have a device's agent capture one of its disks into a store, through the controller
    Capture(CaptureArgs),
    /// Have a device's agent put an image on one of its disks, through the controller
    Deploy(DeployArgs),
    /// Have a device's agent switch its machine off, then release it
    ShutDown(WaitArgs),
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

#[derive(Debug, clap::Args)]
struct WaitArgs {
    /// Its id (or how that begins), name, MAC address, UUID or serial number
    #[arg(value_name = "DEVICE")]
    device: String,
    /// How long it may be silent
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    timeout: Duration,
    /// Only look: 0 if it is so, 10 if not
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Args)]
struct BootSourceArgs {
    /// The name that it has or gets
    #[arg(value_name = "NAME")]
    name: String,
    /// A network adapter of it; may be repeated
    #[arg(long, value_name = "MAC")]
    mac: Vec<MacAddress>,
    /// What its firmware says it is
    #[arg(long, value_name = "UUID")]
    uuid: Option<SmbiosUuid>,
    /// Its serial number
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    #[command(flatten)]
    power: PowerArgs,
    /// How long to wait for it
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    timeout: Duration,
    /// Only look: 0 if it is in the agent, 10 if not
    #[arg(long, conflicts_with = "undo")]
    check: bool,
    /// Release it: it boots its own disk again
    #[arg(long)]
    undo: bool,
}

/// How its power is switched; a person does it if nothing is said.
#[derive(Debug, clap::Args)]
struct PowerArgs {
    /// Have its Redfish service boot it from the network
    #[arg(long, value_name = "URL", requires_all = ["certificate", "user", "password"], conflicts_with = "ipmi")]
    redfish: Option<String>,
    /// That service's certificate: sha256:HEX
    #[arg(long, value_name = "FINGERPRINT")]
    certificate: Option<String>,
    /// Have its IPMI service boot it from the network
    #[arg(long, value_name = "HOST", requires_all = ["user", "password"])]
    ipmi: Option<String>,
    /// The cipher suite of IPMI
    #[arg(long, value_name = "NUMBER")]
    cipher: Option<u32>,
    /// The user of either
    #[arg(long)]
    user: Option<String>,
    /// Where the password is: env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REFERENCE", value_parser = parse_secret)]
    password: Option<SecretRef>,
}

impl PowerArgs {
    fn power(&self) -> Power {
        let user = self.user.clone().unwrap_or_default();
        match (&self.redfish, &self.ipmi, &self.password) {
            (Some(url), _, Some(password)) => Power::Redfish(RedfishAccess {
                url: url.clone(),
                user,
                password: password.clone(),
                certificate: self.certificate.clone().unwrap_or_default(),
            }),
            (_, Some(host), Some(password)) => {
                Power::Ipmi(IpmiAccess { host: host.clone(), cipher: self.cipher, user, password: password.clone() })
            }
            _ => Power::Manual,
        }
    }
}

fn parse_secret(text: &str) -> Result<SecretRef, String> {
    match text.split_once(':') {
        Some(("env", name)) => Ok(SecretRef::Env(name.to_owned())),
        Some(("file", path)) => Ok(SecretRef::File(path.into())),
        Some(("command", command)) => Ok(SecretRef::Command(command.to_owned())),
        _ => Err("write env:NAME, file:PATH or command:CMD".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
struct CaptureArgs {
    /// Its id (or how that begins), name, MAC address, UUID or serial number
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The machine's name in the store
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// The disk's name in the store, such as disk0
    #[arg(long, value_name = "NAME")]
    disk: String,
    /// The image store's folder
    #[arg(long, value_name = "FOLDER", default_value = "store")]
    store: std::path::PathBuf,
    /// Where the store's key is: env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REFERENCE", env = "REPLANT_STORE_KEY")]
    key: Option<String>,
    /// What the image's source is recorded as
    #[arg(long, value_name = "LINE")]
    identity: String,
    /// The disk's size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: ByteCount,
    /// The disk's serial number
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    /// Chunks are not compressed
    #[arg(long)]
    no_compression: bool,
    /// What happens to bytes that the medium does not give: the capture fails, or they become zeros and are reported
    #[arg(long, value_enum, default_value_t = OnReadErrorArg::Fail, value_name = "POLICY")]
    on_read_error: OnReadErrorArg,
    /// Read at most so much, such as 200MBps
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit: Option<ByteRate>,
    /// How long the agent may be silent
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Args)]
struct DeployArgs {
    /// Its id (or how that begins), name, MAC address, UUID or serial number
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The machine's name in the store
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// The disk's name in the store, such as disk0
    #[arg(long, value_name = "NAME")]
    disk: String,
    /// This image instead of that of the newest sealed set
    #[arg(long, value_name = "ID")]
    image: Option<String>,
    /// The image store's folder
    #[arg(long, value_name = "FOLDER", default_value = "store")]
    store: std::path::PathBuf,
    /// Where the store's key is: env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REFERENCE", env = "REPLANT_STORE_KEY")]
    key: Option<String>,
    /// The serial number of the disk that is overwritten
    #[arg(long, value_name = "TEXT")]
    serial: String,
    /// At most this fast: 200MBps, or with hours "50MBps 08:00-18:00 else 400MBps in Europe/Berlin"
    #[arg(long, value_name = "RATE", value_parser = super::image::limits::parse_schedule)]
    limit: Option<RateSchedule>,
    /// Share a named budget with everything else that names it, such as lan="100MBps 08:00-18:00"
    #[arg(long, value_name = "NAME=RATE")]
    budget: Vec<String>,
    /// How long the agent may be silent
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    timeout: Duration,
}

fn parse_size(text: &str) -> Result<ByteCount, String> {
    ByteCount::parse(text).map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<ByteRate, String> {
    ByteRate::parse(text).map_err(|error| error.to_string())
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
        DeviceVerb::BootSource(args) => work::boot_source(&devices, &root, args, global),
        DeviceVerb::Wait(args) => work::wait(&devices, args, global),
        DeviceVerb::Capture(args) => work::capture(&devices, &root, args, global),
        DeviceVerb::Deploy(args) => work::deploy(&devices, &root, args, global),
        DeviceVerb::ShutDown(args) => work::shut_down(&devices, &root, args, global),
        DeviceVerb::Forget(args) => change::forget(&devices, &args.device, global),
    }
}
