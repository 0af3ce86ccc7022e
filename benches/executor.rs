//! What the executor costs, as tables:
//!
//! ```text
//! cargo bench --bench executor                  engine, scripts and a finished plan
//! cargo bench --bench executor -- engine        the engine alone: a no-op in place of each script, journal durable
//! cargo bench --bench executor -- scripts 10000 tasks that each spawn a trivial rendered script, check and apply
//! cargo bench --bench executor -- kills 1000    SIGKILLs at random moments of such a run
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use replant::address::Address;
use replant::execute::{ApplyOptions, Call, Checked, Ended, Outcome, TaskHandle, TaskRunner, Trial, apply, run_trial};
use replant::freeze::{FrozenMachine, RunManifest, Selection};
use replant::journal::{Event, JournalReader, PlannedFaults, TaskEventKind, TaskStatus, journal_path};
use replant::plan::OnFailure;
use replant::planner::{Phase, Reversal, ScriptCall, Task, TaskLimits};
use replant::progress::Emitter;

const SCRIPT: &str = "#!/bin/sh
set -eu
case $1 in
check) exit 10 ;;
apply) : ;;
undo) : ;;
esac
";

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: Option<&&str>, default| text.map_or(default, |text| text.parse().expect("a number"));
    match words.as_slice() {
        ["victim", root] => victim(Utf8Path::new(root)),
        ["engine", ..] => engine(),
        ["scripts", rest @ ..] => scripts(number(rest.first(), 10_000)),
        ["kills", rest @ ..] => kills(number(rest.first(), 1_000)),
        [] => {
            engine();
            scripts(10_000);
        }
        other => panic!("engine, scripts N or kills N; not {other:?}"),
    }
}

/// Does nothing, at once.
struct Nothing;

impl TaskRunner for Nothing {
    async fn check(&self, _: &TaskHandle, _: Call) -> Checked {
        Checked::Absent
    }

    async fn apply(&self, _: &TaskHandle, _: Call) -> Ended {
        Ended::well()
    }

    async fn undo(&self, _: &TaskHandle, _: Call) -> Ended {
        Ended::well()
    }

    async fn stop(&self, _: &TaskHandle, _: Call) -> Ended {
        Ended::well()
    }
}

/// Machines with seven tasks each, shaped like a migration, `tasks` in all.
fn plan(tasks: usize) -> RunManifest {
    let shape: [(&str, Phase, &[&str]); 7] = [
        ("validate", Phase::Validate, &[]),
        ("capture/disk0", Phase::Capture, &["validate"]),
        ("capture", Phase::Capture, &["capture/disk0"]),
        ("create", Phase::Create, &["validate"]),
        ("deploy/disk0", Phase::Deploy, &["capture", "create"]),
        ("deploy/guest", Phase::Deploy, &["deploy/disk0"]),
        ("post-deploy", Phase::PostDeploy, &["deploy/guest"]),
    ];
    let machines = tasks.div_ceil(shape.len());
    let name = |machine: usize| format!("machine{machine:05}");
    let key: BTreeMap<String, String> =
        (0..6).map(|input| (format!("input-{input}"), format!("blake3:{}", "0123456789abcdef".repeat(4)))).collect();
    let all = (0..machines).flat_map(|machine| {
        let (name, key) = (name(machine), key.clone());
        shape.iter().map(move |(rest, phase, before)| Task {
            address: Address::within(&name, rest),
            phase: *phase,
            what: format!("{rest} of {name}"),
            command: ScriptCall { script: "task.sh".into(), item: None },
            key: key.clone(),
            reversal: Reversal::Undo,
            bytes: None,
            throughput: None,
            limits: TaskLimits::default(),
            budgets: vec!["store".into()],
            depends_on: before.iter().map(|rest| Address::within(&name, rest)).collect(),
        })
    });
    RunManifest {
        format: 1,
        tool: env!("CARGO_PKG_VERSION").into(),
        name: "benchmark".into(),
        root: Utf8PathBuf::new(),
        files: Vec::new(),
        sources: BTreeMap::new(),
        journal_head: 0,
        selection: Selection::default(),
        budgets: BTreeMap::from([("store".into(), 4096)]),
        machines: (0..machines).map(|at| (name(at), FrozenMachine { on_failure: OnFailure::Keep })).collect(),
        waves: Vec::new(),
        boot: None,
        artifacts: Vec::new(),
        tasks: all.take(tasks).collect(),
    }
}

