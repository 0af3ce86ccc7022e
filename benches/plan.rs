//! How long a plan takes from its file to every rendered artifact, how much processor and how much memory. Each size
//! runs in its own process. `cargo bench --bench plan`

#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use replant::journal::Ledger;
use replant::planner::{self, Selection};
use replant::provider::Catalog;
use replant::render::{NoSink, render};
use replant::{assess, inventory, plan};

/// Machines, and the bars: seconds and MiB.
const SIZES: [(usize, Option<(f64, u64)>); 3] = [(100, None), (1_430, Some((1.0, 150))), (10_000, Some((6.0, 700)))];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--child") {
        return child(&Utf8PathBuf::from(&arguments[at + 1]));
    }
    println!("| machines |  tasks | load  | look  | assess | plan  | render | wall    | CPU     | peak RSS |");
    println!("|---------:|-------:|------:|------:|-------:|------:|-------:|--------:|--------:|---------:|");
    let mut missed = Vec::new();
    for (machines, bar) in SIZES {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = write_plan(folder.path(), machines);
        let myself = std::env::current_exe().expect("a process knows its program");
        let output = Command::new(myself).arg("--child").arg(&path).output().expect("it can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the child prints JSON");
        let number = |name: &str| result[name].as_f64().expect("a number");
        let (wall, rss) = (number("wall"), number("rss") as u64);
        println!(
            "| {machines:>8} | {:>6} | {:>4.2}s | {:>4.2}s | {:>5.2}s | {:>4.2}s | {:>5.2}s | {wall:>6.2}s | {:>6.2}s | {rss:>4} MiB |",
            number("tasks"),
            number("load"),
            number("look"),
            number("assess"),
            number("plan"),
            number("render"),
            number("cpu"),
        );
        if let Some((seconds, mib)) = bar
            && (wall > seconds || rss > mib)
        {
            missed
                .push(format!("{machines} machines: {wall:.2} s and {rss} MiB, the bar is {seconds} s and {mib} MiB"));
        }
    }
    for line in &missed {
        println!("MISSED: {line}");
    }
}

/// A plan of that many one-disk machines in five waves, with sparse source disks beside it.
fn write_plan(folder: &Path, machines: usize) -> Utf8PathBuf {
    let mut yaml = String::from(
        "replant: 1\nname: fleet\nstore: { path: store, encryption: none }\nhosts:\n  local: { provider: qemu, parallel: 4 }\n\
         defaults:\n  target: { host: local, memory: 512MiB, cpus: 1, firmware: bios }\n  guest: { convert: auto }\nmachines:\n",
    );
    fs::create_dir(folder.join("source")).expect("it is new");
    for machine in 0..machines {
        let (high, low) = (machine >> 8, machine & 255);
        let _ = writeln!(
            yaml,
            "  - name: machine{machine:05}\n    source: {{ disks: [{{ path: source/m{machine:05}.raw, format: raw }}] }}\n    \
             inventory: {{ nics: [{{ mac: \"52:54:00:00:{high:02x}:{low:02x}\", name: eth0 }}] }}"
        );
        let disk = fs::File::create(folder.join(format!("source/m{machine:05}.raw"))).expect("it can be written");
        disk.set_len(8 << 30).expect("it is sparse");
    }
    yaml.push_str("waves:\n");
    for wave in 0..5 {
        let names: Vec<String> = (0..machines).filter(|m| m % 5 == wave).map(|m| format!("machine{m:05}")).collect();
        let _ = writeln!(yaml, "  - {{ name: wave{wave}, machines: [{}] }}", names.join(", "));
    }
    let path = folder.join("plan.yaml");
    fs::write(&path, yaml).expect("it can be written");
    Utf8PathBuf::from_path_buf(path).expect("temporary folders have text paths")
}

fn child(path: &Utf8PathBuf) {
    let begun = Instant::now();
    let mut last = begun;
    let mut lap = || {
        let now = Instant::now();
        let time = now - last;
        last = now;
        time.as_secs_f64()
    };
    let (plan, _) = plan::load(path).expect("the plan is valid");
    let load = lap();
    let facts = inventory::observe(&plan).expect("the disks are there");
    let (plan, _) = inventory::resolve(plan, facts).expect("all is declared");
    let look = lap();
    let catalog = Catalog::embedded().expect("the embedded providers are complete");
    assert!(!assess::assess(&plan, &catalog, &assess::rules::NotAsked).all().has_errors());
    let assess = lap();
    let draft = planner::draft(&plan, &catalog).expect("the graph has no circle");
    let drafted = lap();
    let artifacts = render(&plan, &catalog, &|_| true, &NoSink).expect("everything renders");
    let rendered = lap();
    let graph = draft.bind(|path| artifacts.digest(path)).expect("every script is rendered");
    let ledger = Ledger::default();
    let selected = planner::select(&graph, &Selection::default(), &ledger).expect("all is selected");
    let preview = planner::preview(&selected, &ledger);
    let planned = drafted + lap();
    let tasks: usize = preview.groups.iter().map(|group| group.lines.len()).sum();
    let result = serde_json::json!({
        "tasks": tasks, "load": load, "look": look, "assess": assess, "plan": planned, "render": rendered,
        "wall": begun.elapsed().as_secs_f64(), "cpu": cpu().as_secs_f64(), "rss": peak_mib(),
    });
    println!("{result}");
}

/// User and system time of this process; the kernel counts them in hundredths for programs.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("the name is in brackets").1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux says the peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") / 1024
}
