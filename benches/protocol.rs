//! What the protocol between agent and controller costs: both as processes of the release build on the loopback, sharing
//! this machine's cores, beside the local engine on the same disk.
//!
//! `cargo bench --bench protocol` prints the table of `docs/benchmarks.md`; `REPLANT_BENCH_MIB` is the disk's size (1024),
//! `REPLANT_BENCH_RUNS` how often each row is measured (3; medians), `REPLANT_BENCH_FOLDER` where (a temporary folder).
//! Half of the disk's chunks compress about as file systems do, a quarter is noise, a quarter zeros; it is read from a
//! warm page cache. A row's processor time is that of all processes that took part.

#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() -> Outcome<()> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |value| value.parse());
    let (mib, runs) = (number("REPLANT_BENCH_MIB", 1024)?, number("REPLANT_BENCH_RUNS", 3)?.max(1));
    let folder = match std::env::var_os("REPLANT_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let bench = Bench { folder: folder.path().to_owned(), size: mib << 20 };
    let disk = bench.path("disk.raw");
    make_disk(&disk, bench.size)?;
    println!(
        "{} cores, disk of {mib} MiB, medians of {runs} runs, load {}\n",
        std::thread::available_parallelism()?,
        std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or("?")
    );
    println!("| job | wall s | cpu s | MB/s of disk |\n|---|---|---|---|");
    let mut rows: Vec<(&str, Vec<Cost>)> = Vec::new();
    let mut add = |name: &'static str, cost: Cost| match rows.iter_mut().find(|(known, _)| *known == name) {
        Some((_, costs)) => costs.push(cost),
        None => rows.push((name, vec![cost])),
    };
    for _ in 0..runs {
        bench.round(&disk, &mut add)?;
    }
    let middle = |costs: &[Cost]| {
        let mut sorted = costs.to_vec();
        sorted.sort_by_key(|cost| cost.wall);
        sorted[sorted.len() / 2]
    };
    for (name, costs) in &rows {
        let Cost { wall, cpu } = middle(costs);
        let rate = bench.size as f64 / 1e6 / wall.as_secs_f64();
        println!("| {name} | {:.2} | {:.2} | {rate:.0} |", wall.as_secs_f64(), cpu.as_secs_f64());
    }
    let cost = |name: &str| rows.iter().find(|(known, _)| *known == name).map(|(_, costs)| middle(costs));
    if let (Some(local), Some(remote), Some(known)) = (cost(LOCAL_NEW), cost(REMOTE_NEW), cost(REMOTE_KNOWN)) {
        let times = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        println!(
            "\nnew chunks: {:.2}x the wall time and {:.2}x the processor time of the local engine (bar: 1.3x)\n\
             known chunks: {:.0} MB/s (bar: 1000)",
            times(remote.wall, local.wall),
            times(remote.cpu, local.cpu),
            bench.size as f64 / 1e6 / known.wall.as_secs_f64()
        );
    }
    Ok(())
}

const LOCAL_NEW: &str = "local engine, capture, everything new";
const LOCAL_KNOWN: &str = "local engine, capture, everything known";
const LOCAL_DEPLOY: &str = "local engine, deploy to raw";
const REMOTE_NEW: &str = "agent and controller, capture, everything new";
const REMOTE_KNOWN: &str = "agent and controller, capture, everything known";
const REMOTE_DEPLOY: &str = "agent and controller, deploy";

struct Bench {
    folder: PathBuf,
    size: u64,
}

