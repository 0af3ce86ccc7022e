//! `replant inventory performance`.

use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;

use super::files::{path_of, save};
use super::observer;
use crate::cli::{Exit, Failure, Global};
use crate::diagnostic::Diagnostics;
use crate::inventory::document::load_document;
use crate::inventory::import::ImportError;
use crate::inventory::model::{Document, LoadWord, Observation, Word as _};
use crate::inventory::performance::{Metric, Recorder, RecordingKind, Settings, record_file};
use crate::units::{ByteCount, human_duration, parse_duration};

/// The arguments of `replant inventory performance`.
#[derive(Debug, clap::Args)]
pub struct PerformanceArgs {
    /// Recordings, in order of time
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// What the files are; left out, their content tells
    #[arg(long, value_name = "KIND", value_parser = kind)]
    from: Option<RecordingKind>,
    /// How long a load must last to count as sustained
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = window)]
    window: Duration,
    /// How the load repeats: constant, periodic or seasonal
    #[arg(long, value_name = "WORD", value_parser = load)]
    load: Option<LoadWord>,
    /// What the values of a Prometheus export are
    #[arg(long, value_name = "METRIC", value_parser = metric)]
    metric: Option<Metric>,
    /// The machine that the files are of, if they do not name it or name it otherwise
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// The folder of the documents; a document that is there is brought up to date
    #[arg(long, value_name = "FOLDER", default_value = "facts")]
    out: Utf8PathBuf,
}

fn kind(text: &str) -> Result<RecordingKind, String> {
    let names: Vec<&str> = RecordingKind::ALL.iter().map(|(name, _)| *name).collect();
    let known = RecordingKind::ALL.iter().find(|(name, _)| *name == text);
    known.map(|(_, kind)| *kind).ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

fn window(text: &str) -> Result<Duration, String> {
    let window = parse_duration(text).map_err(|error| error.to_string())?;
    let fits = (60..=86_400).contains(&window.as_secs());
    if fits { Ok(window) } else { Err("it is from 1m to 1d".to_owned()) }
}

fn load(text: &str) -> Result<LoadWord, String> {
    LoadWord::read(text).ok_or_else(|| format!("it is {}", LoadWord::FORM.describe()))
}

fn metric(text: &str) -> Result<Metric, String> {
    let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.column()).collect();
    Metric::ALL
        .into_iter()
        .find(|metric| metric.column() == text)
        .ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

/// Runs the verb.
pub fn run(args: &PerformanceArgs, global: &Global) -> Result<Exit, Failure> {
    let memory = |name: &str| -> Option<ByteCount> {
        let document = load_document(&path_of(&args.out, name)).ok()?.document;
        document.facts.system.memory.map(|memory| memory.value)
    };
    let settings = Settings { metric: args.metric, machine: args.machine.clone(), memory: Some(&memory) };
    let mut recorder = Recorder::new(args.window.as_secs());
    let mut problems = Diagnostics::new();
    let mut kind = None;
    for file in &args.files {
        match record_file(file, args.from, &settings, &mut recorder) {
            Ok(found) => kind = kind.or(Some(found)),
            Err(errors) => problems.extend(errors.iter().map(ImportError::diagnostic)),
        }
    }
    if problems.has_errors() {
        return Err(problems.into());
    }
    let names: Vec<&str> = args.files.iter().map(|file| file.as_str()).collect();
    let source = match names.as_slice() {
        [one] => (*one).to_owned(),
        [first, .., last] => format!("{first} .. {last}"),
        [] => String::new(),
    };
    let how = kind.unwrap_or(RecordingKind::Samples).method();
    let documents: Vec<Document> = recorder
        .facts(args.load)
        .into_iter()
        .map(|(name, facts)| {
            let when: Option<Timestamp> = facts.utilisation.to_time.as_ref().map(|to| to.value);
            let observation = Observation { by: observer(None).by, how, source: Some(source.clone()), when };
            Document::new(name, observation, facts)
        })
        .collect();
    if documents.is_empty() {
        return Err(Failure::with(Exit::Error, format!("`{source}` holds no sample that sizing can use")));
    }
    let written = save(&args.out, documents)?;
    if global.json {
        super::import::report(&written, global);
        return Ok(Exit::Done);
    }
    for (path, document) in written.iter().take(12) {
        let used = &document.facts.utilisation;
        let seconds =
            |fact: &Option<crate::inventory::model::Fact<Timestamp>>| fact.as_ref().map(|time| time.value.as_second());
        let span = seconds(&used.from_time).zip(seconds(&used.to_time)).map(|(from, to)| to.abs_diff(from));
        let parts = [
            used.cpu.as_ref().map(|cpu| format!("cpu {} sustained", cpu.value)),
            used.memory.as_ref().map(|memory| format!("memory {} peak", memory.value)),
            span.map(|span| format!("over {}", human_duration(Duration::from_secs(span)))),
            used.gaps.as_ref().filter(|gaps| gaps.value > 0).map(|gaps| format!("{} gaps", gaps.value)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        anstream::println!("{path}: {}", parts.join(", "));
    }
    if written.len() > 12 {
        anstream::println!("... and {} more", written.len() - 12);
    }
    Ok(Exit::Done)
}