/// A plan root on the disk (not in memory: the journal's durability is part of what is measured).
fn site() -> (tempfile::TempDir, Utf8PathBuf) {
    let base = env::var_os("CARGO_TARGET_TMPDIR").map_or_else(env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).expect("a folder for the benchmark");
    let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("a UTF-8 path");
    fs::create_dir_all(root.join("run/artifacts")).expect("a run folder");
    fs::write(root.join("run/artifacts/task.sh"), SCRIPT).expect("a script");
    (folder, root)
}

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn engine() {
    println!("engine alone (no-op runner, every record durable)");
    println!(
        "{:>8} {:>9} {:>10} {:>12} {:>12} {:>10}",
        "tasks", "seconds", "tasks/s", "us per task", "journal MiB", "peak MiB"
    );
    for tasks in [1_000, 10_000, 70_000] {
        let (_folder, root) = site();
        let manifest = Arc::new(plan(tasks));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let began = Instant::now();
        let report = runtime.block_on(run_trial(Trial {
            root: root.clone(),
            manifest,
            runner: Arc::new(Nothing),
            rollback: false,
            jobs: 2048,
            injections: Vec::new(),
            faults: PlannedFaults::default(),
            past_commit: false,
            emitter: Emitter::silent("benchmark"),
            stop: None,
        }));
        let seconds = began.elapsed().as_secs_f64();
        let report = report.expect("the trial runs");
        assert_eq!((report.outcome, report.applied), (Outcome::Done, tasks as u64));
        let size = fs::metadata(journal_path(&root)).map_or(0, |file| file.len()) as f64 / f64::from(1 << 20);
        println!(
            "{tasks:>8} {seconds:>9.2} {:>10.0} {:>12.1} {size:>12.1} {:>10}",
            tasks as f64 / seconds,
            seconds * 1e6 / tasks as f64,
            peak_memory(),
        );
        let began = Instant::now();
        let ledger = JournalReader::open(&root).expect("it opens").expect("it is there").ledger().expect("it reads");
        assert_eq!(ledger.entries.len(), tasks);
        println!("{:>8} ledger read in {:.0} ms", "", began.elapsed().as_secs_f64() * 1e3);
    }
}

fn scripts(tasks: usize) {
    println!("scripts (each task spawns `sh SCRIPT check` and `sh SCRIPT apply`)");
    println!("{:>8} {:>9} {:>10} {:>18} {:>10}", "tasks", "seconds", "tasks/s", "again, finished ms", "peak MiB");
    let (_folder, root) = site();
    let manifest = plan(tasks);
    let began = Instant::now();
    let report = apply(ApplyOptions::new(root.clone(), root.join("run"), manifest.clone())).expect("it runs");
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!((report.outcome, report.applied), (Outcome::Done, tasks as u64));
    let began = Instant::now();
    let again = apply(ApplyOptions::new(root.clone(), root.join("run"), manifest)).expect("it runs");
    let finished = began.elapsed();
    assert_eq!((again.run, again.skipped), (None, tasks as u64));
    println!(
        "{tasks:>8} {seconds:>9.2} {:>10.0} {:>18} {:>10}",
        tasks as f64 / seconds,
        finished.as_millis(),
        peak_memory(),
    );
}

/// The process that is killed.
fn victim(root: &Utf8Path) {
    let manifest = serde_json::from_slice(&fs::read(root.join("run/plan.json")).expect("a plan")).expect("a plan");
    let report = apply(ApplyOptions::new(root.to_owned(), root.join("run"), manifest)).expect("it runs");
    fs::write(root.join("recovered"), report.recovered.len().to_string()).expect("a note");
    assert_eq!(report.outcome, Outcome::Done);
}

fn kills(wanted: usize) {
    const TASKS: usize = 2_000;
    let mut seed = jiff::Timestamp::now().as_nanosecond() as u64 | 1;
    println!("{wanted} SIGKILLs at random moments of runs of {TASKS} scripts (seed {seed})");
    let mut random = move |below: u64| {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let (mut killed, mut runs, mut cut_off, mut finished, mut records) = (0, 0, 0usize, 0, 0);
    while killed < wanted {
        let (_folder, root) = site();
        let script = SCRIPT.replace("apply) :", "apply) echo $REPLANT_TASK >> $REPLANT_ROOT/calls");
        fs::write(root.join("run/artifacts/task.sh"), script).expect("a script");
        let manifest = plan(TASKS);
        fs::write(root.join("run/plan.json"), serde_json::to_vec(&manifest).expect("JSON")).expect("a plan");
        runs += 1;
        loop {
            let mut child = Command::new(env::current_exe().expect("this program"))
                .args(["victim", root.as_str()])
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("a victim");
            let alive_for = if killed < wanted { Duration::from_micros(random(250_000)) } else { Duration::MAX };
            let deadline = Instant::now().checked_add(alive_for);
            let ended = loop {
                if let Some(status) = child.try_wait().expect("a child") {
                    break Some(status);
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    break None;
                }
                std::thread::sleep(Duration::from_micros(200));
            };
            if let Some(status) = ended {
                assert!(status.success(), "a run ended with {status}");
                break;
            }
            child.kill().expect("it is killed");
            child.wait().expect("it has ended");
            killed += 1;
            if let Some(reader) = JournalReader::open(&root).expect("it opens after every kill") {
                records += reader.verify().expect("every record is as it was written");
                let ledger = reader.ledger().expect("it reads");
                cut_off += ledger.entries.values().filter(|entry| entry.status == TaskStatus::Running).count();
            }
        }
        finished += TASKS;
        assert_nothing_done_twice(&root, TASKS);
    }
    println!(
        "{killed} kills in {runs} runs: the journal opened every time ({records} records proven); {cut_off} tasks were \
         cut off and named; {finished} tasks finished, none of them began again"
    );
}

fn assert_nothing_done_twice(root: &Utf8Path, tasks: usize) {
    let reader = JournalReader::open(root).expect("it opens").expect("it is there");
    let mut done = BTreeSet::new();
    for record in reader.records(1).expect("it reads") {
        let Event::Task(event) = record.event else { continue };
        match event.event {
            TaskEventKind::Applied => drop(done.insert(event.task)),
            TaskEventKind::Started => assert!(!done.contains(&event.task), "{} began again", event.task),
            _ => {}
        }
    }
    assert_eq!(done.len(), tasks);
}
