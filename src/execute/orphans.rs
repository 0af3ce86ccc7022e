//! Scripts that a dead executor left running. They are told apart from services that were meant to stay (such as a
//! started VM) by their session: scripts stay in the executor's, services leave it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::journal::{Holder, ProcessStat};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Ends every script that `holder`'s run left behind on this system, and says how many process groups there were.
pub(super) fn end_orphans_of(holder: &Holder) -> usize {
    if !holder.process.is_of_this_system() {
        return 0;
    }
    let groups = orphans(holder);
    for group in &groups {
        let _ = kill_process_group(*group, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while !orphans(holder).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    for group in orphans(holder) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    groups.len()
}

/// Process groups in the dead executor's session whose processes carry its run's name in their environment.
fn orphans(holder: &Holder) -> Vec<Pid> {
    let wanted = format!("REPLANT_RUN={}", holder.run);
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut groups: Vec<Pid> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| {
            let stat = ProcessStat::of(pid)?;
            if stat.session != holder.process.session || stat.state == 'Z' {
                return None;
            }
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let is_of_run = environment
                .split(|byte| *byte == 0)
                .any(|variable| std::ffi::OsStr::from_bytes(variable) == std::ffi::OsStr::new(&wanted));
            is_of_run.then(|| Pid::from_raw(i32::try_from(stat.group).ok()?)).flatten()
        })
        .collect();
    groups.sort_unstable_by_key(|group| group.as_raw_nonzero());
    groups.dedup();
    groups
}
