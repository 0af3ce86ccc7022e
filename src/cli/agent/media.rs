//! `replant agent iso` and `replant agent kexec`: the agent without network boot.

use std::path::PathBuf;
use std::time::Duration;

use camino::Utf8PathBuf;

use crate::cli::{Exit, Failure, Global};
use crate::controller::Authority;
use crate::controller::devices::{BootAnswer, Devices};
use crate::netboot::{CommandLine, KexecTarget, write_iso};
use crate::units::parse_duration;

/// The boot order that the agent gets.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    /// The folder that `replant agent build` wrote
    #[arg(long, value_name = "DIR")]
    agent: PathBuf,
    /// Words for the agent's kernel command line, such as `console=ttyS0`
    #[arg(long, value_name = "WORDS", default_value = "")]
    order: CommandLine,
    /// The device that boots it; it gets a one-time token from the registry
    #[arg(long, value_name = "DEVICE", requires = "controller")]
    device: Option<String>,
    /// Where the agent finds the controller
    #[arg(long, value_name = "HOST:PORT")]
    controller: Option<String>,
    /// The plan's folder, with `.replant/` in it
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
    /// How long the token is good
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    token_life: Duration,
}

#[derive(Debug, clap::Args)]
pub struct IsoArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// The image to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct KexecArgs {
    /// The machine, as ssh takes it; root there
    #[arg(value_name = "USER@HOST")]
    host: String,
    #[command(flatten)]
    order: OrderArgs,
    /// A further option for ssh, such as `-p2222`
    #[arg(long = "ssh-option", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// The ssh program
    #[arg(long, value_name = "PROGRAM", default_value = "ssh")]
    ssh: PathBuf,
    /// Only ask whether the machine could start the agent
    #[arg(long)]
    check: bool,
}

/// The whole command line: a device's order first.
fn command_line(args: &OrderArgs) -> Result<CommandLine, Failure> {
    let mut line = String::new();
    if let (Some(device), Some(controller)) = (&args.device, &args.controller) {
        let devices = Devices::open(&args.root)?;
        let device = devices.named(device)?;
        let ca = Authority::open(args.root.join(".replant").as_std_path())?.fingerprint();
        let token = devices.issue_token(&device.id, args.token_life)?;
        // It boots the agent from here: an answer from the network has to be the same or nothing.
        if device.boot == BootAnswer::Local {
            tracing::info!(device = %device.id, "it boots its own disk from the network, and the agent from this medium");
        }
        line = format!("replant.controller=https://{controller} replant.ca={ca} replant.token={token} ");
    }
    let line: CommandLine = format!("{line}{}", args.order).parse()?;
    match line.to_string().len() {
        0..=CommandLine::MAX => Ok(line),
        length => Err(Failure::with(
            Exit::Usage,
            format!("the command line has {length} bytes, {} at most", CommandLine::MAX),
        )),
    }
}

/// Runs `replant agent iso`.
pub fn iso(args: &IsoArgs, global: &Global) -> Result<Exit, Failure> {
    write_iso(&args.order.agent, &command_line(&args.order)?, &args.out)?;
    let bytes = std::fs::metadata(&args.out)?.len();
    let out = args.out.display();
    match global.json {
        true => println!("{}", serde_json::json!({ "iso": args.out, "bytes": bytes })),
        false => {
            println!("{out}: {} MiB, boots with BIOS and UEFI from CD or USB", bytes >> 20);
            if args.order.device.is_some() {
                println!("it holds this device's one-time token: whoever has the image can use it until it expires");
            }
        }
    }
    Ok(Exit::Done)
}

/// Runs `replant agent kexec`.
pub fn kexec(args: &KexecArgs, global: &Global) -> Result<Exit, Failure> {
    let target = KexecTarget { host: args.host.clone(), options: args.options.clone(), ssh: args.ssh.clone() };
    let (probe, started) = match args.check {
        true => (target.probe()?, false),
        false => (target.start(&args.order.agent, &command_line(&args.order)?)?, true),
    };
    let how = if probe.orderly {
        "its services are shut down first"
    } else {
        "its file systems are written out and made read-only first"
    };
    if global.json {
        println!(
            "{}",
            serde_json::json!({ "host": args.host, "kernel": probe.kernel, "orderly": probe.orderly, "started": started })
        );
    } else if started {
        println!("{} leaves its kernel {} for the agent; {how}", args.host, probe.kernel);
    } else {
        println!("{} (kernel {}) can start the agent; {how}", args.host, probe.kernel);
    }
    Ok(Exit::Done)
}
