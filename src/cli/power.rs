//! `replant power`.

use std::io::{BufRead, IsTerminal};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};

use super::{Exit, Failure, Global, say};
use crate::controller::devices::Devices;
use crate::diagnostic::closest;
use crate::plan::{self, Machine, Plan, Power};
use crate::power::{Force, PowerError, Switch, Wait, presented_certificate};
use crate::units::parse_duration;

/// The arguments of `replant power`.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// The machine, as the plan names it
    #[arg(value_name = "MACHINE")]
    machine: String,
    /// What to do
    #[arg(value_enum)]
    what: What,
    /// The plan that says how its power is switched
    #[arg(long, value_name = "PLAN", default_value = "plan.yaml")]
    plan: Utf8PathBuf,
    /// Cut a running system off instead of asking it to shut down
    #[arg(long)]
    force: bool,
    /// How long the machine may take
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Say whether it is on
    Status,
    /// Switch it on
    On,
    /// Shut it down and switch it off
    Off,
    /// Start it again at once, as with its reset button
    Reset,
    /// Have it boot from the network, once
    Pxe,
    /// Show the certificate of its Redfish service, to compare and to pin in the plan
    Certificate,
}

/// Runs the verb.
pub fn run(args: &PowerArgs, global: &Global) -> Result<Exit, Failure> {
    let (plan, warnings) = plan::load(&args.plan)?;
    if !global.json {
        say(&warnings);
    }
    let Some(machine) = plan.machines.iter().find(|machine| &*machine.name.value.0 == args.machine.as_str()) else {
        let names = plan.machines.iter().map(|machine| &*machine.name.value.0);
        let near = closest(&args.machine, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::with(Exit::Usage, format!("the plan has no machine `{}`{near}", args.machine)));
    };
    if args.what == What::Certificate {
        return certificate(machine, global);
    }
    let Some(switch) = Switch::open(&machine.power)? else { return manual(args, &plan, machine, global) };
    let (force, wait) = (if args.force { Force::Now } else { Force::Never }, Wait(args.timeout));
    match args.what {
        What::Status | What::Certificate => {}
        What::On => switch.on(wait)?,
        What::Off => match switch.off(force, wait) {
            Err(error @ PowerError::Late { .. }) if !args.force => {
                return Err(Failure::with(
                    Exit::Error,
                    format!("{error}: it may be waiting for a person; `--force` cuts its power"),
                ));
            }
            other => other?,
        },
        What::Reset => switch.reset(wait)?,
        What::Pxe => switch.boot_from_network(force, wait)?,
    }
    tell(&args.machine, &switch.state()?.to_string(), global);
    Ok(Exit::Done)
}

fn tell(machine: &str, state: &str, global: &Global) {
    match global.json {
        true => println!("{}", serde_json::json!({ "machine": machine, "power": state })),
        false => println!("{machine} is {state}"),
    }
}

fn certificate(machine: &Machine, global: &Global) -> Result<Exit, Failure> {
    let Power::Redfish(access) = &machine.power else {
        return Err(Failure::with(Exit::Usage, format!("{} has no Redfish service in the plan", machine.name.value)));
    };
    let rest = access.url.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(443)),
        _ => (rest, 443),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = runtime.block_on(presented_certificate(host, port))?;
    let trusted = shown.to_string() == access.certificate;
    if global.json {
        println!(
            "{}",
            serde_json::json!({ "machine": machine.name.value, "certificate": shown.to_string(), "trusted": trusted })
        );
    } else {
        println!("{shown}");
        match trusted {
            true => println!("this is the certificate that the plan trusts"),
            false => {
                println!("compare it with the one that the machine's own console shows, then put it into the plan")
            }
        }
    }
    Ok(Exit::Done)
}

/// Tells a person what to do, and waits until it is seen to be done.
fn manual(args: &PowerArgs, plan: &Plan, machine: &Machine, global: &Global) -> Result<Exit, Failure> {
    let macs: Vec<&str> = machine.inventory.nics.iter().map(|nic| nic.mac.as_str()).collect();
    let known = if macs.is_empty() { String::new() } else { format!(" (network adapter {})", macs.join(", ")) };
    let name = format!("{}{known}", args.machine);
    let order = match args.what {
        What::Status | What::Certificate => {
            tell(&args.machine, "switched by a person: look at it", global);
            return Ok(Exit::Done);
        }
        What::On => format!("please switch on {name}"),
        What::Off => format!("please shut down {name} and switch it off"),
        What::Reset => format!("please restart {name}"),
        What::Pxe => format!("please restart {name} and have it boot from the network (often F12)"),
    };
    match global.json {
        true => println!("{}", serde_json::json!({ "machine": args.machine, "please": order })),
        false => println!("{order}"),
    }
    if args.what == What::Pxe && plan.root.join(".replant/state.db").exists() {
        return seen(args, plan, global);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::with(Exit::TryAgain, "nobody is here to say when it is done: run this at a terminal"));
    }
    println!("press Enter when it is done");
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line)? {
        0 => Ok(Exit::Interrupted),
        _ => Ok(Exit::Done),
    }
}

/// Waits until the registry has seen the machine boot.
fn seen(args: &PowerArgs, plan: &Plan, global: &Global) -> Result<Exit, Failure> {
    let devices = Devices::open(&plan.root)?;
    let boots = |devices: &Devices| Ok::<_, Failure>(devices.named(&args.machine)?.boots);
    let (before, begun) = (boots(&devices)?, Instant::now());
    loop {
        if boots(&devices)? != before {
            tell(&args.machine, "on: it has booted into the agent", global);
            return Ok(Exit::Done);
        }
        if begun.elapsed() > args.timeout {
            let message =
                format!("{} was not seen within {:?}; run this again to wait longer", args.machine, args.timeout);
            return Err(Failure::with(Exit::TryAgain, message));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
