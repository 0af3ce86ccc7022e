//! The improvement: a sparse bin and a few others are emptied and packed again in another order.

use super::slack::fill_tightly;
use super::vectors::{Scale, State, weights};

/// Sets that the search for the fullest bin looks at, at most, each time.
const SETS: u64 = 400;
/// Bins that are emptied together, at most.
const NEIGHBOURHOOD: u64 = 4;
/// Rounds without a better packing after which there is little hope.
const PATIENCE: u32 = 40_000;
/// The seed: the same input, the same placement.
const SEED: u64 = 0x005e_ed0f_9ac7_1234;

/// Numbers that look random, the same ones each time (SplitMix64; Steele, Lea and Flood, 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Packs what was added into fewer bins, down to `at_least` in all; what settled before stays.
pub(super) fn improve<'a, const D: usize>(
    mut state: State<'a, D>,
    at_least: usize,
    scale: &Scale<D>,
    most_work: u64,
) -> State<'a, D> {
    let shares: Vec<[f64; D]> = state.items.iter().map(|item| scale.shares(&item.size)).collect();
    let weight = weights(state.items, scale);
    let mut dice = Dice(SEED);
    let mut used: Vec<u32> = (0..state.held.len() as u32).filter(|bin| state.in_use(*bin)).collect();
    let (mut work, mut idle) = (0u64, 0u32);
    // A bin that settled before is never emptied.
    let can_be_emptied = |state: &State<'_, D>, used: &[u32]| used.iter().any(|bin| !state.is_settled(*bin));
    while used.len() > at_least.max(1) && work < most_work && idle < PATIENCE && can_be_emptied(&state, &used) {
        idle += 1;
        let chosen = choose(&state, &mut used, &weight, &mut dice);
        let goal = value(chosen.iter().map(|bin| state.held[*bin as usize].as_slice()), &weight);
        let before: Vec<(u32, Vec<u32>)> = chosen.iter().map(|bin| (*bin, state.empty(*bin))).collect();
        let mut loose: Vec<(f64, u32)> = before
            .iter()
            .flat_map(|(_, held)| held)
            .map(|item| (weight[*item as usize] * (0.75 + 0.5 * dice.share()), *item))
            .collect();
        loose.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut loose: Vec<u32> = loose.into_iter().map(|(_, item)| item).collect();
        let mut moved: Vec<u32> = Vec::new();
        if dice.below(2) == 0 {
            for bin in &chosen[1..] {
                let stays = state.held[*bin as usize].len();
                work += fill_tightly(&mut state, *bin, &mut loose, &weight, scale, SETS);
                moved.extend(&state.held[*bin as usize][stays..]);
            }
        }
        let complete = loose.iter().all(|item| {
            let bin = tightest(&state, *item, &used, &chosen, &shares, scale, &mut work);
            if let Some(bin) = bin {
                state.put(*item, bin);
                moved.push(*item);
            }
            bin.is_some()
        });
        let emptied = chosen.iter().filter(|bin| !state.in_use(**bin)).count();
        let after = value(chosen.iter().map(|bin| state.held[*bin as usize].as_slice()), &weight);
        if complete && (emptied > 0 || moved_out(&state, &moved, &chosen) || after >= goal) {
            if emptied > 0 {
                idle = 0;
                used.retain(|bin| state.in_use(*bin));
            }
            continue;
        }
        undo(&mut state, &moved, &before);
    }
    state
}

/// A sparse bin, moved to the front of `used` by chance, and some others.
fn choose<const D: usize>(state: &State<'_, D>, used: &mut [u32], weight: &[f64], dice: &mut Dice) -> Vec<u32> {
    let load = |bin: u32| state.held[bin as usize].iter().map(|item| weight[*item as usize]).sum::<f64>();
    let count = (2 + dice.below(NEIGHBOURHOOD - 1)).min(used.len() as u64);
    let mut chosen: Vec<u32> = Vec::with_capacity(count as usize);
    // The sparsest of a few: the sparsest of all would be chosen for ever.
    let sparse = (0..8)
        .map(|_| used[dice.below(used.len() as u64) as usize])
        .min_by(|a, b| load(*a).total_cmp(&load(*b)).then(a.cmp(b)));
    chosen.extend(sparse);
    while (chosen.len() as u64) < count {
        let bin = used[dice.below(used.len() as u64) as usize];
        if !chosen.contains(&bin) {
            chosen.push(bin);
        }
    }
    chosen.sort_unstable_by_key(|bin| std::cmp::Reverse(*bin));
    chosen
}

/// Uneven is good: a bin that is nearly empty is soon empty.
fn value<'a>(bins: impl Iterator<Item = &'a [u32]>, weight: &[f64]) -> f64 {
    bins.map(|held| {
        let load: f64 = held.iter().map(|item| weight[*item as usize]).sum();
        load * load
    })
    .sum()
}

/// Whether something found room outside the chosen bins, which makes these emptier.
fn moved_out<const D: usize>(state: &State<'_, D>, moved: &[u32], chosen: &[u32]) -> bool {
    moved.iter().any(|item| state.bin_of[*item as usize].is_some_and(|bin| !chosen.contains(&bin)))
}

/// The bin that is left with the least by taking the item; those that hold something before those that were emptied.
fn tightest<const D: usize>(
    state: &State<'_, D>,
    item: u32,
    used: &[u32],
    chosen: &[u32],
    shares: &[[f64; D]],
    scale: &Scale<D>,
    work: &mut u64,
) -> Option<u32> {
    let wanted = &shares[item as usize];
    let mut best: Option<(f64, u32)> = None;
    let mut consider = |bin: u32| {
        if state.fits(item, bin) {
            let free = scale.shares(&state.free[bin as usize]);
            let left: f64 = (0..D).map(|d| scale.demand[d] * (free[d] - wanted[d]) * (free[d] - wanted[d])).sum();
            if best.is_none_or(|(least, _)| left < least) {
                best = Some((left, bin));
            }
        }
    };
    *work += used.len() as u64;
    used.iter().filter(|bin| state.in_use(**bin)).for_each(|bin| consider(*bin));
    if best.is_none() {
        let empty = chosen.iter().find(|bin| !state.in_use(**bin) && state.fits(item, **bin));
        return empty.copied();
    }
    best.map(|(_, bin)| bin)
}

/// Puts everything back where it was.
fn undo<const D: usize>(state: &mut State<'_, D>, moved: &[u32], before: &[(u32, Vec<u32>)]) {
    for item in moved {
        if let Some(bin) = state.bin_of[*item as usize] {
            state.take(*item, bin);
        }
    }
    for (bin, held) in before {
        for item in held {
            state.put(*item, *bin);
        }
    }
}
