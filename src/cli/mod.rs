//! One file per verb; the only code that prints or exits.

#![allow(clippy::print_stdout, reason = "printing is what this module is for")]

mod exit;

mod agent;
mod apply;
mod assess;
mod coverage;
mod device;
mod graph;
mod guest;
mod guest_edits;
mod image;
mod init;
mod inspect;
mod inventory;
mod limit;
mod live_volumes;
mod logging;
mod netboot;
mod patch;
mod plan;
mod power;
mod prepare;
mod preview;
mod render;
mod rollback;
mod rules;
mod schema;
mod serve;
mod source;
mod status;
mod terminal;
mod tools;
mod validate;
mod vm;
mod windows;

use std::error::Error;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::diagnostic::{DiagnosticRecord, Diagnostics, LineIndexes, Renderer};

/// Moves whole machines into virtual machines, from plan files: preview, apply, resume, roll back.
#[derive(Debug, Parser)]
#[command(name = "replant", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Scaffold a working directory: plan, .gitignore, CA and store key
    Init(init::InitArgs),
    /// Read a plan and report every mistake; touches nothing outside
    Validate(validate::ValidateArgs),
    /// Know the machines: facts from files of other tools, what changed, what was measured
    Inventory(inventory::InventoryArgs),
    /// Size every machine, see whether the hosts have room, and propose where each should go
    Assess(assess::AssessArgs),
    /// Print the schema of plan files or of inventory documents
    Schema(schema::SchemaArgs),
    /// Preview everything that `apply` would do
    Plan(plan::PlanArgs),
    /// Print the task graph
    Graph(graph::GraphArgs),
    /// Write the rendered artifacts alone
    Render(render::RenderArgs),
    /// Execute a plan or a run folder; run again to resume
    Apply(apply::ApplyArgs),
    /// Show where every task stands
    Status(status::StatusArgs),
    /// Undo what past runs made
    Rollback(rollback::RollbackArgs),
    /// Work with captured images
    Image(image::ImageArgs),
    /// The small system that converts guests: build it, run it
    Agent(agent::AgentArgs),
    /// Convert the operating system inside restored disks
    Guest(guest::GuestArgs),
    /// Change how fast captures and deploys go, while they run
    Limit(limit::LimitArgs),
    /// Say what lies on disks and which systems they hold, without booting them and without writing to them
    Inspect(inspect::InspectArgs),
    /// Start, stop and watch virtual machines of the embedded provider
    Vm(vm::VmArgs),
    /// Boot machines from the network into the agent
    Netboot(netboot::NetbootArgs),
    /// The machines that the controller knows: register, show, have them boot into the agent, release
    Device(device::DeviceArgs),
    /// Switch a machine on or off, or have it boot from the network once
    Power(power::PowerArgs),
    /// Serve agents as a service, until interrupted
    Serve(serve::ServeArgs),
    /// Look at a source again before it is touched
    Source(source::SourceArgs),
    /// Drivers that migrations need: take them in, see what is missing
    Patch(patch::PatchArgs),
}

/// Parses the command line, runs one verb and turns its outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let global = &cli.global;
    logging::if_asked();
    let outcome = match &cli.verb {
        Verb::Init(args) => init::run(args, global),
        Verb::Validate(args) => validate::run(args, global),
        Verb::Inventory(args) => inventory::run(args, global),
        Verb::Assess(args) => assess::run(args, global),
        Verb::Schema(args) => schema::run(args, global),
        Verb::Plan(args) => plan::run(args, global),
        Verb::Graph(args) => graph::run(args, global),
        Verb::Render(args) => render::run(args, global),
        Verb::Apply(args) => apply::run(args, global),
        Verb::Status(args) => status::run(args, global),
        Verb::Rollback(args) => rollback::run(args, global),
        Verb::Image(args) => image::run(args, global),
        Verb::Agent(args) => agent::run(args, global),
        Verb::Guest(args) => guest::run(args, global),
        Verb::Limit(args) => limit::run(args, global),
        Verb::Inspect(args) => inspect::run(args, global),
        Verb::Vm(args) => vm::run(args, global),
        Verb::Netboot(args) => netboot::run(args, global),
        Verb::Device(args) => device::run(args, global),
        Verb::Power(args) => power::run(args, global),
        Verb::Serve(args) => serve::run(args, global),
        Verb::Source(args) => source::run(args, global),
        Verb::Patch(args) => patch::run(args, global),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure, global).into(),
    }
}

/// Prints a failure and says which code it ends with.
fn report(failure: &Failure, global: &Global) -> Exit {
    match failure {
        Failure::Refused(diagnostics) => {
            let diagnostics = Diagnostics::from(diagnostics.clone());
            match global.json {
                true => say_json(&diagnostics),
                false => say(&diagnostics),
            }
            Exit::Refused
        }
        Failure::Other { exit, error } => {
            let chain = chain(error.as_ref());
            if global.json {
                let line = serde_json::json!({ "type": "error", "exit": exit.code(), "message": chain.join(": ") });
                anstream::eprintln!("{line}");
            } else {
                anstream::eprintln!("error: {}", chain.join("\n  because: "));
            }
            *exit
        }
    }
}

/// Prints diagnostics for people on standard error, with colours if that is a terminal, and how many there are.
fn say(diagnostics: &Diagnostics) {
    let colour = std::io::stderr().is_terminal();
    let mut renderer = Renderer::new(colour);
    for diagnostic in diagnostics {
        anstream::eprintln!("{}\n", renderer.render(diagnostic));
    }
    if let Some(summary) = diagnostics.summary() {
        let refused = if diagnostics.has_errors() { "the plan is refused: " } else { "" };
        anstream::eprintln!("{refused}{summary}");
    }
}

/// Prints diagnostics for programs on standard error, one JSON object a line.
fn say_json(diagnostics: &Diagnostics) {
    let mut indexes = LineIndexes::default();
    for diagnostic in diagnostics {
        let line = serde_json::to_string(&DiagnosticRecord::new(diagnostic, &mut indexes))
            .expect("a record of texts and numbers is always JSON");
        anstream::eprintln!("{line}");
    }
}

/// The error and its sources, outermost first.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain
}
