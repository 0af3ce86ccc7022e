//! The greedy heuristics.

use super::slack::fill_tightly;
use super::vectors::{Scale, State, weights};

/// Sets that the search for the fullest bin looks at, at most, each time.
const SETS: u64 = 20_000;
/// Above this many items that search is too slow for what it gives.
const SEARCH_LIMIT: usize = 2_000;

/// How items are ordered or chosen.
#[derive(Clone, Copy, Debug)]
enum Heuristic {
    /// Item after item, largest first, to the first bin that takes it; large by its largest share.
    FirstFitByLargest,
    /// The same; large by all shares together.
    FirstFitBySum,
    /// Bin after bin, each filled with the item whose shares point where most is left.
    DotProduct,
    /// The same, by direction alone.
    Cosine,
    /// Bin after bin, each filled with the item that leaves the least, by Euclidean distance.
    Distance,
    /// Bin after bin, each filled as full as a search gets it.
    Fullest,
}

const HEURISTICS: [Heuristic; 6] = [
    Heuristic::FirstFitByLargest,
    Heuristic::DotProduct,
    Heuristic::Distance,
    Heuristic::Cosine,
    Heuristic::FirstFitBySum,
    Heuristic::Fullest,
];

/// The best way to add some items to a packing: most items placed, then fewest bins; the earlier one if they are alike.
/// The first heuristic always runs; the others while there is work left.
pub(super) fn best<'a, const D: usize>(
    start: &State<'a, D>,
    added: &[u32],
    scale: &Scale<D>,
    most_work: u64,
) -> State<'a, D> {
    let shares: Vec<[f64; D]> = start.items.iter().map(|item| scale.shares(&item.size)).collect();
    let order = bin_order(start, scale);
    let mut best: Option<State<'a, D>> = None;
    let mut work = 0;
    for heuristic in HEURISTICS {
        if work > most_work && best.is_some() {
            break;
        }
        if matches!(heuristic, Heuristic::Fullest) && added.len() > SEARCH_LIMIT {
            continue;
        }
        let state = run(heuristic, start, added, &order, &shares, scale, &mut work);
        let better = best
            .as_ref()
            .is_none_or(|best| (state.unplaced(added), state.bins_used()) < (best.unplaced(added), best.bins_used()));
        if better {
            best = Some(state);
        }
    }
    best.expect("there is at least one heuristic, and the first one always runs")
}

/// Bins that are in use anyway first, then the largest; those alike in plan order.
fn bin_order<const D: usize>(start: &State<'_, D>, scale: &Scale<D>) -> Vec<u32> {
    let sizes: Vec<f64> = start.bins.iter().map(|bin| scale.shares(bin).iter().sum()).collect();
    let mut order: Vec<u32> = (0..sizes.len() as u32).collect();
    order.sort_by(|a, b| {
        let settled = start.is_settled(*b).cmp(&start.is_settled(*a));
        settled.then(sizes[*b as usize].total_cmp(&sizes[*a as usize]))
    });
    order
}

fn run<'a, const D: usize>(
    heuristic: Heuristic,
    start: &State<'a, D>,
    added: &[u32],
    order: &[u32],
    shares: &[[f64; D]],
    scale: &Scale<D>,
    work: &mut u64,
) -> State<'a, D> {
    let mut state = start.clone();
    let largest = |shares: &[f64; D]| shares.iter().copied().fold(0.0, f64::max);
    let sum = |shares: &[f64; D]| shares.iter().sum::<f64>();
    let by_sum = || by_size(added, shares, sum);
    match heuristic {
        Heuristic::FirstFitByLargest => first_fit(&mut state, order, &by_size(added, shares, largest), work),
        Heuristic::FirstFitBySum => first_fit(&mut state, order, &by_sum(), work),
        Heuristic::DotProduct => fill(&mut state, order, &by_sum(), scale, work, |item, free| {
            (0..D).map(|d| scale.demand[d] * shares[item][d] * free[d]).sum()
        }),
        Heuristic::Cosine => fill(&mut state, order, &by_sum(), scale, work, |item, free| {
            let length: f64 = shares[item].iter().map(|share| share * share).sum();
            let dot: f64 = (0..D).map(|d| shares[item][d] * free[d]).sum();
            // The square root keeps large items ahead of small ones of about the same direction.
            if length > 0.0 { dot / length.sqrt().sqrt() } else { 0.0 }
        }),
        Heuristic::Distance => fill(&mut state, order, &by_sum(), scale, work, |item, free| {
            -(0..D).map(|d| scale.demand[d] * (free[d] - shares[item][d]) * (free[d] - shares[item][d])).sum::<f64>()
        }),
        Heuristic::Fullest => {
            let weight = weights(start.items, scale);
            let mut loose = added.to_vec();
            loose.sort_by(|a, b| weight[*b as usize].total_cmp(&weight[*a as usize]));
            for bin in order {
                *work += fill_tightly(&mut state, *bin, &mut loose, &weight, scale, SETS);
            }
        }
    }
    state
}

/// Largest items first; those alike in plan order.
fn by_size<const D: usize>(items: &[u32], shares: &[[f64; D]], size: impl Fn(&[f64; D]) -> f64) -> Vec<u32> {
    let sizes: Vec<f64> = shares.iter().map(size).collect();
    let mut order = items.to_vec();
    order.sort_by(|a, b| sizes[*b as usize].total_cmp(&sizes[*a as usize]));
    order
}

fn first_fit<const D: usize>(state: &mut State<'_, D>, bins: &[u32], items: &[u32], work: &mut u64) {
    for item in items {
        let found = bins.iter().position(|bin| state.fits(*item, *bin));
        *work += found.map_or(bins.len(), |at| at + 1) as u64;
        if let Some(at) = found {
            state.put(*item, bins[at]);
        }
    }
}

/// Fills bin after bin, each time with the item of the highest score.
fn fill<const D: usize>(
    state: &mut State<'_, D>,
    bins: &[u32],
    items: &[u32],
    scale: &Scale<D>,
    work: &mut u64,
    score: impl Fn(usize, &[f64; D]) -> f64,
) {
    let mut left = items.to_vec();
    for bin in bins {
        // What does not fit now will not fit later either: the bin only gets fuller.
        let mut candidates: Vec<u32> = left.iter().copied().filter(|item| state.fits(*item, *bin)).collect();
        *work += left.len() as u64;
        while !candidates.is_empty() {
            let free = scale.shares(&state.free[*bin as usize]);
            let mut chosen: Option<(f64, u32)> = None;
            candidates.retain(|item| {
                let fits = state.fits(*item, *bin);
                if fits {
                    let value = score(*item as usize, &free);
                    if chosen.is_none_or(|(best, _)| value > best) {
                        chosen = Some((value, *item));
                    }
                }
                fits
            });
            *work += candidates.len() as u64;
            let Some((_, item)) = chosen else { break };
            state.put(item, *bin);
            candidates.retain(|other| *other != item);
        }
        left.retain(|item| state.bin_of[*item as usize].is_none());
        if left.is_empty() {
            break;
        }
    }
}
