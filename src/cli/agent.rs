//! `replant agent`.

mod drivers;
mod media;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{Exit, Failure, Global, logging};
use crate::agent::build::{self, BuildOptions, BuildState, Flavour};
use crate::agent::{self, BootOrder, Console, Disks, Finished, Place, Screen, SeenDisk, Shown};

/// The arguments of `replant agent`.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
enum AgentVerb {
    /// Build the agent's kernel and initramfs from Debian packages; nothing is done if no input changed
    Build(BuildArgs),
    /// Say which driver of the agent serves each PCI device of a list, or that none does
    Drivers(drivers::DriversArgs),
    /// Write a medium (CD or USB) that boots the agent with BIOS and UEFI
    Iso(media::IsoArgs),
    /// Start the agent from the Linux that runs on a machine, over ssh
    Kexec(media::KexecArgs),
    /// Do what the boot order says (this runs in the booted agent)
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// The folder for vmlinuz, agent.img and agent.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "cloud")]
    flavour: FlavourArg,
    /// The folder of downloaded packages [default: ~/.cache/replant]
    #[arg(long, value_name = "DIR", env = "REPLANT_CACHE")]
    cache: Option<PathBuf>,
    /// Ask apt whether there are newer packages
    #[arg(long)]
    refresh: bool,
    /// More kernel modules, from a folder or .deb file; may be given again
    #[arg(long, value_name = "DIR|DEB")]
    modules: Vec<PathBuf>,
    /// Firmware, from a folder or .deb file; may be given again
    #[arg(long, value_name = "DIR|DEB")]
    firmware: Vec<PathBuf>,
    /// A module of the kernel that the agent would not carry by itself; may be given again
    #[arg(long, value_name = "MODULE")]
    with: Vec<String>,
    /// Only look: 0 if the folder is what a build would make, 10 if it is empty, 11 if it is outdated
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FlavourArg {
    /// virtio, VMware, Hyper-V and PIIX hardware; boots fastest
    Cloud,
    /// Also AHCI, hardware RAID and real network adapters
    Generic,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The boot order [default: the kernel's command line]
    #[arg(long, value_name = "WORDS")]
    order: Option<String>,
    /// Where file systems are mounted
    #[arg(long, value_name = "DIR", default_value = "/mnt")]
    mounts: PathBuf,
    /// Work on this file or device alone instead of the machine's disks, outside the agent's own system; may be given again
    #[arg(long, value_name = "PATH[=SERIAL]", value_parser = parse_disk)]
    disk: Vec<SeenDisk>,
}

fn parse_disk(text: &str) -> Result<SeenDisk, String> {
    let (path, serial) = match text.split_once('=') {
        Some((path, serial)) => (PathBuf::from(path), Some(serial.to_owned())),
        None => (PathBuf::from(text), None),
    };
    let bytes = std::fs::File::open(&path).and_then(|file| crate::device::size(&file));
    let bytes = bytes.map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
    Ok(SeenDisk { path, bytes, serial })
}

/// Runs the verb.
pub fn run(args: &AgentArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.verb {
        AgentVerb::Build(args) => build_agent(args, global),
        AgentVerb::Drivers(args) => drivers::run(args, global),
        AgentVerb::Iso(args) => media::iso(args, global),
        AgentVerb::Kexec(args) => media::kexec(args, global),
        AgentVerb::Run(args) => run_agent(args),
    }
}

fn build_agent(args: &BuildArgs, global: &Global) -> Result<Exit, Failure> {
    let cache = args.cache.clone().unwrap_or_else(default_cache).join("packages");
    let options = BuildOptions {
        out: args.out.clone(),
        flavour: match args.flavour {
            FlavourArg::Cloud => Flavour::Cloud,
            FlavourArg::Generic => Flavour::Generic,
        },
        cache,
        refresh: args.refresh,
        program: std::env::current_exe()?,
        extras: build::Extras {
            modules: args.modules.clone(),
            firmware: args.firmware.clone(),
            with: args.with.clone(),
        },
    };
    if args.check {
        return Ok(match build::state(&options)? {
            BuildState::Current => Exit::Done,
            BuildState::Absent => Exit::Absent,
            BuildState::Outdated => Exit::Partial,
        });
    }
    let (record, built) = build::build(&options)?;
    if global.json {
        println!("{}", serde_json::json!({ "built": built, "agent": record }));
    } else {
        let what = if built { "built" } else { "unchanged" };
        println!("agent {what}: kernel {}, replant {} in {}", record.kernel, record.version, args.out.display());
    }
    Ok(Exit::Done)
}

pub(super) fn default_cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"));
    base.join("replant")
}

fn run_agent(args: &RunArgs) -> Result<Exit, Failure> {
    let words = match &args.order {
        Some(words) => words.clone(),
        None => std::fs::read_to_string("/proc/cmdline")?,
    };
    let order = BootOrder::parse(&words)?;
    logging::on_stderr(false);
    // With disks that were given, this is not the machine's own agent: its screen belongs to somebody else.
    let own = args.disk.is_empty();
    let console = AgentConsole(if own { Screen::open() } else { None });
    let disks = if own { Disks::Machine } else { Disks::Given(args.disk.clone()) };
    let outcome = agent::run(&order, &Place { folder: args.mounts.clone(), disks, console: &console });
    if let Err(error) = &outcome {
        console.show(Shown::Error(error.to_string()));
    }
    Ok(match outcome? {
        Finished::Off => Exit::Done,
        Finished::Restart => Exit::Restart,
    })
}

/// Lines for whoever reads the machine's console, and its screen.
struct AgentConsole(Option<Screen>);

impl Console for AgentConsole {
    fn say(&self, line: &str) {
        if !self.0.as_ref().is_some_and(Screen::is_console) {
            println!("replant-agent: {line}");
        }
        if let Some(screen) = &self.0 {
            screen.say(line);
        }
    }

    fn show(&self, shown: Shown) {
        if let Some(screen) = &self.0 {
            screen.show(shown);
        }
    }
}
