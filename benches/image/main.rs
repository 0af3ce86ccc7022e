//! The image engine beside the tools that people use instead, side by side in one run, medians.
//!
//! `cargo bench --bench image -- [SECTION...]` prints the tables of `docs/benchmarks.md`; sections are `jobs`, `noise`,
//! `several`, `grid`, `growth`, `memory`, `cuts` (all of them if none is named). What is compared runs in turns: one run of
//! each, then the next run of each. The short form uses a disk of 1 GiB and 3 runs;
//! `REPLANT_BENCH_FULL=1` uses 16 GiB and 5 runs and needs some 20 GB. `REPLANT_BENCH_FOLDER` says where (a temporary
//! folder if not), `REPLANT_BENCH_ROOTS` names tar files of root file systems, separated by colons, that go onto the
//! disks; without them files below /usr do. Everything is deleted afterwards. `cargo test` runs a trial: small disks, one
//! run, no figures worth keeping, but it fails where the tables could not be made, and where memory is not flat.
//!
//! Needs root (loop devices) and `qemu-img`, `partclone.ext4`, `zstd`, `mke2fs`, `sfdisk`. Sources are read from a warm
//! page cache; what a job writes is synced before its clock stops.

#![expect(clippy::print_stdout, reason = "a benchmark prints its tables")]

mod again;
mod contest;
mod cuts;
mod data;
mod jobs;
mod measure;
mod scale;

use std::error::Error;
use std::path::{Path, PathBuf};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where and how much.
struct Bench {
    folder: PathBuf,
    roots: Vec<PathBuf>,
    runs: usize,
    form: Form,
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Only whether everything works: a minute under `cargo test`.
    Trial,
    Short,
    Full,
}

impl Form {
    /// One of three values.
    fn pick<T>(self, trial: T, short: T, full: T) -> T {
        match self {
            Self::Trial => trial,
            Self::Short => short,
            Self::Full => full,
        }
    }
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// MiB of the main disk, of data beside the root file system on it, and of files that are deleted again.
    fn sizes(&self) -> (u64, u64, u64) {
        self.form.pick((256, 40, 20), (1 << 10, 300, 200), (16 << 10, 4800, 3072))
    }
}

fn main() -> Outcome<()> {
    // `cargo bench` adds `--bench`, `cargo test` adds others; ours are plain words.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let form = match std::env::args().any(|word| word == "--bench") {
        true if std::env::var("REPLANT_BENCH_FULL").is_ok_and(|value| value == "1") => Form::Full,
        true => Form::Short,
        // `cargo test`, with the name of a test: that is not here.
        false if !words.is_empty() || std::env::args().any(|word| word == "--list") => return Ok(()),
        false => Form::Trial,
    };
    let folder = match std::env::var_os("REPLANT_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let roots = std::env::var("REPLANT_BENCH_ROOTS").unwrap_or_default();
    let bench = Bench {
        folder: folder.path().to_owned(),
        roots: roots.split(':').filter(|root| !root.is_empty()).map(PathBuf::from).collect(),
        runs: match std::env::var("REPLANT_BENCH_RUNS") {
            Ok(runs) => runs.parse::<usize>()?.max(1),
            Err(_) => form.pick(1, 3, 5),
        },
        form,
    };
    println!("{}, medians of {} runs, warm page cache, output synced\n", measure::machine()?, bench.runs);
    type Section = (&'static str, fn(&Bench) -> Outcome<()>);
    let sections: [Section; 7] = [
        ("jobs", jobs::run),
        ("noise", jobs::noise),
        ("several", scale::several),
        ("grid", again::grid),
        ("growth", scale::growth),
        ("memory", scale::memory),
        ("cuts", cuts::run),
    ];
    for word in &words {
        if !sections.iter().any(|(name, _)| name == word) {
            return Err(format!("no section `{word}`; there are {:?}", sections.map(|(name, _)| name)).into());
        }
    }
    for (name, section) in sections {
        let tried = form != Form::Trial || ["jobs", "noise", "memory"].contains(&name);
        if tried && (words.is_empty() || words.iter().any(|word| word == name)) {
            section(&bench)?;
            println!();
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Outcome<()> {
    let gone = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
