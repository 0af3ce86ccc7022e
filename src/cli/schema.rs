//! `replant schema`.

use super::{Exit, Failure, Global};
use crate::inventory::document::xml_schema;
use crate::plan;

/// The arguments of `replant schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// What the schema is of
    #[arg(value_enum, default_value = "plan")]
    of: Language,
}

/// A language of files.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Language {
    /// Plan files: JSON Schema (2020-12)
    Plan,
    /// Inventory documents: XML Schema
    Inventory,
}

/// Runs the verb.
pub fn run(args: &SchemaArgs, _global: &Global) -> Result<Exit, Failure> {
    match args.of {
        Language::Plan => anstream::println!("{}", serde_json::to_string_pretty(&plan::json_schema())?),
        Language::Inventory => anstream::print!("{}", xml_schema()),
    }
    Ok(Exit::Done)
}
