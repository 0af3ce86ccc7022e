//! `replant graph`: the tasks of a plan and what each waits for.

use camino::Utf8PathBuf;
use clap::ValueEnum;

use crate::planner::{Drawing, Selection};

use super::prepare::prepare;
use super::{Exit, Failure, Global, say};

/// The arguments of `replant graph`.
#[derive(Debug, clap::Args)]
pub struct GraphArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
    /// How it is drawn
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line a task
    Text,
    /// For Graphviz: `replant graph PLAN --format dot | dot -Tsvg`
    Dot,
    /// For Markdown
    Mermaid,
    /// Every task with its inputs
    Json,
}

/// Runs the verb.
pub fn run(args: &GraphArgs, global: &Global) -> Result<Exit, Failure> {
    let prepared = prepare(&args.plan, &Selection::default())?;
    if !global.json {
        say(&prepared.warnings);
    }
    let drawing = Drawing::new(&prepared.graph, &prepared.plan.plan.waves);
    let text = match args.format {
        Format::Json => format!("{}\n", drawing.json()),
        _ if global.json => format!("{}\n", drawing.json()),
        Format::Text => drawing.text(),
        Format::Dot => drawing.dot(),
        Format::Mermaid => drawing.mermaid(),
    };
    anstream::print!("{text}");
    Ok(Exit::Done)
}
