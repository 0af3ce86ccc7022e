//! `replant image seal`.

use serde_json::json;

use super::Outcome;
use super::reporter::Reporter;
use super::store_args::StoreArgs;
use crate::cli::{Exit, Global};
use crate::image::{SetState, seal_set, set_state};

/// The arguments of `replant image seal`.
#[derive(Debug, clap::Args)]
pub struct SealArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The machine's name
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// A disk and its source's identity line; once for every disk
    #[arg(long = "disk", value_name = "DISK=LINE", required = true, value_parser = parse_member)]
    disks: Vec<(String, String)>,
    /// Only tell: exit 0 sealed, 10 absent, 11 partly
    #[arg(long)]
    check: bool,
}

fn parse_member(text: &str) -> Result<(String, String), String> {
    let (disk, identity) = text.split_once('=').ok_or("write DISK=IDENTITY LINE")?;
    Ok((disk.to_owned(), identity.to_owned()))
}

/// Runs `replant image seal`.
pub fn run(args: &SealArgs, global: &Global) -> Outcome {
    if args.check && !args.store.exists() {
        return Ok(Exit::Absent);
    }
    let store = args.store.open()?;
    if args.check {
        return Ok(match set_state(&store, &args.machine, &args.disks)? {
            SetState::Complete(_) => Exit::Done,
            SetState::Partial => Exit::Partial,
            SetState::Absent => Exit::Absent,
        });
    }
    let set = seal_set(&store, &args.machine, &args.disks)?;
    Reporter::new(String::new())?.output("set", set);
    if global.json {
        anstream::println!("{}", json!({ "machine": args.machine, "set": set, "disks": args.disks.len() }));
    } else {
        anstream::println!("sealed {} disk(s) of {} as set {set}", args.disks.len(), args.machine);
    }
    Ok(Exit::Done)
}
