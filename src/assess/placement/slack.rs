//! The fullest a bin can get: subsets of items by depth-first search (the minimum bin slack heuristic of Gupta and
//! Ho, 1999, in the form of Fleszar and Hindi, 2002: the largest item is always in).

use super::vectors::{Scale, State};

/// Fills a bin with the heaviest set of `loose` items that fits beside what it holds, the first one that fits being
/// in. `loose` is sorted, heaviest first; what was put is taken out of it. At most `nodes` sets are looked at.
pub(super) fn fill_tightly<const D: usize>(
    state: &mut State<'_, D>,
    bin: u32,
    loose: &mut Vec<u32>,
    weight: &[f64],
    scale: &Scale<D>,
    nodes: u64,
) -> u64 {
    let Some(first) = loose.iter().position(|item| state.fits(*item, bin)) else { return loose.len() as u64 };
    let seed = loose.remove(first);
    state.put(seed, bin);
    let candidates: Vec<u32> = loose[first..].iter().copied().filter(|item| state.fits(*item, bin)).collect();
    let mut rest = vec![0.0; candidates.len() + 1];
    for at in (0..candidates.len()).rev() {
        rest[at] = rest[at + 1] + weight[candidates[at] as usize];
    }
    let mut search =
        Search { bin, candidates: &candidates, rest: &rest, weight, scale, nodes, best: 0.0, chosen: Vec::new() };
    let mut way = Vec::new();
    search.go(state, 0, 0.0, &mut way);
    let (looked, chosen) = (nodes - search.nodes, search.chosen);
    for item in &chosen {
        state.put(*item, bin);
    }
    loose.retain(|item| !chosen.contains(item));
    looked + candidates.len() as u64
}

struct Search<'a, const D: usize> {
    bin: u32,
    candidates: &'a [u32],
    /// Weight of this candidate and all after it.
    rest: &'a [f64],
    weight: &'a [f64],
    scale: &'a Scale<D>,
    nodes: u64,
    best: f64,
    chosen: Vec<u32>,
}

impl<const D: usize> Search<'_, D> {
    fn go(&mut self, state: &mut State<'_, D>, from: usize, taken: f64, way: &mut Vec<u32>) {
        if taken > self.best {
            self.best = taken;
            self.chosen.clone_from(way);
        }
        let free = self.scale.shares(&state.free[self.bin as usize]);
        let room: f64 = (0..D).map(|d| free[d] * self.scale.demand[d]).sum();
        if taken + room <= self.best {
            return;
        }
        for at in from..self.candidates.len() {
            if self.nodes == 0 || taken + self.rest[at] <= self.best {
                return;
            }
            self.nodes -= 1;
            let item = self.candidates[at];
            if state.fits(item, self.bin) {
                state.put(item, self.bin);
                way.push(item);
                self.go(state, at + 1, taken + self.weight[item as usize], way);
                way.pop();
                state.take(item, self.bin);
            }
        }
    }
}
