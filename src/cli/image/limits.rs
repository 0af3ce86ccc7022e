//! How fast a capture or deploy may go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image::{ImageError, Limit, RateSchedule, SystemClock, limit_file};

/// Limits, for the verbs that copy.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// At most this fast: 200MBps, or with hours "50MBps 08:00-18:00 else 400MBps in Europe/Berlin"
    #[arg(long, value_name = "RATE", value_parser = parse_schedule)]
    limit: Option<RateSchedule>,
    /// Share a named budget with everything else that names it, such as lan="100MBps 08:00-18:00"
    #[arg(long = "budget", value_name = "NAME=RATE", value_parser = parse_budget)]
    budgets: Vec<(String, RateSchedule)>,
}

/// For a rate with hours.
pub fn parse_schedule(text: &str) -> Result<RateSchedule, String> {
    RateSchedule::parse(text).map_err(|error| error.to_string())
}

/// For the name of a machine or budget, which becomes a file's.
pub fn parse_name(text: &str) -> Result<String, String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().all(sound) && !text.is_empty() && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => Err("a name has letters, digits, `.`, `_` and `-`, and does not begin with `.`".into()),
    }
}

fn parse_budget(text: &str) -> Result<(String, RateSchedule), String> {
    let (name, rate) = text.split_once('=').ok_or("write NAME=RATE")?;
    Ok((parse_name(name)?, parse_schedule(rate)?))
}

/// Where budgets are kept and `replant limit` writes.
pub fn folder() -> PathBuf {
    let root = std::env::var_os("REPLANT_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
    root.as_deref().unwrap_or(Path::new("")).join(".replant/limits")
}

impl LimitArgs {
    /// The limits of a job on `machine`'s disk: its own, which `replant limit set MACHINE` changes, and its budgets.
    pub fn limits(&self, machine: &str) -> Result<Vec<Limit>, ImageError> {
        let (folder, clock) = (folder(), Arc::new(SystemClock));
        let own = self.limit.clone().unwrap_or_else(|| RateSchedule::always(None));
        let file = parse_name(machine).ok().map(|name| limit_file(&folder, &name));
        let mut limits = vec![Limit::own(own, file, clock.clone())];
        for (name, rate) in &self.budgets {
            let limit = Limit::shared(&folder, name, rate.clone(), clock.clone());
            let refused = |error| ImageError::Refused { what: format!("the budget `{name}` cannot be kept: {error}") };
            limits.push(limit.map_err(refused)?);
        }
        Ok(limits)
    }
}
