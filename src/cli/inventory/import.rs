//! `replant inventory import`.

use camino::Utf8PathBuf;
use serde_json::json;

use super::files::save;
use super::observer;
use crate::cli::{Exit, Failure, Global, say};
use crate::inventory::import::{FileKind, import};
use crate::inventory::model::Document;

/// The arguments of `replant inventory import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Files that other tools wrote; the tabs of one RVTools export are named together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// What the files are; left out, their content tells
    #[arg(long, value_name = "KIND", value_parser = kind)]
    from: Option<FileKind>,
    /// The folder of the documents; a document that is there is brought up to date
    #[arg(long, value_name = "FOLDER", default_value = "facts")]
    out: Utf8PathBuf,
    /// The machine's name, if the files are of one machine and call it otherwise
    #[arg(long)]
    name: Option<String>,
}

fn kind(text: &str) -> Result<FileKind, String> {
    let known = FileKind::ALL.iter().find(|(name, _)| *name == text);
    let names: Vec<&str> = FileKind::ALL.iter().map(|(name, _)| *name).collect();
    known.map(|(_, kind)| *kind).ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

/// Runs the verb.
pub fn run(args: &ImportArgs, global: &Global) -> Result<Exit, Failure> {
    let imported = import(&args.files, args.from, &observer(args.name.clone()))?;
    let written = save(&args.out, imported.documents)?;
    if !global.json {
        say(&imported.warnings);
    }
    report(&written, global);
    Ok(Exit::Done)
}

/// Says what was written, in a few lines however many machines there are.
pub fn report(written: &[(Utf8PathBuf, Document)], global: &Global) {
    if global.json {
        let machines: Vec<_> =
            written.iter().map(|(path, one)| json!({ "name": one.name, "document": path })).collect();
        anstream::println!("{}", json!({ "type": "inventory", "machines": machines }));
        return;
    }
    const SHOWN: usize = 12;
    for (path, document) in written.iter().take(SHOWN) {
        let facts = &document.facts;
        let known = [
            facts.os.name.as_ref().map(|name| name.value.clone()),
            facts.system.processor.count.as_ref().map(|count| format!("{} cpus", count.value)),
            facts.system.memory.as_ref().map(|memory| memory.value.to_string()),
            Some(format!("{} disks", facts.storage.disks.len())),
            Some(format!("{} nics", facts.network.nics.len())),
        ];
        let known: Vec<String> = known.into_iter().flatten().collect();
        anstream::println!("{path}: {}", known.join(", "));
    }
    if written.len() > SHOWN {
        anstream::println!("... and {} more", written.len() - SHOWN);
    }
    let noun = if written.len() == 1 { "machine" } else { "machines" };
    anstream::println!(
        "{} {noun}; a plan names a document with `inventory: {}`",
        written.len(),
        written.first().map_or("facts/NAME.xml", |(path, _)| path.as_str())
    );
}
