//! `waves:` with their globs resolved.

use std::collections::HashMap;

use super::access::At;
use crate::address::glob_matches;
use crate::diagnostic::{Diagnostic, Diagnostics, Span, Spanned, closest};
use crate::plan::document::shortened;
use crate::plan::{Machine, MachineName, Wave};
use crate::units::Percent;

/// The waves of all files, in reading order.
pub(super) fn lower(roots: &[At<'_>], machines: &[Machine], complete: bool, found: &mut Diagnostics) -> Vec<Wave> {
    let by_name: HashMap<&str, usize> =
        machines.iter().enumerate().map(|(at, machine)| (&*machine.name.value.0, at)).collect();
    let mut waves: Vec<Wave> = Vec::new();
    // For each machine: the wave that has it, and the entry that put it there.
    let mut taken: Vec<Option<(usize, Span)>> = vec![None; machines.len()];
    for at in roots.iter().filter_map(|root| root.get("waves")).flat_map(|waves| waves.items()) {
        let Some(name) = at.get("name").and_then(|name| name.spanned(|name| name.text().map(str::to_owned))) else {
            continue;
        };
        if let Some(first) = waves.iter().find(|wave| wave.name.value == name.value) {
            found.push(
                Diagnostic::error("plan.duplicate-name", format!("two waves are named `{}`", shortened(&name.value)))
                    .at(name.span.clone(), "this name is taken")
                    .at(first.name.span.clone(), "by this wave"),
            );
        }
        let mut members: Vec<usize> = Vec::new();
        let mut clashes = Clashes::default();
        for entry in at.get("machines").into_iter().flat_map(|list| list.items()) {
            let Some(glob) = entry.text() else { continue };
            let matched = matching(glob, machines, &by_name);
            if matched.is_empty() && complete {
                found.push(nobody(glob, entry.span(), machines));
            }
            for machine in matched {
                match &taken[machine] {
                    None => {
                        taken[machine] = Some((waves.len(), entry.span()));
                        members.push(machine);
                    }
                    Some((wave, _)) if *wave == waves.len() => {}
                    Some((wave, first)) => clashes.add(&machines[machine], entry.span(), *wave, first),
                }
            }
        }
        found.extend(clashes.report(&name.value, &waves));
        members.sort_unstable();
        let max_failures = at.get("max_failures").and_then(|most| budget(most, members.len()));
        let machines = members.iter().map(|machine| machines[*machine].name.value.clone()).collect();
        waves.push(Wave { name, machines, max_failures });
    }
    waves
}

/// Positions of the machines that a name or glob means.
fn matching(glob: &str, machines: &[Machine], by_name: &HashMap<&str, usize>) -> Vec<usize> {
    match glob.contains(['*', '?']) {
        false => by_name.get(glob).copied().into_iter().collect(),
        true => (0..machines.len()).filter(|at| glob_matches(glob, &machines[*at].name.value.0)).collect(),
    }
}

/// A number as it is, a percentage of the wave's machines rounded down.
fn budget(at: At<'_>, machines: usize) -> Option<u32> {
    at.whole().or_else(|| {
        let share = u64::from(Percent::parse(at.text()?).ok()?.0);
        u32::try_from(machines as u64 * share / 10_000).ok()
    })
}

fn nobody(glob: &str, span: Span, machines: &[Machine]) -> Diagnostic {
    let names = || machines.iter().map(|machine: &Machine| -> &str { &machine.name.value.0 });
    match glob.contains(['*', '?']) {
        true => Diagnostic::error("plan.wave-empty", format!("`{glob}` matches no machine"))
            .at(span, "no machine's name fits")
            .help("`*` stands for any text, `?` for one character; names are compared whole"),
        false => {
            let near = closest(glob, names());
            let label =
                near.map_or_else(|| "no machine of that name".to_owned(), |near| format!("did you mean `{near}`?"));
            Diagnostic::error("plan.unknown-machine", format!("the machine `{glob}` is not in the plan"))
                .at(span, label)
        }
    }
}

/// Machines of one entry that another wave has: one message per pair of entries, not one per machine.
#[derive(Default)]
struct Clashes {
    list: Vec<Clash>,
}

struct Clash {
    here: Span,
    there: Span,
    wave: usize,
    first: MachineName,
    more: usize,
}

impl Clashes {
    fn add(&mut self, machine: &Machine, here: Span, wave: usize, there: &Span) {
        match self.list.iter_mut().find(|clash| clash.here == here && clash.there == *there) {
            Some(clash) => clash.more += 1,
            None => {
                let first = machine.name.value.clone();
                self.list.push(Clash { here, there: there.clone(), wave, first, more: 0 });
            }
        }
    }

    fn report<'a>(self, name: &'a str, waves: &'a [Wave]) -> impl Iterator<Item = Diagnostic> + 'a {
        self.list.into_iter().map(move |clash| {
            let other: &Spanned<String> = &waves[clash.wave].name;
            let who = match clash.more {
                0 => format!("`{}` is", clash.first),
                more => format!("`{}` and {more} more are", clash.first),
            };
            Diagnostic::error("plan.two-waves", format!("{who} in two waves, `{}` and `{name}`", other.value))
                .at(clash.here, format!("again in `{name}`"))
                .at(clash.there, format!("already in `{}`", other.value))
                .help("a machine migrates once: leave it in one of the waves")
        })
    }
}
