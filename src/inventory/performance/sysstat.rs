//! sysstat: `sadf -d` (separated values, streamed) and `sadf -j` (JSON).

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::decimal::decimal;
use super::read::Settings;
use super::recorder::{Metric, Recorder};
use super::samples::time;
use crate::inventory::import::{ImportError, Place, shown};

const HELP: &str = "`sadf -d FILE -- -u -r -n DEV -d` writes it, or `sadf -j FILE -- -u -r -n DEV -d`";

/// Reads either form.
pub(super) fn read(
    file: &str,
    input: impl Read,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<(), Vec<ImportError>> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    let unreadable = |error: std::io::Error| {
        vec![ImportError::new(file, Place::File, format!("it cannot be read: {error}"), "check the file")]
    };
    let json = input.fill_buf().map_err(unreadable)?.first() == Some(&b'{');
    let mut sink = Sink { file, settings, recorder, moments: BTreeMap::new(), errors: Vec::new() };
    match json {
        true => sink.json(input)?,
        false => sink.lines(input)?,
    }
    sink.finish()
}

/// What was measured at one time.
#[derive(Default)]
struct Moment {
    cpu: Option<u64>,
    memory: Option<u64>,
    nics: Vec<(String, u64)>,
    operations: Option<u64>,
    throughput: Option<u64>,
    latency: Option<u64>,
}

struct Sink<'a, 's> {
    file: &'a str,
    settings: &'a Settings<'s>,
    recorder: &'a mut Recorder,
    /// A file of a day has some thousand moments; its blocks stand one after another.
    moments: BTreeMap<(String, i64), Moment>,
    errors: Vec<ImportError>,
}

impl Sink<'_, '_> {
    fn flaw(&mut self, place: Place, message: String, help: &str) {
        if self.errors.len() < 20 {
            self.errors.push(ImportError::new(self.file, place, message, help));
        }
    }

    fn moment(&mut self, host: &str, at: i64) -> &mut Moment {
        let name = self.settings.machine.as_deref().unwrap_or_else(|| host.split('.').next().unwrap_or(host));
        self.moments.entry((name.to_owned(), at)).or_default()
    }

    fn lines(&mut self, input: impl BufRead) -> Result<(), Vec<ImportError>> {
        let mut header: Vec<String> = Vec::new();
        for (at, line) in input.lines().enumerate() {
            let place = Place::Line(at + 1);
            let line = line.map_err(|error| {
                vec![ImportError::new(self.file, place.clone(), format!("it cannot be read: {error}"), HELP)]
            })?;
            if let Some(names) = line.strip_prefix("# ") {
                header =
                    names.split(';').map(|name| name.split('[').next().unwrap_or(name).trim().to_owned()).collect();
                continue;
            }
            if line.trim().is_empty() {
                continue;
            }
            let cells: Vec<&str> = line.split(';').collect();
            let row: HashMap<&str, &str> = header.iter().map(String::as_str).zip(cells.iter().copied()).collect();
            let (Some(host), Some(written)) = (row.get("hostname"), row.get("timestamp")) else {
                self.flaw(place, format!("`{}` stands below no header", shown(&line)), HELP);
                continue;
            };
            if row.get("CPU").is_some_and(|word| *word == "LINUX-RESTART") || line.contains("LINUX-RESTART") {
                continue;
            }
            let Some(when) = time(written.as_bytes()) else {
                self.flaw(
                    place,
                    format!("`{}` is no time", shown(written)),
                    "`sadf -U -d` writes times that mean the same everywhere",
                );
                continue;
            };
            self.row(&row, host, when, place);
        }
        Ok(())
    }

    fn row(&mut self, row: &HashMap<&str, &str>, host: &str, when: i64, place: Place) {
        let mut bad: Option<(String, String)> = None;
        let mut number = |key: &str, digits: u32| -> Option<u64> {
            let written = row.get(key)?;
            let number = decimal(written.as_bytes(), digits);
            if number.is_none() {
                bad = Some((key.to_owned(), (*written).to_owned()));
            }
            number
        };
        if row.get("CPU").is_some_and(|cpu| *cpu == "-1" || *cpu == "all") {
            let idle = number("%idle", 2);
            self.moment(host, when).cpu = idle.map(|idle| 10_000_u64.saturating_sub(idle));
        } else if row.contains_key("kbmemused") {
            let used = number("kbmemused", 0);
            self.moment(host, when).memory = used.and_then(|kib| kib.checked_mul(1024));
        } else if let Some(name) = row.get("IFACE") {
            let both = number("rxkB/s", 2).zip(number("txkB/s", 2));
            if let Some((rx, tx)) = both.filter(|_| *name != "lo") {
                self.moment(host, when).nics.push(((*name).to_owned(), kilobytes(rx.saturating_add(tx))));
            }
        } else if row.contains_key("DEV") && row.contains_key("tps") {
            let operations = number("tps", 2);
            let throughput = match number("rkB/s", 2) {
                Some(read) => number("wkB/s", 2).map(|write| kilobytes(read.saturating_add(write))),
                None => None,
            };
            let latency = number("await", 3);
            self.moment(host, when).disk(operations, throughput, latency);
        }
        if let Some((key, written)) = bad {
            self.flaw(
                place,
                format!("`{}` cannot be `{}`", key, shown(&written)),
                "write the file again: `LC_ALL=C sadf -d ...`",
            );
        }
    }

