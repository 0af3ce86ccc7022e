//! Bars on a terminal: one for the run, one for each task that reports how far it is, with rate and time left.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::address::Address;

use super::display::line;
use super::event::{RunEvent, RunEventKind};

/// Bars at once, so that the run's own stays on the screen.
const SHOWN: usize = 16;

/// The bars of one run.
pub(super) struct Bars {
    screen: MultiProgress,
    run: ProgressBar,
    tasks: HashMap<Address, ProgressBar>,
}

impl Bars {
    pub fn new() -> Self {
        let screen = MultiProgress::new();
        let run = screen.add(ProgressBar::new(0));
        run.set_style(style("{elapsed_precise} [{bar:30}] {pos}/{len} tasks {msg}"));
        Self { screen, run, tasks: HashMap::new() }
    }

    pub fn take(&mut self, event: &RunEvent) {
        use RunEventKind as K;
        match &event.what {
            K::RunStarted { to_do, .. } => self.run.set_length(*to_do),
            K::TaskStarted { task, .. } | K::UndoStarted { task } => self.begin(task),
            K::TaskProgress { task, current, total, unit, .. } => self.tick(task, *current, *total, unit),
            K::TaskDone { task, .. } | K::TaskUndone { task, .. } => {
                self.end(task);
                self.run.inc(1);
            }
            K::TaskFailed { task, .. } | K::TaskStuck { task, .. } => self.end(task),
            K::TaskWaiting { task, budget, position } => {
                self.run.set_message(format!("{task}: waiting for {budget}, position {position}"));
            }
            _ => {}
        }
        let is_quiet = matches!(
            event.what,
            K::TaskProgress { .. } | K::TaskWaiting { .. } | K::TaskStarted { .. } | K::UndoStarted { .. }
        );
        if !is_quiet && let Some(line) = line(event) {
            // A terminal that has gone away does not stop the run.
            let _ = self.screen.println(line);
        }
    }

    pub fn finish(self) {
        self.tasks.into_values().for_each(|bar| bar.finish_and_clear());
        self.run.finish_and_clear();
    }

    fn begin(&mut self, task: &Address) {
        if self.tasks.len() >= SHOWN || self.tasks.contains_key(task) {
            return;
        }
        let bar = self.screen.insert_before(&self.run, ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix} {elapsed}"));
        bar.set_prefix(task.to_string());
        bar.enable_steady_tick(std::time::Duration::from_millis(250));
        self.tasks.insert(task.clone(), bar);
    }

    fn tick(&mut self, task: &Address, current: u64, total: Option<u64>, unit: &str) {
        let Some(bar) = self.tasks.get(task) else { return };
        if bar.length() != total {
            let counts = match unit {
                "bytes" => "{bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
                _ => "{pos}/{len} {eta} left",
            };
            match total {
                Some(total) => {
                    bar.set_length(total);
                    bar.set_style(style(&format!("{{spinner}} {{prefix}} [{{bar:24}}] {counts}")));
                }
                None => bar.set_style(style("{spinner} {prefix} {pos} {elapsed}")),
            }
        }
        bar.set_position(current);
    }

    fn end(&mut self, task: &Address) {
        if let Some(bar) = self.tasks.remove(task) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are right")
}
