//! Probes that really try what the controller needs.

use std::path::PathBuf;
use std::sync::Arc;

use super::devices::Devices;

/// A probe that somebody else brings, such as the network boot service's.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What one probe has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was tried.
    pub what: String,
    /// Why it does not work; `None` if it does.
    pub error: Option<String>,
}

/// Everything that is probed.
#[derive(Default)]
pub struct Health {
    pub(super) devices: Option<Arc<Devices>>,
    pub(super) store: Option<PathBuf>,
    pub(super) probes: Vec<(String, Probe)>,
}

impl Health {
    /// Tries everything. Blocks.
    pub fn probe(&self) -> Vec<Check> {
        let check = |what: &str, outcome: Result<(), String>| Check { what: what.to_owned(), error: outcome.err() };
        let mut checks = vec![check("service", Ok(()))];
        if let Some(devices) = &self.devices {
            checks.push(check("database", devices.probe().map_err(|error| error.to_string())));
        }
        if let Some(store) = &self.store {
            let written = tempfile::NamedTempFile::new_in(store).and_then(|mut file| {
                std::io::Write::write_all(&mut file, b"probe").and_then(|()| file.as_file().sync_all())
            });
            let message = |error: std::io::Error| format!("{} takes no writes: {error}", store.display());
            checks.push(check("store", written.map_err(message)));
        }
        checks.extend(self.probes.iter().map(|(what, probe)| check(what, probe())));
        checks
    }
}