const STORE_KEY: [&str; 2] = ["--key", "file:.replant/store.key"];

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn round(&self, disk: &Path, add: &mut impl FnMut(&'static str, Cost)) -> Outcome<()> {
        let site = tempfile::tempdir_in(&self.folder)?;
        let site = Site { folder: site.path() };
        let disk = disk.to_str().ok_or("a plain path")?;
        site.run(&["init", "."])?;
        // The local engine, into a store of its own. The second machine's chunks are all known.
        for (machine, name) in [("one", LOCAL_NEW), ("two", LOCAL_KNOWN)] {
            let words = [
                &["image", "capture", "--store", "local", "--machine", machine, "--disk", "disk0"][..],
                &["--source", disk, "--format", "raw"],
                &STORE_KEY,
            ];
            add(name, site.timed(&words.concat(), &[])?);
        }
        let target = site.folder.join("target.raw");
        self.empty(&target)?;
        let to = target.to_str().ok_or("a plain path")?;
        let words = [
            &[
                "image",
                "deploy",
                "--store",
                "local",
                "--machine",
                "one",
                "--disk",
                "disk0",
                "--format",
                "raw",
                "--to",
                to,
            ][..],
            &STORE_KEY,
        ];
        add(LOCAL_DEPLOY, site.timed(&words.concat(), &[])?);

        let mut controller = site.start(&["serve", "--json", "--bind", "127.0.0.1:0"])?;
        let mut line = String::new();
        BufReader::new(controller.0.stdout.take().ok_or("it was piped")?).read_line(&mut line)?;
        let said: serde_json::Value = serde_json::from_str(&line)?;
        let url = format!("https://{}", said["address"].as_str().ok_or("it listens")?);
        site.run(&["device", "add", "--name", "web01", "--mac", "52:54:00:70:32:11"])?;
        let order = site.run(&["device", "boot-agent", "web01", "--order", &url])?;
        self.empty(&target)?;
        let (source, target) = (format!("{disk}=SOURCE0"), format!("{to}=TARGET0"));
        let agent = site.start(&["agent", "run", "--order", order.trim(), "--disk", &source, "--disk", &target])?;
        site.run(&["device", "wait", "web01", "--timeout", "60s"])?;
        let size = self.size.to_string();
        for (machine, name) in [("one", REMOTE_NEW), ("two", REMOTE_KNOWN)] {
            let words = [
                &["device", "capture", "web01", "--machine", machine, "--disk", "disk0", "--identity", "bench"][..],
                &["--size", &size, "--serial", "SOURCE0"],
                &STORE_KEY,
            ];
            add(name, site.timed(&words.concat(), &[&agent, &controller])?);
        }
        let words = [
            &["device", "deploy", "web01", "--machine", "one", "--disk", "disk0", "--serial", "TARGET0"][..],
            &STORE_KEY,
        ];
        add(REMOTE_DEPLOY, site.timed(&words.concat(), &[&agent, &controller])?);
        Ok(())
    }

    fn empty(&self, path: &Path) -> Outcome<()> {
        Ok(std::fs::File::create(path)?.set_len(self.size)?)
    }
}

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site<'a> {
    folder: &'a Path,
}

impl Site<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replant"));
        command.args(words).current_dir(self.folder).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Outcome<String> {
        let output = self.command(words).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    fn start(&self, words: &[&str]) -> Outcome<Running> {
        Ok(Running(self.command(words).stdout(Stdio::piped()).spawn()?))
    }

    /// Runs a verb to its end; its cost, with that of processes that worked for it.
    fn timed(&self, words: &[&str], also: &[&Running]) -> Outcome<Cost> {
        let spent = || -> Outcome<Duration> {
            let others = also.iter().map(|running| cpu_of(&format!("/proc/{}/stat", running.0.id()), [13, 14]));
            let children = cpu_of("/proc/self/stat", [15, 16])?;
            others.sum::<Outcome<Duration>>().map(|others| others + children)
        };
        let (before, begun) = (spent()?, Instant::now());
        self.run(words)?;
        let wall = begun.elapsed();
        Ok(Cost { wall, cpu: spent()? - before })
    }
}

/// Processor time by two fields of a `stat` file, counted from 0.
fn cpu_of(path: &str, fields: [usize; 2]) -> Outcome<Duration> {
    let text = std::fs::read_to_string(path)?;
    // The name of the program, in parentheses, may have spaces.
    let (_, rest) = text.rsplit_once(") ").ok_or("a stat file")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let ticks = fields.map(|field| words[field - 2].parse::<u64>());
    let [user, system] = ticks;
    Ok(Duration::from_millis((user? + system?) * 10))
}

/// Words of a small vocabulary in random order, noise, and zeros, a MiB of each.
fn make_disk(path: &Path, size: u64) -> Outcome<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut dice = blake3::Hasher::new().update(b"a benchmark's disk").finalize_xof();
    let mut random = vec![0; 1 << 20];
    for index in 0..size >> 20 {
        let chunk = match index % 4 {
            0 => vec![0; 1 << 20],
            1 => {
                dice.fill(&mut random);
                random.clone()
            }
            _ => {
                // Two bytes of chance for each piece of 8 to 40 bytes: it shrinks to about a third.
                let mut text = Vec::with_capacity((1 << 20) + 64);
                let mut seeds = vec![0; 1 << 18];
                dice.fill(&mut seeds);
                for pair in seeds.chunks_exact(2) {
                    let word = u16::from_le_bytes([pair[0], pair[1]]) % 4096;
                    let hash = blake3::hash(&word.to_le_bytes());
                    text.extend_from_slice(&hash.as_bytes()[..4 + usize::from(word % 9)]);
                    if text.len() >= 1 << 20 {
                        break;
                    }
                }
                text.resize(1 << 20, b' ');
                text
            }
        };
        file.write_all(&chunk)?;
    }
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(())
}
