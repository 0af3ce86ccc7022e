//! Who waits for whom: cycles among `after` and waves, printed edge by edge.
//!
//! Waves take part through *gates*: a gate opens when every machine of its wave is done, and the next wave's machines
//! wait for it. Nothing recurses, so a chain of 100,000 machines is as safe as one of three.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::plan::{Machine, Wave};

/// One thing that a node waits for, and what is to be blamed for that.
struct Edge {
    to: usize,
    why: Why,
}

#[derive(Clone, Copy)]
enum Why {
    /// The machine's `after` entry of that number.
    After(usize),
    /// The machine or gate belongs to the wave of that number.
    Wave(usize),
}

/// Reports every cycle that has a machine of its own.
pub(super) fn check(machines: &[Machine], waves: &[Wave], found: &mut Diagnostics) {
    let mut edges = edges(machines, waves);
    for (node, list) in edges.iter_mut().enumerate() {
        if let Some(itself) = list.iter().position(|edge| edge.to == node) {
            let edge = list.remove(itself);
            found.push(describe(&[(node, &edge)], machines, waves));
        }
    }
    let mut waiting: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut waited_for_by: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, list) in edges.iter().enumerate() {
        for edge in list {
            waited_for_by[edge.to].push(from);
        }
    }
    let mut alive = vec![true; edges.len()];
    let mut ready: Vec<usize> = (0..edges.len()).filter(|node| waiting[*node] == 0).collect();
    let mut next = 0;
    loop {
        // Whatever waits for nothing can begin; what is left waits for itself in the end.
        while let Some(node) = ready.pop() {
            if !std::mem::replace(&mut alive[node], false) {
                continue;
            }
            for from in &waited_for_by[node] {
                waiting[*from] -= 1;
                if waiting[*from] == 0 {
                    ready.push(*from);
                }
            }
        }
        while next < edges.len() && !alive[next] {
            next += 1;
        }
        if next == edges.len() {
            return;
        }
        let round = walk_round(next, &edges, &alive);
        found.push(describe(&round, machines, waves));
        // The cycle is reported: without it the rest may hold others, or none.
        ready.extend(round.iter().map(|(node, _)| *node));
    }
}

fn edges(machines: &[Machine], waves: &[Wave]) -> Vec<Vec<Edge>> {
    let by_name: HashMap<&str, usize> =
        machines.iter().enumerate().map(|(at, machine)| (&*machine.name.value.0, at)).collect();
    let gate = |wave: usize| machines.len() + wave;
    let mut edges: Vec<Vec<Edge>> = Vec::with_capacity(machines.len() + waves.len());
    for machine in machines {
        let after =
            machine.after.iter().enumerate().filter_map(|(entry, name)| {
                by_name.get(&*name.value.0).map(|to| Edge { to: *to, why: Why::After(entry) })
            });
        edges.push(after.collect());
    }
    for (number, wave) in waves.iter().enumerate() {
        let members: Vec<usize> = wave.machines.iter().filter_map(|name| by_name.get(&*name.0)).copied().collect();
        if let Some(before) = number.checked_sub(1) {
            for member in &members {
                edges[*member].push(Edge { to: gate(before), why: Why::Wave(number) });
            }
        }
        let previous = number.checked_sub(1).map(gate);
        edges.push(members.into_iter().chain(previous).map(|to| Edge { to, why: Why::Wave(number) }).collect());
    }
    edges
}

/// A cycle of nodes that are alive, each with the edge that leaves it. Every node alive waits for another one alive.
fn walk_round<'a>(start: usize, edges: &'a [Vec<Edge>], alive: &[bool]) -> Vec<(usize, &'a Edge)> {
    let mut way: Vec<(usize, &Edge)> = Vec::new();
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut node = start;
    loop {
        if let Some(begin) = seen.get(&node) {
            return way.split_off(*begin);
        }
        seen.insert(node, way.len());
        let edge =
            edges[node].iter().find(|edge| alive[edge.to]).expect("a node without a living edge would have been ready");
        way.push((node, edge));
        node = edge.to;
    }
}

fn describe(round: &[(usize, &Edge)], machines: &[Machine], waves: &[Wave]) -> Diagnostic {
    // Begin at the first `after` entry: that is what a person can change.
    let begin = round.iter().position(|(_, edge)| matches!(edge.why, Why::After(_))).unwrap_or(0);
    let round: Vec<(usize, &Edge)> = round[begin..].iter().chain(&round[..begin]).copied().collect();
    let name = |node: usize| match machines.get(node) {
        Some(machine) => format!("`{}`", machine.name.value),
        None => format!("the wave `{}`", waves[node - machines.len()].name.value),
    };
    let steps: Vec<(Span, String)> = round
        .iter()
        .map(|(node, edge)| {
            let Edge { to, why } = edge;
            match (why, machines.get(*node)) {
                (Why::After(entry), Some(machine)) => {
                    (machine.after[*entry].span.clone(), format!("{} waits for {}", name(*node), name(*to)))
                }
                (Why::Wave(wave), Some(_)) => {
                    let wave = &waves[*wave].name;
                    let text = format!("{} is in `{}`, which waits for {}", name(*node), wave.value, name(*to));
                    (wave.span.clone(), text)
                }
                (Why::Wave(wave) | Why::After(wave), None) => {
                    let wave = &waves[*wave].name;
                    (wave.span.clone(), format!("{} ends when {} has", name(*node), name(*to)))
                }
            }
        })
        .collect();
    let first = name(round[0].0);
    let steps = match <[(Span, String); 1]>::try_from(steps) {
        Ok([(span, _)]) => vec![(span, "this is the machine itself".to_owned())],
        Err(steps) => steps,
    };
    let message = match round.len() {
        1 => format!("{first} waits for itself"),
        _ => format!("{first} waits for itself, by way of {}", name(round[1].0)),
    };
    let help = match steps.len() {
        1 => "take the entry out",
        _ => "take one of these `after` entries out, or move a machine to another wave",
    };
    let diagnostic = Diagnostic::error("plan.after-cycle", message).help(help);
    steps.into_iter().fold(diagnostic, |diagnostic, (span, text)| diagnostic.at(span, text))
}
