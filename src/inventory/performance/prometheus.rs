//! Ranges of Prometheus: the answer of `/api/v1/query_range`.

use std::io::Read;

use serde_json::Value;

use super::decimal::decimal;
use super::read::Settings;
use super::recorder::{Metric, Recorder};
use crate::inventory::import::{ImportError, Place, shown};

/// Reads a range of one metric for any number of machines.
pub(super) fn read(
    file: &str,
    input: impl Read,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<(), Vec<ImportError>> {
    let flaw = |place: Place, message: String, help: &str| ImportError::new(file, place, message, help);
    let root: Value = serde_json::from_reader(input).map_err(|error| {
        vec![flaw(
            Place::Line(error.line().max(1)),
            format!("it is not JSON: {error}"),
            "save the answer of `/api/v1/query_range` as it is",
        )]
    })?;
    if root["data"]["resultType"] != "matrix" {
        let message = format!("the answer is `{}`, not a range", shown(&root["data"]["resultType"].to_string()));
        return Err(vec![flaw(
            Place::Path("data.resultType".into()),
            message,
            "ask `/api/v1/query_range` with `start`, `end` and `step`",
        )]);
    }
    let mut errors = Vec::new();
    for (number, series) in root["data"]["result"].as_array().into_iter().flatten().enumerate() {
        let labels = &series["metric"];
        let place = |more: &str| Place::Path(format!("data.result[{number}]{more}"));
        let named =
            labels["__name__"].as_str().and_then(|name| Metric::ALL.into_iter().find(|one| one.column() == name));
        let Some(metric) = settings.metric.or(named) else {
            let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.column()).collect();
            let help = format!("say what the values are: `--metric {}`, in that unit", names.join("|"));
            return Err(vec![flaw(place(".metric"), "what was measured is not known".to_owned(), &help)]);
        };
        let label = ["machine", "nodename", "vm", "host", "instance"].iter().find_map(|key| labels[*key].as_str());
        let Some(name) = settings.machine.as_deref().or(label) else {
            errors.push(flaw(
                place(".metric"),
                "no label names the machine".to_owned(),
                "name it with `--machine`, or keep the label `instance`",
            ));
            continue;
        };
        // `web01.example.org:9100`, but not an address.
        let host = name
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(name, |(host, _)| host);
        let host = match host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            true => host,
            false => host.split('.').next().unwrap_or(host),
        };
        let machine = recorder.machine(host.as_bytes());
        for (at, pair) in series["values"].as_array().into_iter().flatten().enumerate() {
            if errors.len() >= 20 {
                break;
            }
            let seconds = pair[0].as_i64().or_else(|| pair[0].as_f64().filter(|s| s.abs() < 9e15).map(|s| s as i64));
            let written = pair[1].as_str().unwrap_or_default();
            if matches!(written, "NaN" | "+Inf" | "-Inf") {
                continue;
            }
            let Some((time, value)) = seconds.zip(decimal(written.as_bytes(), metric.digits())) else {
                let message = format!("`{}` is no sample", shown(&pair.to_string()));
                errors.push(flaw(
                    place(&format!(".values[{at}]")),
                    message,
                    "a sample is `[seconds, \"number from 0\"]`",
                ));
                continue;
            };
            if let Err(backwards) = recorder.add(machine, metric, time, value) {
                let message =
                    format!("time goes back from {} to {time}: two series are of `{}`", backwards.before, shown(host));
                errors.push(flaw(
                    place(&format!(".values[{at}]")),
                    message,
                    "add the series up in the query: `sum by (instance) (...)`",
                ));
                break;
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