    fn json(&mut self, input: impl Read) -> Result<(), Vec<ImportError>> {
        let root: Value = serde_json::from_reader(input).map_err(|error| {
            let line = Place::Line(error.line().max(1));
            vec![ImportError::new(self.file, line, format!("it is not JSON: {error}"), HELP)]
        })?;
        let Some(hosts) = root["sysstat"]["hosts"].as_array() else {
            let place = Place::Path("sysstat.hosts".into());
            return Err(vec![ImportError::new(self.file, place, "there are no hosts", HELP)]);
        };
        for (number, host) in hosts.iter().enumerate() {
            let name = host["nodename"].as_str().unwrap_or("unknown").to_owned();
            for (at, one) in host["statistics"].as_array().into_iter().flatten().enumerate() {
                let stamp = &one["timestamp"];
                let written = format!(
                    "{} {}",
                    stamp["date"].as_str().unwrap_or_default(),
                    stamp["time"].as_str().unwrap_or_default()
                );
                let Some(when) = time(written.as_bytes()) else {
                    // The first entry of a file may hold nothing at all.
                    if !stamp.is_null() {
                        let place = Place::Path(format!("sysstat.hosts[{number}].statistics[{at}].timestamp"));
                        self.flaw(place, format!("`{}` is no time", shown(&written)), HELP);
                    }
                    continue;
                };
                self.statistics(one, &name, when);
            }
        }
        Ok(())
    }

    fn statistics(&mut self, one: &Value, name: &str, when: i64) {
        let scaled = |value: &Value, digits: u32| decimal(value.to_string().as_bytes(), digits);
        let moment = self.moment(name, when);
        let cpus = one["cpu-load"].as_array().or_else(|| one["cpu-load-all"].as_array());
        let all = cpus.into_iter().flatten().find(|cpu| cpu["cpu"] == "all");
        let idle = all.and_then(|cpu| scaled(&cpu["idle"], 2));
        moment.cpu = idle.map(|idle| 10_000_u64.saturating_sub(idle)).or(moment.cpu);
        let used = one["memory"]["memused"].as_u64();
        moment.memory = used.and_then(|kib| kib.checked_mul(1024)).or(moment.memory);
        for nic in one["network"]["net-dev"].as_array().into_iter().flatten() {
            let both = scaled(&nic["rxkB"], 2).zip(scaled(&nic["txkB"], 2));
            let name = nic["iface"].as_str().filter(|name| *name != "lo");
            if let (Some((rx, tx)), Some(name)) = (both, name) {
                moment.nics.push((name.to_owned(), kilobytes(rx.saturating_add(tx))));
            }
        }
        for disk in one["disk"].as_array().into_iter().flatten() {
            let both = scaled(&disk["rkB"], 2).zip(scaled(&disk["wkB"], 2));
            let throughput = both.map(|(read, write)| kilobytes(read.saturating_add(write)));
            moment.disk(scaled(&disk["tps"], 2), throughput, scaled(&disk["await"], 3));
        }
    }

    fn finish(mut self) -> Result<(), Vec<ImportError>> {
        for ((name, at), moment) in std::mem::take(&mut self.moments) {
            let machine = self.recorder.machine(name.as_bytes());
            let network = (!moment.nics.is_empty())
                .then(|| moment.nics.iter().map(|(_, rate)| *rate).fold(0, u64::saturating_add));
            let values = [
                (Metric::Cpu, moment.cpu),
                (Metric::Memory, moment.memory),
                (Metric::Network, network),
                (Metric::DiskOperations, moment.operations.map(|hundredths| hundredths.div_ceil(100))),
                (Metric::DiskThroughput, moment.throughput),
                (Metric::DiskLatency, moment.latency),
            ];
            for (metric, value) in values {
                let Some(value) = value else { continue };
                if let Err(backwards) = self.recorder.add(machine, metric, at, value) {
                    let message = format!("`{name}`: time goes back from {} to {at}", backwards.before);
                    self.flaw(Place::File, message, "name the files in order of time");
                    break;
                }
            }
            moment.nics.iter().for_each(|(nic, rate)| self.recorder.adapter(machine, nic, *rate));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

impl Moment {
    /// Adds a disk: operations and bytes are added up, the slowest disk counts.
    fn disk(&mut self, operations: Option<u64>, throughput: Option<u64>, latency: Option<u64>) {
        let add = |sum: Option<u64>, one: Option<u64>| match (sum, one) {
            (Some(sum), Some(one)) => Some(sum.saturating_add(one)),
            (sum, one) => sum.or(one),
        };
        self.operations = add(self.operations, operations);
        self.throughput = add(self.throughput, throughput);
        self.latency = self.latency.max(latency);
    }
}

/// Hundredths of a kilobyte (1024 bytes, as sysstat has it) in bytes, rounded up.
fn kilobytes(hundredths: u64) -> u64 {
    u64::try_from((u128::from(hundredths) * 1024).div_ceil(100)).unwrap_or(u64::MAX)
}
