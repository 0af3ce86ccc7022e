//! Every machine of a recording.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::meter::{Backwards, Meter, Summary};
use crate::inventory::model::{Distribution, Fact, Facts, LoadWord, NicLoad, PeakWord, Series, UtilisationFacts, text};
use crate::units::{ByteCount, ByteRate, Percent};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Use of all processors together, in hundredths of a percent.
    Cpu,
    /// Memory in use, in bytes.
    Memory,
    /// Network, both ways together, in bytes per second.
    Network,
    /// Disk operations per second.
    DiskOperations,
    /// Disk bytes per second.
    DiskThroughput,
    /// Microseconds per disk operation.
    DiskLatency,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::Memory, Self::Network, Self::DiskOperations, Self::DiskThroughput, Self::DiskLatency];

    /// The name of its column in a plain table.
    pub fn column(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_percent",
            Self::Memory => "memory_bytes",
            Self::Network => "network_bytes_per_second",
            Self::DiskOperations => "disk_operations_per_second",
            Self::DiskThroughput => "disk_bytes_per_second",
            Self::DiskLatency => "disk_latency_ms",
        }
    }

    /// Decimals of a file's number that count.
    pub fn digits(self) -> u32 {
        match self {
            Self::Cpu => 2,
            Self::DiskLatency => 3,
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Machine {
    meters: [Option<Box<Meter>>; 6],
    nics: BTreeMap<String, u64>,
}

/// Samples of many machines.
#[derive(Debug)]
pub struct Recorder {
    window: u64,
    by_name: HashMap<Box<[u8]>, usize>,
    machines: Vec<(String, Machine)>,
}

impl Recorder {
    /// A recorder; a load must last for `window` seconds to count as sustained.
    pub fn new(window: u64) -> Self {
        Self { window, by_name: HashMap::new(), machines: Vec::new() }
    }

    /// The place of a machine, new or known.
    pub fn machine(&mut self, name: &[u8]) -> usize {
        match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let at = self.machines.len();
                self.by_name.insert(name.into(), at);
                self.machines.push((String::from_utf8_lossy(name).into_owned(), Machine::default()));
                at
            }
        }
    }

    /// Adds a sample of a machine.
    pub fn add(&mut self, machine: usize, metric: Metric, time: i64, value: u64) -> Result<(), Backwards> {
        let window = self.window;
        let meter = &mut self.machines[machine].1.meters[metric as usize];
        meter.get_or_insert_with(|| Box::new(Meter::new(window))).add(time, value)
    }

    /// Notes what one adapter of a machine carried.
    pub fn adapter(&mut self, machine: usize, name: &str, rate: u64) {
        let nics = &mut self.machines[machine].1.nics;
        match nics.get_mut(name) {
            Some(peak) => *peak = rate.max(*peak),
            None => _ = nics.insert(name.to_owned(), rate),
        }
    }

    /// How many machines there are.
    pub fn len(&self) -> usize {
        self.machines.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// A machine's summary of a metric.
    pub fn summary(&self, name: &str, metric: Metric) -> Option<Summary> {
        let at = *self.by_name.get(name.as_bytes())?;
        self.machines[at].1.meters[metric as usize].as_ref()?.summary()
    }

    /// The machines with what they use, in the order they were met.
    pub fn facts(&self, load: Option<LoadWord>) -> Vec<(String, Facts)> {
        let facts =
            |machine: &Machine| Facts { utilisation: Box::new(self.utilisation(machine, load)), ..Facts::default() };
        self.machines.iter().map(|(name, machine)| (name.clone(), facts(machine))).collect()
    }

    fn utilisation(&self, machine: &Machine, load: Option<LoadWord>) -> UtilisationFacts {
        let summary = |metric: Metric| machine.meters[metric as usize].as_ref()?.summary();
        let all: Vec<Summary> = Metric::ALL.into_iter().filter_map(summary).collect();
        let time = |seconds: i64| Timestamp::from_second(seconds).ok().map(Fact::of);
        let percent = |value: u64| Fact::of(Percent(u32::try_from(value.min(10_000)).unwrap_or(10_000)));
        let mut used = UtilisationFacts {
            from_time: all.iter().map(|one| one.first).min().and_then(time),
            to_time: all.iter().map(|one| one.last).max().and_then(time),
            interval: all.iter().map(|one| one.interval).min().map(Fact::of),
            samples: all.iter().map(|one| one.samples).max().map(Fact::of),
            missing: all.iter().map(|one| one.missing).max().map(Fact::of),
            gaps: all.iter().map(|one| one.gaps).max().map(Fact::of),
            window: Some(Fact::of(self.window)),
            load: Fact::maybe(load),
            ..UtilisationFacts::default()
        };
        if let Some(cpu) = summary(Metric::Cpu) {
            used.cpu_peak = Some(percent(cpu.peak.0));
            // A recording shorter than the window has no load that lasts: its highest sample is the safe answer.
            let (sustained, at) = cpu.sustained.unwrap_or(cpu.peak);
            used.cpu = Some(percent(sustained));
            used.cpu_at = time(at);
        }
        if let Some(memory) = summary(Metric::Memory) {
            let sustained = memory.sustained.unwrap_or(memory.peak).0;
            let lasts = u128::from(sustained) * 10 >= u128::from(memory.peak.0) * 9;
            used.memory = Some(Fact::of(ByteCount(memory.peak.0)));
            used.memory_at = time(memory.peak.1);
            used.memory_sustained = Some(Fact::of(ByteCount(sustained)));
            used.memory_peak = Some(Fact::of(if lasts { PeakWord::Sustained } else { PeakWord::Spike }));
        }
        let nic = |name: &str, peak: u64| NicLoad {
            name: text(name),
            peak: Some(Fact::of(ByteRate(peak))),
            ..NicLoad::default()
        };
        used.nics = machine.nics.iter().map(|(name, peak)| nic(name, *peak)).collect();
        if let (true, Some(network)) = (used.nics.is_empty(), summary(Metric::Network)) {
            used.nics.push(nic("all", network.peak.0));
        }
        let distribution = |metric: Metric| -> Box<Distribution> {
            let Some(one) = summary(metric) else { return Box::default() };
            let [p50, p95, p99] = one.percentiles.map(|value| Some(Fact::of(value)));
            Box::new(Distribution { p50, p95, p99, peak: Some(Fact::of(one.peak.0)) })
        };
        used.disk.operations = distribution(Metric::DiskOperations);
        used.disk.throughput = distribution(Metric::DiskThroughput);
        used.disk.latency = distribution(Metric::DiskLatency);
        let curves = [
            (Metric::Cpu, "cpu"),
            (Metric::Memory, "memory"),
            (Metric::Network, "network"),
            (Metric::DiskOperations, "disk"),
        ];
        for (metric, name) in curves {
            let Some(meter) = &machine.meters[metric as usize] else { continue };
            let line = |values: &mut dyn Iterator<Item = Option<u64>>| {
                let words: Vec<String> =
                    values.map(|value| value.map_or_else(|| "-".to_owned(), |value| value.to_string())).collect();
                text(words.join(" "))
            };
            used.series.push(Series {
                name: text(name),
                start: time(meter.curve.start()),
                step: Some(Fact::of(meter.curve.step().unsigned_abs())),
                high: line(&mut meter.curve.high()),
                mean: line(&mut meter.curve.mean()),
            });
        }
        used
    }
}
