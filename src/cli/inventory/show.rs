//! `replant inventory show` and `replant inventory diff`.

use camino::Utf8PathBuf;
use serde_json::json;

use crate::cli::{Exit, Failure, Global};
use crate::inventory::document::{diff as changes, load_document, to_json};
use crate::inventory::model::{Branch, Content, Section as _, Word as _};

/// The arguments of `replant inventory show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// A document
    document: Utf8PathBuf,
    /// Show where every fact comes from
    #[arg(long)]
    sources: bool,
}

/// The arguments of `replant inventory diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The older document
    old: Utf8PathBuf,
    /// The newer document
    new: Utf8PathBuf,
}

/// Prints a document.
pub fn show(args: &ShowArgs, global: &Global) -> Result<Exit, Failure> {
    let document = load_document(&args.document)?.document;
    if global.json {
        anstream::println!("{}", serde_json::to_string_pretty(&to_json(&document))?);
        return Ok(Exit::Done);
    }
    anstream::println!("{}", document.name);
    for (at, one) in document.observations.iter().enumerate() {
        let when = one.when.map_or_else(String::new, |when| format!(", {when}"));
        let source = one.source.as_ref().map_or_else(String::new, |source| format!(", {source}"));
        anstream::println!("  o{}: {} by {}{when}{source}", at + 1, one.how.write(), one.by);
    }
    print(&document.facts.branches(), 0, args.sources);
    Ok(Exit::Done)
}

fn print(branches: &[Branch], depth: usize, sources: bool) {
    for branch in branches.iter().filter(|branch| branch.element != "series") {
        let indent = depth * 2;
        match &branch.content {
            Content::Value(text, from) => {
                let from = if sources { format!("  (o{})", from + 1) } else { String::new() };
                anstream::println!("{:indent$}{}: {}{from}", "", branch.element, text.escape_debug());
            }
            Content::Section(inner, key) => {
                let key = key.as_ref().map_or_else(String::new, |key| format!(" {key}"));
                anstream::println!("{:indent$}{}{key}", "", branch.element);
                print(inner, depth + 1, sources);
            }
        }
    }
}

/// Prints what changed.
pub fn diff(args: &DiffArgs, global: &Global) -> Result<Exit, Failure> {
    let (old, new) = (load_document(&args.old)?.document, load_document(&args.new)?.document);
    let changes = changes(&old, &new);
    if global.json {
        let list: Vec<_> =
            changes.iter().map(|one| json!({ "fact": one.fact, "old": one.old, "new": one.new })).collect();
        anstream::println!("{}", json!({ "type": "inventory-diff", "changes": list }));
    } else {
        for one in &changes {
            match (&one.old, &one.new) {
                (Some(old), Some(new)) => {
                    anstream::println!("~ {}: {} -> {}", one.fact, old.escape_debug(), new.escape_debug())
                }
                (Some(old), None) => anstream::println!("- {}: {}", one.fact, old.escape_debug()),
                (None, Some(new)) => anstream::println!("+ {}: {}", one.fact, new.escape_debug()),
                (None, None) => {}
            }
        }
        let noun = if changes.len() == 1 { "fact differs" } else { "facts differ" };
        anstream::println!("{} {noun}", changes.len());
    }
    Ok(Exit::Done)
}
