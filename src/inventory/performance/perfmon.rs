//! The performance monitor of Windows, as separated values; a binary log becomes that with
//! `relog FILE.blg -f CSV -o FILE.csv`.

use std::io::Read;

use csv::ByteRecord;

use super::decimal::decimal;
use super::read::Settings;
use super::recorder::{Metric, Recorder};
use super::samples::unreadable;
use crate::inventory::import::{ImportError, Place, shown};

/// What a column means.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Metric(Metric, u64),
    /// Memory that is free, in units of so many bytes: the rest is used.
    Free(u64),
    Nic(String),
    Ignored,
}

/// Reads a log.
pub(super) fn read(
    file: &str,
    input: impl Read,
    settings: &Settings<'_>,
    recorder: &mut Recorder,
) -> Result<(), Vec<ImportError>> {
    let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 20).flexible(true).from_reader(input);
    let header = reader.byte_headers().map_err(|error| vec![unreadable(file, &error)])?.clone();
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let first = names.first().map(|name| name.trim_start_matches(['\u{feff}', '"'])).unwrap_or_default();
    let Some(bias) = first.strip_prefix("(PDH-CSV 4.0) ").and_then(bias) else {
        let help = "`relog FILE.blg -f CSV -o FILE.csv` writes it; its first cell is `(PDH-CSV 4.0) (ZONE)(MINUTES)`";
        return Err(vec![ImportError::new(
            file,
            Place::Line(1),
            format!("`{}` is no header of such a log", shown(first)),
            help,
        )]);
    };
    let columns: Vec<(String, Column)> = names.iter().skip(1).map(|name| column(name)).collect();
    if columns.iter().all(|(_, column)| *column == Column::Ignored) {
        let help = "record `\\Processor(_Total)\\% Processor Time`, `\\Memory\\Available Bytes`, \
                    `\\Network Interface(*)\\Bytes Total/sec`, `\\PhysicalDisk(_Total)\\Disk Transfers/sec`, \
                    `\\PhysicalDisk(_Total)\\Disk Bytes/sec`, `\\PhysicalDisk(_Total)\\Avg. Disk sec/Transfer`";
        return Err(vec![ImportError::new(file, Place::Line(1), "no counter of it is one that sizing needs", help)]);
    }
    let total = |machine: &str| settings.memory.and_then(|memory| memory(machine));
    let mut errors = Vec::new();
    let mut row = ByteRecord::new();
    while errors.len() < 20 {
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                errors.push(unreadable(file, &error));
                break;
            }
        }
        let line = Place::Line(row.position().map_or(0, |position| position.line() as usize));
        let written = String::from_utf8_lossy(row.get(0).unwrap_or_default()).into_owned();
        let Some(at) = moment(&written, bias) else {
            let message = format!("`{}` is no time", shown(&written));
            errors.push(ImportError::new(file, line, message, "it looks like `11/22/2026 20:10:55.123`"));
            continue;
        };
        let mut network: Option<(usize, u64)> = None;
        for ((host, column), cell) in columns.iter().zip(row.iter().skip(1)) {
            // The first sample of a rate, and of a counter that was not there, is empty.
            let cell = cell.trim_ascii();
            if *column == Column::Ignored || cell.is_empty() {
                continue;
            }
            let name = settings.machine.as_deref().unwrap_or(host);
            let digits = match column {
                Column::Metric(Metric::Cpu, _) => 2,
                Column::Metric(Metric::DiskLatency, _) => 6,
                _ => 0,
            };
            let Some(number) = decimal(cell, digits) else {
                let message = format!("`{}` is not a number", shown(&String::from_utf8_lossy(cell)));
                errors.push(ImportError::new(
                    file,
                    line.clone(),
                    message,
                    "export the log again; a cell is a number or empty",
                ));
                continue;
            };
            let machine = recorder.machine(name.as_bytes());
            let outcome = match column {
                Column::Metric(metric, factor) => recorder.add(machine, *metric, at, number.saturating_mul(*factor)),
                Column::Free(unit) => match total(name) {
                    Some(total) => {
                        let used = total.0.saturating_sub(number.saturating_mul(*unit));
                        recorder.add(machine, Metric::Memory, at, used)
                    }
                    None => {
                        let message = format!("free memory says nothing: how much `{}` has is not known", shown(name));
                        let help = "import the machine's inventory first, or record `\\Memory\\Committed Bytes`";
                        return Err(vec![ImportError::new(file, Place::Line(1), message, help)]);
                    }
                },
                Column::Nic(nic) => {
                    recorder.adapter(machine, nic, number);
                    network = Some((machine, network.map_or(0, |(_, sum)| sum).saturating_add(number)));
                    Ok(())
                }
                Column::Ignored => Ok(()),
            };
            if let Err(backwards) = outcome {
                let message = format!("time goes back from {} to {at}", backwards.before);
                errors.push(ImportError::new(file, line.clone(), message, "name the files in order of time"));
                break;
            }
        }
        if let Some((machine, sum)) = network {
            // The times of this row have been accepted above, or it has no other metric.
            if recorder.add(machine, Metric::Network, at, sum).is_err() {
                errors.push(ImportError::new(file, line, "time goes back", "name the files in order of time"));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `(GMT Standard Time)(-60)`: minutes that are added to local time for UTC.
fn bias(zone: &str) -> Option<i64> {
    zone.trim_end_matches('"').rsplit_once('(')?.1.strip_suffix(')')?.parse().ok()
}

/// `11/22/2026 20:10:55.123`.
fn moment(text: &str, bias: i64) -> Option<i64> {
    let (date, clock) = text.trim().split_once(' ')?;
    let mut date = date.split('/').map(str::parse::<i16>);
    let (month, day, year) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let clock: jiff::civil::Time = clock.parse().ok()?;
    let date = jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let utc = date.to_datetime(clock).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    utc.timestamp().as_second().checked_add(bias.checked_mul(60)?)
}

/// `\\WEB01\Processor(_Total)\% Processor Time`: the machine and what the column means.
fn column(path: &str) -> (String, Column) {
    let path = path.trim_matches('"');
    let Some((host, counter)) = path.strip_prefix("\\\\").and_then(|rest| rest.split_once('\\')) else {
        return (String::new(), Column::Ignored);
    };
    let lower = counter.to_ascii_lowercase();
    let column = match lower.as_str() {
        "processor(_total)\\% processor time" | "processor information(_total)\\% processor time" => {
            Column::Metric(Metric::Cpu, 1)
        }
        "memory\\committed bytes" => Column::Metric(Metric::Memory, 1),
        "memory\\available bytes" => Column::Free(1),
        "memory\\available kbytes" => Column::Free(1 << 10),
        "memory\\available mbytes" => Column::Free(1 << 20),
        "physicaldisk(_total)\\disk transfers/sec" => Column::Metric(Metric::DiskOperations, 1),
        "physicaldisk(_total)\\disk bytes/sec" => Column::Metric(Metric::DiskThroughput, 1),
        "physicaldisk(_total)\\avg. disk sec/transfer" => Column::Metric(Metric::DiskLatency, 1),
        _ if lower.starts_with("network interface(") && lower.ends_with(")\\bytes total/sec") => {
            let name = counter.get("network interface(".len()..counter.len() - ")\\bytes total/sec".len());
            match name
                .filter(|name| !name.to_lowercase().contains("loopback") && !name.to_lowercase().contains("isatap"))
            {
                Some(name) => Column::Nic(name.to_owned()),
                None => Column::Ignored,
            }
        }
        _ => Column::Ignored,
    };
    (host.to_lowercase(), column)
}
