//! Files of recordings.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use camino::Utf8Path;

use super::recorder::{Metric, Recorder};
use super::{perfmon, prometheus, samples, sysstat};
use crate::inventory::import::ImportError;
use crate::inventory::model::Method;
use crate::units::ByteCount;

/// A kind of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingKind {
    /// A plain table: `machine,time,cpu_percent,..`.
    Samples,
    /// sysstat: `sadf -d` or `sadf -j`.
    Sysstat,
    /// The performance monitor of Windows, as separated values.
    PerformanceMonitor,
    /// A range of Prometheus, as JSON.
    Prometheus,
    /// `Get-Stat` of PowerCLI, as separated values.
    Vsphere,
}

impl RecordingKind {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("samples", Self::Samples),
        ("sysstat", Self::Sysstat),
        ("perfmon", Self::PerformanceMonitor),
        ("prometheus", Self::Prometheus),
        ("vsphere", Self::Vsphere),
    ];

    /// How such facts were observed.
    pub fn method(self) -> Method {
        match self {
            Self::Samples => Method::Samples,
            Self::Sysstat => Method::Sysstat,
            Self::PerformanceMonitor => Method::PerformanceMonitor,
            Self::Prometheus => Method::Prometheus,
            Self::Vsphere => Method::Vsphere,
        }
    }

    /// Tells the kind by how a file begins.
    fn detect(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(&head[..head.len().min(4096)]).into_owned();
        let text = text.trim_start_matches('\u{feff}');
        let first = text.lines().next().unwrap_or_default();
        match text {
            _ if first.contains("(PDH-CSV") => Some(Self::PerformanceMonitor),
            _ if first.starts_with("# hostname") => Some(Self::Sysstat),
            _ if first.contains("MetricId") && first.contains("Entity") => Some(Self::Vsphere),
            _ if text.starts_with('{') && text.contains("\"sysstat\"") => Some(Self::Sysstat),
            _ if text.starts_with('{') && text.contains("\"resultType\"") => Some(Self::Prometheus),
            _ if text.starts_with('{') && text.contains("\"status\"") => Some(Self::Prometheus),
            _ if first.starts_with("machine,time,") => Some(Self::Samples),
            _ => None,
        }
    }
}

/// How much memory a machine has, by its name.
pub type MemoryOf<'a> = &'a dyn Fn(&str) -> Option<ByteCount>;

/// What a file does not say itself.
#[derive(Clone, Default)]
pub struct Settings<'a> {
    /// What its values are, for exports of Prometheus.
    pub metric: Option<Metric>,
    /// The machine it is of, if the file does not name it or by another name.
    pub machine: Option<String>,
    /// How much memory a machine has, where a file says only how much is free.
    pub memory: Option<MemoryOf<'a>>,
}

/// Reads a file into the recorder; what it is.
pub fn record_file(
    path: &Utf8Path,
    kind: Option<RecordingKind>,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<RecordingKind, Vec<ImportError>> {
    let refuse = |message: String, help: &str| {
        vec![ImportError::new(path.as_str(), crate::inventory::import::Place::File, message, help)]
    };
    let file = File::open(path).map_err(|error| refuse(format!("it cannot be read: {error}"), "check the path"))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let head = reader.fill_buf().map_err(|error| refuse(format!("it cannot be read: {error}"), "check the path"))?;
    if head.starts_with(b"PERF") || head.starts_with(&[0xff, 0xfe]) || head.get(1) == Some(&0) {
        let help = "a binary log becomes separated values with `relog FILE.blg -f CSV -o FILE.csv`";
        return Err(refuse("it is a binary file".to_owned(), help));
    }
    let Some(kind) = kind.or_else(|| RecordingKind::detect(head)) else {
        let names: Vec<&str> = RecordingKind::ALL.iter().map(|(name, _)| *name).collect();
        let help = format!("say what it is: `--from {}`; a plain table begins with `machine,time,`", names.join("|"));
        return Err(refuse("nothing tells what kind of recording it is".to_owned(), &help));
    };
    record_reader(path.as_str(), kind, reader, settings, recorder).map(|()| kind)
}

/// Reads a recording from anywhere.
pub fn record_reader(
    file: &str,
    kind: RecordingKind,
    reader: impl Read,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<(), Vec<ImportError>> {
    match kind {
        RecordingKind::Samples => samples::read(file, reader, recorder),
        RecordingKind::Vsphere => samples::read_vsphere(file, reader, settings, recorder),
        RecordingKind::Sysstat => sysstat::read(file, reader, settings, recorder),
        RecordingKind::PerformanceMonitor => perfmon::read(file, reader, settings, recorder),
        RecordingKind::Prometheus => prometheus::read(file, reader, settings, recorder),
    }
}
