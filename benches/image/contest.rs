//! Jobs side by side: one run of each, then the next run of each, so that whatever else the machine does hits all alike.

use std::path::PathBuf;

use super::Outcome;
use super::data::warm;
use super::measure::{Cost, middle, once, row, settle};

/// A job that is run several times.
pub struct Job<'a> {
    name: &'a str,
    /// What it reads; brought into the page cache before each run.
    inputs: Vec<PathBuf>,
    prepare: Box<dyn FnMut() -> Outcome<()> + 'a>,
    /// Does it, durably, and says how many bytes came out.
    run: Box<dyn FnMut() -> Outcome<u64> + 'a>,
}

impl<'a> Job<'a> {
    pub fn new(
        name: &'a str,
        inputs: &[PathBuf],
        prepare: impl FnMut() -> Outcome<()> + 'a,
        run: impl FnMut() -> Outcome<u64> + 'a,
    ) -> Self {
        Self { name, inputs: inputs.to_vec(), prepare: Box::new(prepare), run: Box::new(run) }
    }
}

/// Runs the jobs and prints a row for each, compared with the first; `bytes` is what is in use on the disk.
pub fn contest(runs: usize, bytes: u64, mut jobs: Vec<Job<'_>>) -> Outcome<Vec<Cost>> {
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); jobs.len()];
    let mut out = vec![0; jobs.len()];
    for run in 1..=runs {
        for (number, job) in jobs.iter_mut().enumerate() {
            (job.prepare)()?;
            job.inputs.iter().try_for_each(|path| warm(path))?;
            settle()?;
            let cost = once(|| {
                out[number] = (job.run)()?;
                Ok(())
            })?;
            costs[number].push(cost);
            // For a run that is cut off.
            eprintln!(
                "run {run}: {}: {:.2} s wall, {:.2} s cpu, {} bytes out",
                job.name,
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64(),
                out[number]
            );
        }
    }
    let medians: Vec<Cost> = costs.iter().map(|costs| middle(costs)).collect();
    for ((job, cost), out) in jobs.iter().zip(&medians).zip(out) {
        row(job.name, *cost, bytes, out, &cost.times(medians[0]));
    }
    Ok(medians)
}
