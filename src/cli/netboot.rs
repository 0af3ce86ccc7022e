//! `replant netboot`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure, Global, logging};
use crate::hardware::MacAddress;
use crate::netboot::{
    BootAnswer, BootCount, BootDirectory, BootEntry, BootInterface, BootRequest, BootTable, BootWish, DhcpMode,
    NetbootOptions, NetbootService, NetbootSettings, probe,
};

/// The arguments of `replant netboot`.
#[derive(Debug, clap::Args)]
pub struct NetbootArgs {
    #[command(subcommand)]
    verb: NetbootVerb,
}

#[derive(Debug, Subcommand)]
enum NetbootVerb {
    /// Serve DHCP, TFTP and boot files to the listed devices, until interrupted
    Serve(ServeArgs),
    /// Ask the service on an interface what a machine's firmware would ask it
    Probe(ProbeArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// The interface on the boot network
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// Which part of DHCP is ours
    #[arg(long, value_enum, default_value = "dhcp")]
    mode: ModeArg,
    /// The addresses to give out in mode dhcp, such as 10.0.0.100-10.0.0.200
    #[arg(long, value_name = "FIRST-LAST")]
    range: Option<String>,
    /// Where boot files are served
    #[arg(long, value_name = "PORT", default_value_t = NetbootSettings::HTTP_PORT)]
    http_port: u16,
    /// The folder that `replant agent build` wrote
    #[arg(long, value_name = "DIR")]
    agent: PathBuf,
    /// The kernel command line of the agent: the boot order, the console
    #[arg(long, value_name = "WORDS", default_value = "")]
    order: String,
    /// A device that boots into the agent; its adapter's address tells it
    #[arg(long = "device", value_name = "NAME=MAC", value_parser = device)]
    devices: Vec<(String, MacAddress)>,
    /// A device that boots from its own disk
    #[arg(long = "local", value_name = "NAME=MAC", value_parser = device)]
    local: Vec<(String, MacAddress)>,
    /// Boot into the agent once, then from the own disk
    #[arg(long)]
    once: bool,
    /// Boots into the agent before a device counts as looping
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    limit: u32,
    /// An adapter of a host that runs the virtual machines: never booted
    #[arg(long = "host-mac", value_name = "MAC")]
    host_macs: Vec<MacAddress>,
    /// A folder that outlives the service
    #[arg(long, value_name = "DIR", default_value = ".replant")]
    state: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ProbeArgs {
    /// The interface on the boot network
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// Which part of DHCP is ours
    #[arg(long, value_enum, default_value = "dhcp")]
    mode: ModeArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// All of it: nobody else serves DHCP there
    Dhcp,
    /// Only what to boot: another server gives out the addresses
    Proxy,
}

fn device(text: &str) -> Result<(String, MacAddress), String> {
    let (name, mac) = text.split_once('=').ok_or("write NAME=MAC")?;
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(word) {
        return Err("a name has letters, digits, `.`, `_` and `-`".to_owned());
    }
    Ok((name.to_owned(), mac.parse().map_err(|error| format!("{error}"))?))
}

/// Runs the verb.
pub fn run(args: &NetbootArgs, global: &Global) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.verb {
        NetbootVerb::Serve(args) => runtime.block_on(serve(args, global)),
        NetbootVerb::Probe(args) => {
            let interface = BootInterface::look(&args.interface)?;
            runtime.block_on(probe(&interface, args.mode == ModeArg::Proxy))?;
            println!("network boot on {} answers", args.interface);
            Ok(Exit::Done)
        }
    }
}

async fn serve(args: &ServeArgs, global: &Global) -> Result<Exit, Failure> {
    logging::on_stderr(global.json);
    let table = BootTable::default();
    let wish = if args.once { BootWish::AgentOnce } else { BootWish::Agent };
    let listed = args.devices.iter().map(|device| (device, wish));
    for ((name, mac), wish) in listed.chain(args.local.iter().map(|device| (device, BootWish::Local))) {
        let entry = BootEntry {
            name: name.clone(),
            uuid: None,
            wish,
            count: BootCount { boots: 0, limit: args.limit },
            order: args.order.split_whitespace().map(str::to_owned).collect(),
        };
        table.put(*mac, entry);
    }
    let options = NetbootOptions {
        settings: NetbootSettings {
            interface: args.interface.clone(),
            mode: DhcpMode::new(args.mode == ModeArg::Proxy, args.range.as_deref())
                .map_err(|error| Failure::with(Exit::Usage, error))?,
            http_port: args.http_port,
        },
        agent: args.agent.clone(),
        agent_may_follow: false,
        host_macs: args.host_macs.iter().copied().collect(),
        state: args.state.clone(),
    };
    let (mut interrupted, mut ended) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let service = NetbootService::start(options, Arc::new(Told { table, json: global.json })).await?;
    let health = service.health().await;
    say(
        global,
        &serde_json::json!({ "event": "serving", "interface": args.interface, "site": service.site().to_string(), "devices": health.devices }),
        &format!(
            "network boot on {}: boot files at http://{}, devices: {}",
            args.interface,
            service.site(),
            health.devices
        ),
    );
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = ended.recv() => {}
    }
    service.stop().await;
    say(global, &serde_json::json!({ "event": "stopped" }), "network boot has stopped");
    Ok(Exit::Done)
}

fn say(global: &Global, json: &serde_json::Value, text: &str) {
    match global.json {
        true => println!("{json}"),
        false => println!("{text}"),
    }
}

/// The table, telling what it answers.
struct Told {
    table: BootTable,
    json: bool,
}

impl BootDirectory for Told {
    fn answer(&self, request: &BootRequest) -> BootAnswer {
        let answer = self.table.answer(request);
        let (name, what) = match &answer {
            BootAnswer::Agent { name, count, .. } => {
                (name.as_str(), format!("agent {} of {}", count.boots, count.limit))
            }
            BootAnswer::Local { name, looped: None } => (name.as_str(), "local disk".to_owned()),
            BootAnswer::Local { name, looped: Some(count) } => (
                name.as_str(),
                format!("local disk: {} of {} boots into the agent came to nothing", count.boots, count.limit),
            ),
            BootAnswer::Ignore => ("a stranger", "nothing".to_owned()),
        };
        match self.json {
            true => println!(
                "{}",
                serde_json::json!({ "event": "boot", "mac": request.mac, "uuid": request.uuid.map(|uuid| uuid.to_string()), "name": name, "answer": what })
            ),
            false => println!("{name} ({}) boots: {what}", request.mac),
        }
        answer
    }

    fn answered(&self) -> BTreeSet<MacAddress> {
        self.table.answered()
    }
}
