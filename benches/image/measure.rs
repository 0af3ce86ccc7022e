//! Wall time, processor time, memory, and the machine they were measured on.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::Outcome;

/// What a run cost.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    /// Of this process and of all it waited for.
    pub cpu: Duration,
}

impl Cost {
    /// How many times this is the other's processor time, and its wall time.
    pub fn times(&self, other: Cost) -> String {
        let ratio = |one: Duration, two: Duration| one.as_secs_f64() / two.as_secs_f64().max(0.001);
        format!("{:.2}x wall, {:.2}x cpu", ratio(self.wall, other.wall), ratio(self.cpu, other.cpu))
    }
}

/// The medians of costs.
pub fn middle(costs: &[Cost]) -> Cost {
    let of = |value: fn(&Cost) -> Duration| {
        let mut values: Vec<Duration> = costs.iter().map(value).collect();
        values.sort();
        values[values.len() / 2]
    };
    Cost { wall: of(|cost| cost.wall), cpu: of(|cost| cost.cpu) }
}

/// One run.
pub fn once(mut job: impl FnMut() -> Outcome<()>) -> Outcome<Cost> {
    let (wall, cpu) = (Instant::now(), cpu_time()?);
    job()?;
    Ok(Cost { wall: wall.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) })
}

fn cpu_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.get(11..15).ok_or("no times in /proc/self/stat")?.iter().map(|field| field.parse().unwrap_or(0)).sum();
    // The kernel counts in hundredths of a second here, whatever its own clock is.
    Ok(Duration::from_millis(ticks * 10))
}

/// The most memory that a process had, in MiB, and how it ended.
pub fn peak_memory(mut child: Child) -> Outcome<u64> {
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024);
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(peak) } else { Err(format!("it ended with {status}").into()) };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processor, features, cores, kernel, load.
pub fn machine() -> Outcome<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let flags = value("flags");
    let known = ["aes", "vaes", "avx2", "avx512f", "sha_ni"];
    let features: Vec<&str> =
        known.into_iter().filter(|name| flags.split_whitespace().any(|flag| flag == *name)).collect();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "{}, {} cores ({}), load {} when it began",
        value("model name"),
        std::thread::available_parallelism()?,
        features.join(" "),
        load.split_whitespace().next().unwrap_or("unknown")
    ))
}

/// Runs a script with `sh -euc`, arguments `$1`, `$2`, ...; an error has what it said.
pub fn sh(script: &str, arguments: &[&Path]) -> Outcome<String> {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{script}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Makes a file durable.
pub fn sync(path: &Path) -> Outcome<()> {
    Ok(File::open(path)?.sync_all()?)
}

/// Waits until nothing is left to write: what one job leaves behind must not slow the next.
pub fn settle() -> Outcome<()> {
    sh("sync", &[]).map(drop)
}

/// Prints a row: what, wall seconds, processor seconds, MB/s of `bytes`, bytes out, a remark.
pub fn row(name: &str, cost: Cost, bytes: u64, out: u64, remark: &str) {
    let rate = bytes as f64 / 1e6 / cost.wall.as_secs_f64();
    println!(
        "| {name} | {:.2} | {:.2} | {rate:.0} | {:.1} | {remark} |",
        cost.wall.as_secs_f64(),
        cost.cpu.as_secs_f64(),
        out as f64 / 1e6
    );
}

/// Prints the head of rows.
pub fn head(first: &str) {
    println!("| {first} | wall s | cpu s | MB/s used | MB out | |\n|---|---|---|---|---|---|");
}
