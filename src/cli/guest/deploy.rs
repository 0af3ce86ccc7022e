//! `replant guest deploy`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{controller, interrupted, mark, read_sequence, state, told, without};
use crate::agent::{BootError, GuestStep, convert_guest};
use crate::cli::image::limits;
use crate::cli::{Exit, Failure, Global};
use crate::controller::DeployGrant;
use crate::image::{RateSchedule, Store, StoreKey, newest_set};
use crate::progress::EventClient;
use crate::units::parse_duration;

/// The arguments of `replant guest deploy`.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    /// The machine's name
    #[arg(long)]
    machine: String,
    /// The VM's folder
    #[arg(long, value_name = "DIR")]
    vm_folder: PathBuf,
    /// The folder of the agent's kernel and initramfs, as `replant agent build` makes it
    #[arg(long, value_name = "DIR")]
    agent: PathBuf,
    /// The XML task sequence; of its groups, `guest` is left to `replant guest convert`
    #[arg(long, value_name = "FILE")]
    sequence: PathBuf,
    /// The image store's folder
    #[arg(long, value_name = "FOLDER")]
    store: PathBuf,
    /// Where the store's key is: env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REFERENCE", env = "REPLANT_STORE_KEY")]
    key: Option<String>,
    /// A disk, as the store names it, and the serial number that it has in the VM; may be given again
    #[arg(long, value_name = "NAME=SERIAL", required = true, value_parser = parse_pair)]
    disk: Vec<(String, String)>,
    /// At most this fast: 200MBps, or with hours "50MBps 08:00-18:00 else 400MBps in Europe/Berlin"
    #[arg(long, value_name = "RATE", value_parser = limits::parse_schedule)]
    limit: Option<RateSchedule>,
    /// Share a named budget with everything else that names it, such as lan="100MBps 08:00-18:00"
    #[arg(long, value_name = "NAME=RATE")]
    budget: Vec<String>,
    /// Longest time of everything
    #[arg(long, default_value = "7d", value_parser = parse_duration)]
    timeout: Duration,
    /// Only look: 0 if the disks hold the images of the newest set, 11 if others, 10 if none
    #[arg(long, conflicts_with = "undo")]
    check: bool,
    /// Forget that the disks were written; the next deploy writes them anew
    #[arg(long)]
    undo: bool,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, serial) = text.split_once('=').ok_or("write NAME=SERIAL")?;
    Ok((name.to_owned(), serial.to_owned()))
}

/// Written into the VM's folder when every disk is written and flushed.
const MARKER: &str = "deployed.json";

#[derive(Debug, Serialize, Deserialize)]
struct Deployed {
    /// The image on each disk.
    images: BTreeMap<String, String>,
}

/// Runs the verb.
pub fn run(args: &DeployArgs, global: &Global) -> Result<Exit, Failure> {
    let marker = args.vm_folder.join(MARKER);
    if args.undo {
        return match fs::remove_file(&marker) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(Exit::Done),
        };
    }
    if args.check && !Store::exists(&args.store) {
        return Ok(Exit::Absent);
    }
    let key = args.key.as_deref().filter(|reference| !reference.is_empty());
    let images = match images(args, key) {
        Err(_) if args.check && found(&marker).is_none() => return Ok(Exit::Absent),
        images => images?,
    };
    match found(&marker) {
        Some(Deployed { images: there }) if there == images => return Ok(Exit::Done),
        there if args.check => return Ok(if there.is_some() { Exit::Partial } else { Exit::Absent }),
        // Until all is written anew, nothing says that it is.
        Some(_) => fs::remove_file(&marker)?,
        None => {}
    }
    // A conversion of what was there before is gone with it.
    match fs::remove_file(args.vm_folder.join(super::MARKER)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let folder = std::path::absolute(limits::folder())?;
    let grant = |(disk, serial): &(String, String)| {
        Ok(DeployGrant {
            machine: args.machine.clone(),
            disk: disk.clone(),
            image: images.get(disk).cloned(),
            store: std::path::absolute(&args.store)?,
            key: key.map(str::to_owned),
            serial: Some(serial.clone()).filter(|serial| !serial.is_empty()),
            limit: args.limit.as_ref().map(ToString::to_string),
            budgets: Some((folder.clone(), args.budget.clone())),
        })
    };
    let step = GuestStep {
        machine: args.machine.clone(),
        vm: args.vm_folder.clone(),
        agent: args.agent.clone(),
        initramfs: None,
        sequence: without(&read_sequence(&args.sequence)?, "guest")?,
        controller: controller(),
        state: state(),
        keys: Vec::new(),
        deploys: args.disk.iter().map(grant).collect::<Result<_, std::io::Error>>()?,
        timeout: args.timeout,
    };
    let events = EventClient::from_environment();
    let result = match convert_guest(&step, &interrupted()?, |report| told(report, &events, global)) {
        Ok(result) => result,
        Err(error @ BootError::Interrupted) => return Err(Failure::with(Exit::Interrupted, error)),
        Err(error) => return Err(error.into()),
    };
    mark(&marker, &serde_json::to_value(Deployed { images: images.clone() })?)?;
    let sum = |what: &str| {
        let values = args.disk.iter().filter_map(|(disk, _)| result.facts.get(&format!("{disk}.{what}")));
        values.filter_map(|value| value.parse::<u64>().ok()).sum::<u64>()
    };
    for what in ["bytes-written", "bytes-received", "bytes-resumed"] {
        events.output(&what.replace('-', "_"), sum(what));
    }
    if global.json {
        println!("{}", serde_json::json!({ "machine": args.machine, "images": images, "facts": result.facts }));
    } else {
        println!("deployed {} disk(s) of {}: {} bytes travelled", images.len(), args.machine, sum("bytes-received"));
    }
    Ok(Exit::Done)
}

/// The image of each disk in the machine's newest set.
fn images(args: &DeployArgs, key: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let key = key.map(StoreKey::resolve).transpose()?;
    let store = Store::open(&args.store, key.as_ref())?;
    let set = newest_set(&store, &args.machine)?;
    let member = |disk: &str| set.as_ref()?.disks.iter().find(|member| member.disk == disk);
    let image = |(disk, _): &(String, String)| {
        let member = member(disk).ok_or_else(|| {
            let message =
                format!("the store has no sealed image of {}/{disk}: capture and seal it first", args.machine);
            Failure::with(Exit::Error, message)
        })?;
        Ok((disk.clone(), member.image.to_string()))
    };
    args.disk.iter().map(image).collect()
}

fn found(marker: &Path) -> Option<Deployed> {
    serde_json::from_slice(&fs::read(marker).ok()?).ok()
}
