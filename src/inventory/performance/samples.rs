//! Plain tables, one row per machine and time; and what PowerCLI exports.

use std::collections::HashMap;
use std::io::Read;

use csv::ByteRecord;

use super::decimal::decimal;
use super::read::Settings;
use super::recorder::{Metric, Recorder};
use crate::inventory::import::{ImportError, Place, shown};

/// This many flaws are reported; a file with more is another kind of file.
const MOST_ERRORS: usize = 20;

/// Seconds since 1970, or `2026-11-22T20:10:55Z`, or the same with a space.
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    if !text.is_empty() && text.len() <= 12 && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')));
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_second());
    }
    let text = text.trim_end_matches(" UTC").replacen(' ', "T", 1);
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn reader<R: Read>(input: R, delimiter: u8) -> csv::Reader<R> {
    csv::ReaderBuilder::new().buffer_capacity(1 << 20).delimiter(delimiter).flexible(true).from_reader(input)
}

pub(super) fn unreadable(file: &str, error: &csv::Error) -> ImportError {
    let line = error.position().map_or(1, |position| position.line() as usize);
    ImportError::new(file, Place::Line(line), format!("the row cannot be read: {error}"), "export it again")
}

/// A table with a header: `machine`, `time` and columns of metrics, in any order.
pub(super) fn read(file: &str, input: impl Read, recorder: &mut Recorder) -> Result<(), Vec<ImportError>> {
    let mut reader = reader(input, b',');
    let header = reader.byte_headers().map_err(|error| vec![unreadable(file, &error)])?.clone();
    let place = |name: &str| header.iter().position(|column| column.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
    let metrics: Vec<(usize, Metric)> =
        Metric::ALL.into_iter().filter_map(|metric| Some((place(metric.column())?, metric))).collect();
    let (Some(name_at), Some(time_at), false) = (place("machine"), place("time"), metrics.is_empty()) else {
        let columns: Vec<&str> = Metric::ALL.iter().map(|metric| metric.column()).collect();
        let message = "the header lacks `machine`, `time` or every metric".to_owned();
        let help = format!("the first row is `machine,time` and some of {}", columns.join(", "));
        return Err(vec![ImportError::new(file, Place::Line(1), message, help)]);
    };
    let mut errors = Vec::new();
    let mut row = ByteRecord::new();
    while errors.len() < MOST_ERRORS {
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                errors.push(unreadable(file, &error));
                break;
            }
        }
        let line = || Place::Line(row.position().map_or(0, |position| position.line() as usize));
        let name = row.get(name_at).unwrap_or_default().trim_ascii();
        let Some(at) = row.get(time_at).and_then(time).filter(|_| !name.is_empty()) else {
            let written = String::from_utf8_lossy(row.as_slice()).into_owned();
            let message = format!("no machine or no time: `{}`", shown(&written));
            let help = "`time` is a number of seconds since 1970, or `2026-11-22T20:10:55Z`";
            errors.push(ImportError::new(file, line(), message, help));
            continue;
        };
        let machine = recorder.machine(name);
        for (column, metric) in &metrics {
            let written = row.get(*column).unwrap_or_default();
            if written.is_empty() {
                continue;
            }
            let Some(value) = decimal(written, metric.digits()) else {
                let message = format!("`{}` cannot be `{}`", metric.column(), shown(&String::from_utf8_lossy(written)));
                errors.push(ImportError::new(file, line(), message, "write a number from 0, or leave it empty"));
                continue;
            };
            if let Err(backwards) = recorder.add(machine, *metric, at, value) {
                let message = format!("time goes back from {} to {at}", backwards.before);
                errors.push(ImportError::new(file, line(), message, "sort the rows of each machine by time"));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `Get-Stat | Select-Object Entity, MetricId, Timestamp, Value, Instance | Export-Csv`, sorted here.
pub(super) fn read_vsphere(
    file: &str,
    input: impl Read,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<(), Vec<ImportError>> {
    let mut reader = reader(input, b',');
    let header = reader.byte_headers().map_err(|error| vec![unreadable(file, &error)])?.clone();
    let place = |name: &str| header.iter().position(|column| column.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
    let columns = (place("Entity"), place("MetricId"), place("Timestamp"), place("Value"));
    let (Some(entity), Some(metric), Some(time_at), Some(value_at)) = columns else {
        let help = "`Get-Stat ... | Select-Object Entity, MetricId, Timestamp, Value, Instance | Export-Csv -NoTypeInformation`";
        return Err(vec![ImportError::new(
            file,
            Place::Line(1),
            "the header lacks `Entity`, `MetricId`, `Timestamp` or `Value`",
            help,
        )]);
    };
    let instance = place("Instance");
    let mut errors = Vec::new();
    let mut all: HashMap<(String, Metric), Vec<(i64, u64)>> = HashMap::new();
    let mut row = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(vec![unreadable(file, &error)]),
        }
        // A row of one processor or disk is part of the machine's own row, whose instance is empty.
        if instance.and_then(|at| row.get(at)).is_some_and(|name| !name.is_empty()) {
            continue;
        }
        let (metric, digits, factor) = match row.get(metric).unwrap_or_default() {
            b"cpu.usage.average" => (Metric::Cpu, 2, 1),
            b"mem.consumed.average" => (Metric::Memory, 0, 1024),
            b"net.usage.average" => (Metric::Network, 0, 1024),
            b"disk.usage.average" | b"virtualDisk.usage.average" => (Metric::DiskThroughput, 0, 1024),
            b"disk.numberReadAveraged.average" => (Metric::DiskOperations, 0, 1),
            b"disk.maxTotalLatency.latest" => (Metric::DiskLatency, 0, 1000),
            _ => continue,
        };
        let name = settings
            .machine
            .clone()
            .unwrap_or_else(|| String::from_utf8_lossy(row.get(entity).unwrap_or_default()).into_owned());
        let (at, written) = (row.get(time_at).unwrap_or_default(), row.get(value_at).unwrap_or_default());
        match time(at).zip(decimal(written, digits).and_then(|value| value.checked_mul(factor))) {
            Some(sample) => all.entry((name, metric)).or_default().push(sample),
            None if errors.len() < MOST_ERRORS => {
                let line = row.position().map_or(0, |position| position.line() as usize);
                let message = format!(
                    "no time or no number: `{}`, `{}`",
                    shown(&String::from_utf8_lossy(at)),
                    shown(&String::from_utf8_lossy(written))
                );
                let help = "write times with `.ToUniversalTime().ToString('s') + 'Z'`: they mean the same everywhere";
                errors.push(ImportError::new(file, Place::Line(line), message, help));
            }
            None => {}
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for ((name, metric), mut samples) in all {
        let machine = recorder.machine(name.as_bytes());
        samples.sort_unstable();
        for (at, value) in samples {
            // Sorted: time goes back only where an earlier file went further.
            if recorder.add(machine, metric, at, value).is_err() {
                errors.push(ImportError::new(
                    file,
                    Place::File,
                    format!("`{}` has older samples than a file before", shown(&name)),
                    "name the files in order of time",
                ));
                break;
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
