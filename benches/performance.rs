//! Recordings of a fleet: samples per second and memory, with the cost of making the rows apart from reading them.
//!
//! `cargo bench --bench performance` takes 1,000 machines x 1 day x 1 minute; `REPLANT_BENCH_FULL=1` 30 days.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::io::Read;
use std::time::Instant;

use replant::inventory::performance::{Metric, Recorder, RecordingKind, Settings, record_reader};

const MACHINES: u64 = 1000;
const START: u64 = 1_790_000_000;

/// Rows as a collector writes them: every machine, minute after minute.
struct Rows {
    minute: u64,
    minutes: u64,
    buffer: Vec<u8>,
    taken: usize,
    bytes: u64,
}

impl Rows {
    fn new(minutes: u64) -> Self {
        let buffer = b"machine,time,cpu_percent,memory_bytes\n".to_vec();
        Self { minute: 0, minutes, buffer, taken: 0, bytes: 0 }
    }

    fn fill(&mut self) {
        self.buffer.clear();
        self.taken = 0;
        if self.minute == self.minutes {
            return;
        }
        let time = START + self.minute * 60;
        for machine in 0..MACHINES {
            let noise = (machine * 2_654_435_761 + self.minute * 40_503) >> 7;
            self.buffer.extend_from_slice(b"web");
            digits(&mut self.buffer, 1000 + machine);
            self.buffer.push(b',');
            digits(&mut self.buffer, time);
            self.buffer.push(b',');
            digits(&mut self.buffer, noise % 97);
            self.buffer.push(b'.');
            digits(&mut self.buffer, 10 + noise % 90);
            self.buffer.push(b',');
            digits(&mut self.buffer, (2 << 30) + (noise % 4096) * 262_144);
            self.buffer.push(b'\n');
        }
        self.minute += 1;
    }
}

fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0_u8; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

impl Read for Rows {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.fill();
        }
        let length = into.len().min(self.buffer.len() - self.taken);
        into[..length].copy_from_slice(&self.buffer[self.taken..self.taken + length]);
        self.taken += length;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// The most memory this process has had, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let days = if std::env::var_os("REPLANT_BENCH_FULL").is_some() { 30 } else { 1 };
    let minutes = days * 24 * 60;
    let rows = MACHINES * minutes;
    let mut making = Rows::new(minutes);
    let begin = Instant::now();
    let mut sink = vec![0; 1 << 20];
    while making.read(&mut sink).expect("rows are made") > 0 {}
    let made = begin.elapsed();

    let mut recorder = Recorder::new(900);
    let begin = Instant::now();
    record_reader("rows", RecordingKind::Samples, Rows::new(minutes), &Settings::default(), &mut recorder)
        .expect("the rows are good");
    let both = begin.elapsed();
    let summary = recorder.summary("web1007", Metric::Cpu).expect("the machine is there");
    assert_eq!(summary.samples, minutes);
    assert_eq!(recorder.len() as u64, MACHINES);
    let begin = Instant::now();
    let facts = recorder.facts(None);
    let told = begin.elapsed();

    println!(
        "| machines | days | rows | metrics a row | GB | making the rows | making and reading | rows/s read | facts | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    println!(
        "| {} | {days} | {rows} | 2 | {:.2} | {:.1} s | {:.1} s | {:.1} M | {:.2} s | {} MiB |",
        facts.len(),
        making.bytes as f64 / 1e9,
        made.as_secs_f64(),
        both.as_secs_f64(),
        rows as f64 / 1e6 / (both.saturating_sub(made)).as_secs_f64().max(1e-9),
        told.as_secs_f64(),
        peak_memory(),
    );
}
