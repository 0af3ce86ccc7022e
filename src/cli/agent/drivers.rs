//! `replant agent drivers`.

use std::io::Read;
use std::path::PathBuf;

use crate::agent::build::{DriverTable, PciDevice, Served};
use crate::cli::{Exit, Failure, Global};

/// Longest list that is read.
const MAX_LIST: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
pub struct DriversArgs {
    /// A list of PCI devices, one a line: 8086:100e, lines of `lspci -n` or `-nn`, or modalias lines; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    inventory: PathBuf,
    /// The folder that `replant agent build` wrote
    #[arg(long, value_name = "DIR")]
    agent: PathBuf,
}

/// Runs the verb: 0 if every device has a driver in the agent, 10 if one has none there.
pub fn run(args: &DriversArgs, global: &Global) -> Result<Exit, Failure> {
    let table = DriverTable::read(&args.agent)?;
    let mut text = String::new();
    match args.inventory.as_os_str() == "-" {
        true => std::io::stdin().take(MAX_LIST).read_to_string(&mut text)?,
        false => std::fs::File::open(&args.inventory)
            .and_then(|file| file.take(MAX_LIST).read_to_string(&mut text))
            .map_err(|error| Failure::with(Exit::Error, format!("{}: {error}", args.inventory.display())))?,
    };
    let mut devices: Vec<PciDevice> = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.parse() {
            Ok(device) => devices.push(device),
            Err(error) => wrong.push(format!("{}:{}: {error}", args.inventory.display(), number + 1)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::with(Exit::Usage, wrong.join("\n")));
    }
    devices.dedup();
    let mut missing = false;
    for device in &devices {
        let served = table.serves(device);
        missing |= !matches!(served, Served::Agent { .. });
        if global.json {
            let mut record = serde_json::to_value(&served)?;
            record["device"] = device.to_string().into();
            println!("{record}");
            continue;
        }
        match served {
            Served::Agent { module } => println!("{device}  {module}"),
            Served::Left { module } => println!(
                "{device}  {module} of kernel {} is not in the agent: build it with `--with {module}` and the flavour that has it",
                table.kernel
            ),
            Served::Nobody => println!(
                "{device}  no driver in kernel {}: bridges need none; for a disk controller or network adapter give one with `--modules`",
                table.kernel
            ),
        }
    }
    Ok(if missing { Exit::Absent } else { Exit::Done })
}
