//! `replant inventory disk`.

use camino::Utf8PathBuf;

use super::files::save;
use super::import::report;
use super::observer;
use crate::cli::{Exit, Failure, Global};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::hardware::DiskFormat;
use crate::inventory::look_into;
use crate::inventory::model::{Document, Method, Observation};

/// The arguments of `replant inventory disk`.
#[derive(Debug, clap::Args)]
pub struct DiskArgs {
    /// Disk files or devices of one machine, the boot disk first; opened read-only
    #[arg(required = true, value_name = "DISK")]
    disks: Vec<Utf8PathBuf>,
    /// Their format; left out, their content tells
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<DiskFormat>,
    /// The machine's name [default: that of a Windows on the disks, else the first disk's file name]
    #[arg(long)]
    name: Option<String>,
    /// The folder of the documents; a document that is there is brought up to date
    #[arg(long, value_name = "FOLDER", default_value = "facts")]
    out: Utf8PathBuf,
}

fn format(text: &str) -> Result<DiskFormat, String> {
    let names: Vec<&str> = DiskFormat::ALL.iter().map(|format| format.name()).collect();
    DiskFormat::parse(text).ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

/// Runs the verb.
pub fn run(args: &DiskArgs, global: &Global) -> Result<Exit, Failure> {
    let (found, facts) = look_into(&args.disks, args.format).map_err(|errors| {
        let all = errors.iter().map(|error| Diagnostic::error("inventory.disk", error.to_string()).help(error.help()));
        let mut found = Diagnostics::new();
        found.extend(all);
        Failure::from(found)
    })?;
    let stem = || args.disks[0].file_stem().unwrap_or("unnamed").to_owned();
    let name = args.name.clone().or(found).unwrap_or_else(stem);
    let observation = Observation {
        by: observer(None).by,
        how: Method::Inspection,
        source: Some(args.disks.iter().map(|disk| disk.as_str()).collect::<Vec<_>>().join(", ")),
        when: Some(jiff::Timestamp::now()),
    };
    let written = save(&args.out, vec![Document::new(name, observation, facts)])?;
    report(&written, global);
    Ok(Exit::Done)
}
