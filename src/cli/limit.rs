//! `replant limit`: rates of captures and deploys, changed while they run.

use clap::Subcommand;
use serde_json::json;

use super::image::limits::{folder, parse_name, parse_schedule};
use super::{Exit, Failure, Global};
use crate::image::{RateSchedule, limit_file};

/// The arguments of `replant limit`.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    #[command(subcommand)]
    verb: LimitVerb,
}

#[derive(Debug, Subcommand)]
enum LimitVerb {
    /// From now on (within a second) so fast, whatever the plan says
    Set {
        /// A machine's name, or a budget's
        #[arg(value_parser = parse_name)]
        name: String,
        /// 200MBps, "50MBps 08:00-18:00 else 400MBps in Europe/Berlin", or unlimited
        #[arg(value_parser = parse_schedule)]
        rate: RateSchedule,
    },
    /// What the plan says holds again
    Clear {
        /// A machine's name, or a budget's
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// What was set
    Show,
}

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::with(Exit::Error, format!("{what}: {error}"))
}

/// Runs the verb. Files are in `.replant/limits` of the current folder, or of `REPLANT_ROOT`.
pub fn run(args: &LimitArgs, global: &Global) -> Result<Exit, Failure> {
    let folder = folder();
    match &args.verb {
        LimitVerb::Set { name, rate } => {
            let path = limit_file(&folder, name);
            let draft = path.with_extension("new");
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(&draft, format!("{rate}\n")))
                .and_then(|()| std::fs::rename(&draft, &path))
                .map_err(|error| failed(&path.display().to_string(), error))?;
            say(global, name, &rate.to_string());
        }
        LimitVerb::Clear { name } => {
            let path = limit_file(&folder, name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(&path.display().to_string(), error));
                }
                _ => say(global, name, "as planned"),
            }
        }
        LimitVerb::Show => show(&folder, global)?,
    }
    Ok(Exit::Done)
}

fn say(global: &Global, name: &str, rate: &str) {
    match global.json {
        true => println!("{}", json!({ "name": name, "rate": rate })),
        false => println!("{name}: {rate}"),
    }
}

fn show(folder: &std::path::Path, global: &Global) -> Result<(), Failure> {
    let mut set = Vec::new();
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing.map_while(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(&folder.display().to_string(), error)),
    };
    for path in listing.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "limit")) {
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&path.display().to_string(), error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        set.push((name, text.trim().to_owned()));
    }
    set.sort();
    match set.is_empty() && !global.json {
        true => println!("no limit is set: every machine and budget goes as planned"),
        false => set.iter().for_each(|(name, rate)| say(global, name, rate)),
    }
    Ok(())
}
