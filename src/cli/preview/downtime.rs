//! How long machines are down that are captured in the agent: from their restart to the start of their copy, as far as
//! such work was measured before.

use super::human;
use crate::planner::{Action, Group, Line, Phase};

/// A line for a machine that boots into the agent; `None` once its migration is past that.
pub(super) fn line(group: &Group) -> Option<String> {
    let part = |line: &Line| line.address.as_str().split_once('/').map(|(_, part)| part.to_owned()).unwrap_or_default();
    let running = |line: &&Line| line.action != Action::Skip;
    // What goes on while the source still works does not count, and neither does what stands beside its capture.
    let down = |line: &&Line| {
        matches!(line.phase, Phase::Capture | Phase::Deploy | Phase::PostDeploy) && part(line) != "precopy"
    };
    let lines: Vec<&Line> = group.lines.iter().filter(running).filter(down).collect();
    if !lines.iter().any(|line| part(line) == "boot") {
        return None;
    }
    let warm = group.lines.iter().any(|line| part(line) == "precopy");
    let name = &group.scope;
    // Disks are moved side by side, all else one after another.
    let side_by_side = |phase: Phase| {
        let disks = lines.iter().filter(|line| line.phase == phase && line.bytes.is_some());
        disks.map(|line| line.seconds).try_fold(0.0, |most: f64, seconds| Some(most.max(seconds?)))
    };
    let rest: f64 = lines.iter().filter(|line| line.bytes.is_none()).filter_map(|line| line.seconds).sum();
    let how = if warm { ", after the pre-copy" } else { "" };
    Some(match (side_by_side(Phase::Capture), side_by_side(Phase::Deploy)) {
        (Some(capture), Some(deploy)) => {
            format!("{name} is down for about {} from its restart on{how}", human(capture + rest + deploy))
        }
        _ => format!(
            "how long {name} is down{} is known after the first machine of its kind",
            how.trim_start_matches(',')
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::planner::{Reversal, Why};

    fn group(parts: &[(&str, Phase, Option<u64>, Option<f64>)]) -> Group {
        let line = |(part, phase, bytes, seconds): &(&str, Phase, Option<u64>, Option<f64>)| Line {
            address: Address::within("web01", part),
            phase: *phase,
            what: String::new(),
            action: Action::Create,
            why: Why::New,
            bytes: *bytes,
            seconds: *seconds,
            reversal: Reversal::Nothing,
        };
        Group { scope: "web01".into(), lines: parts.iter().map(line).collect() }
    }

    #[test]
    fn what_counts_is_what_happens_while_the_source_is_off() {
        let (capture, deploy) = (Phase::Capture, Phase::Deploy);
        let mut parts = vec![
            ("precopy", capture, Some(9), Some(90_000.0)),
            ("boot", capture, None, Some(60.0)),
            ("capture/disk0", capture, Some(9), Some(120.0)),
            ("capture/disk1", capture, Some(9), Some(240.0)),
            ("create", Phase::Create, None, Some(1_000.0)),
            ("deploy/disk0", deploy, Some(9), Some(300.0)),
            ("deploy/guest", deploy, None, Some(30.0)),
        ];
        let said = line(&group(&parts)).unwrap();
        assert!(said.contains(&human(60.0 + 240.0 + 300.0 + 30.0)) && said.contains("after the pre-copy"), "{said}");
        parts[3].3 = None;
        assert!(line(&group(&parts)).unwrap().contains("is known after the first"));
        parts.remove(1);
        assert_eq!(line(&group(&parts)), None, "it is in the agent already, or never goes there");
    }
}
