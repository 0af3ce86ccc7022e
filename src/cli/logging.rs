//! The log: what services say beside their output, refusals above all. `REPLANT_LOG` says how much (`debug`,
//! `replant::controller=debug`), and gives any verb one, on standard error.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

const VARIABLE: &str = "REPLANT_LOG";
/// How much a service says, if nobody asks for more or less.
const SERVICE: &str = "warn,replant=info";

/// Begins a service's log on standard error; a second call changes nothing.
pub(super) fn on_stderr(json: bool) {
    start(BoxMakeWriter::new(std::io::stderr), json, SERVICE);
}

/// Begins the log of a verb that has none unless [`VARIABLE`] asks for one.
pub(super) fn if_asked() {
    if std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) {
        start(BoxMakeWriter::new(std::io::stderr), false, "warn");
    }
}

/// Begins a log that is added to a file which only its owner reads; a second call changes nothing.
pub(super) fn in_file(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    start(BoxMakeWriter::new(Mutex::new(file)), false, SERVICE);
    Ok(())
}

fn start(writer: BoxMakeWriter, json: bool, otherwise: &str) {
    let asked = EnvFilter::try_from_env(VARIABLE);
    let filter = asked.unwrap_or_else(|_| EnvFilter::new(otherwise));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    // Whoever has begun one before keeps it.
    let _ = if json { log.json().try_init() } else { log.try_init() };
}
