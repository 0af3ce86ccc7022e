//! `replant vm`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;

use super::{Exit, Failure, Global};
use crate::units::parse_duration;
use crate::vm::{Probe, Seen, VmFolder, VmState, last_lines, wait_for};

/// The arguments of `replant vm`.
#[derive(Debug, clap::Args)]
pub struct VmArgs {
    #[command(subcommand)]
    verb: VmVerb,
}

#[derive(Debug, Subcommand)]
enum VmVerb {
    /// Start a VM
    Start(Which),
    /// Ask a VM to power off; end it if it does not
    Stop(StopArgs),
    /// Show a VM's console, or wait for a text on it
    Console(ConsoleArgs),
    /// Wait until a VM gives a sign of life over the network
    Probe(ProbeArgs),
    /// Say whether a VM runs
    Status(Which),
}

/// Which VM.
#[derive(Debug, clap::Args)]
struct Which {
    /// The VM's name: a folder below `vms/` of the working directory
    #[arg(required_unless_present = "folder")]
    name: Option<String>,
    /// The VM's folder
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    folder: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct StopArgs {
    #[command(flatten)]
    which: Which,
    /// How long the guest has to power off by itself
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// End the VM at once, as if its power were cut
    #[arg(long, conflicts_with = "timeout")]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct ConsoleArgs {
    #[command(flatten)]
    which: Which,
    /// Wait until the console shows this text
    #[arg(long, value_name = "TEXT")]
    wait_for: Option<String>,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = parse_duration, requires = "wait_for")]
    timeout: Duration,
}

#[derive(Debug, clap::Args)]
struct ProbeArgs {
    #[command(flatten)]
    which: Which,
    /// What is asked: `ping:HOST`, `tcp:HOST:PORT` or `http://HOST[:PORT]/PATH`; every one must answer
    #[arg(long = "ask", value_name = "PROBE", required = true)]
    probes: Vec<Probe>,
    /// How long to wait for all of them
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
}

/// Runs the verb.
pub fn run(args: &VmArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.verb {
        VmVerb::Start(which) => {
            let vm = open(which)?;
            match vm.state() {
                VmState::Running { .. } => {}
                VmState::Off => vm.start(&["run"])?,
            }
            status(&vm, global)
        }
        VmVerb::Stop(args) => {
            let vm = open(&args.which)?;
            if args.force {
                vm.kill()?;
            } else if !vm.stop(args.timeout)? {
                anstream::eprintln!("warning: the guest did not power off within the time; the VM was ended");
            }
            status(&vm, global)
        }
        VmVerb::Status(which) => status(&open(which)?, global),
        VmVerb::Console(args) => console(args),
        VmVerb::Probe(args) => probe(args),
    }
}

fn open(which: &Which) -> Result<VmFolder, Failure> {
    let folder = match (&which.folder, &which.name) {
        (Some(folder), _) => folder.clone(),
        (None, name) => {
            let root = std::env::var_os("REPLANT_ROOT").map(PathBuf::from).unwrap_or_default();
            root.join("vms").join(name.as_deref().unwrap_or_default())
        }
    };
    Ok(VmFolder::open(&folder)?)
}

fn status(vm: &VmFolder, global: &Global) -> Result<Exit, Failure> {
    let state = vm.state();
    if global.json {
        let (status, pid) = match &state {
            VmState::Off => ("off", None),
            VmState::Running { pid, status } => (status.as_str(), Some(*pid)),
        };
        println!("{}", serde_json::json!({ "folder": vm.path(), "status": status, "pid": pid }));
    } else {
        match &state {
            VmState::Off => println!("{}: off", vm.path().display()),
            VmState::Running { pid, status } => println!("{}: {status} (process {pid})", vm.path().display()),
        }
    }
    Ok(Exit::Done)
}

fn console(args: &ConsoleArgs) -> Result<Exit, Failure> {
    let vm = open(&args.which)?;
    let log = vm.console_log();
    let Some(text) = &args.wait_for else { return follow(&vm) };
    let seen = wait_for(&log, text, args.timeout, &|| vm.pid().is_none())?;
    if seen == Seen::Text {
        let shown = last_lines(&log, usize::MAX)?;
        for line in shown.iter().filter(|line| line.contains(text.as_str())) {
            println!("{line}");
        }
        return Ok(Exit::Done);
    }
    let why = match seen {
        Seen::Off => "the VM is off".to_owned(),
        _ => format!("{} have passed", crate::units::human_duration(args.timeout)),
    };
    Err(Failure::with(Exit::Error, format!("the console has not shown `{text}` and {why}; {}", last_screen(&vm)?)))
}

/// The console's last screen for a failure, and where a picture of the VM's own screen lies.
fn last_screen(vm: &VmFolder) -> Result<String, Failure> {
    let text = last_lines(&vm.console_log(), 24)?.join("\n");
    let picture = vm.screenshot().map(|path| format!("a picture of its screen is in {}; ", path.display()));
    Ok(format!("{}its console ended with:\n{text}", picture.unwrap_or_default()))
}

fn probe(args: &ProbeArgs) -> Result<Exit, Failure> {
    let vm = open(&args.which)?;
    let begun = Instant::now();
    for probe in &args.probes {
        let left = args.timeout.saturating_sub(begun.elapsed());
        if let Err(error) = probe.wait(left, &|| vm.pid().is_none()) {
            let screen = last_screen(&vm)?;
            return Err(Failure::with(Exit::Error, format!("no sign of life at {probe}: {error}; {screen}")));
        }
        println!("{probe} answers");
    }
    Ok(Exit::Done)
}

/// Shows what the console has shown, then goes on with what it shows, until the VM is off.
fn follow(vm: &VmFolder) -> Result<Exit, Failure> {
    let mut file = std::fs::File::open(vm.console_log())?;
    let mut out = std::io::stdout();
    loop {
        // Asked first: what was written before the end is shown.
        let running = vm.pid().is_some();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        out.write_all(&bytes)?;
        out.flush()?;
        if !running {
            return Ok(Exit::Done);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
