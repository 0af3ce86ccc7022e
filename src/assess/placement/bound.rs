//! How many hosts are needed at least, whatever the placement.

/// The best of these bounds, each valid for unequal bins too:
///
/// - by volume: the largest bins that together have as much of a resource as all items need;
/// - by size, in one resource alone: items above half a bin never share one, and what is left beside them takes only
///   so much of the rest (the bound L2 of Martello and Toth, 1990);
/// - by number, in one resource alone: of items above a `k`-th of a bin fewer than `k` share it (the dual feasible
///   functions of Fekete and Schepers, 2001);
/// - by pairs: of items above a third of a bin at most two share it, and only if they fit together in every resource
///   (after Caprara and Toth, 2001; the matching is relaxed to a bipartite one).
///
/// The last three also look at sums of resources, as shares of a bin: what fits in each fits in the sum.
pub fn hosts_needed<const D: usize>(items: &[[u64; D]], bins: &[[u64; D]]) -> usize {
    if items.is_empty() || bins.is_empty() {
        return 0;
    }
    let largest: [u64; D] = std::array::from_fn(|d| bins.iter().map(|bin| bin[d]).max().unwrap_or(0));
    let volume = (0..D).map(|d| by_volume(items, bins, d)).max().unwrap_or(0).max(1);
    let sums = sums(D).map(|dimensions| summed(items, &largest, &dimensions));
    let lines = (0..D).map(|d| Line { sizes: items.iter().map(|item| item[d]).collect(), capacity: largest[d] });
    let pairing = items.len() <= PAIRING_LIMIT;
    lines.chain(sums).fold(volume, |bound, line| {
        let bound = bound.max(by_size(&line)).max(by_number(&line));
        if pairing { bound.max(by_pairs(items, &largest, &line)) } else { bound }
    })
}

/// The pairing takes quadratic time; beyond this many items volume is a good bound anyway.
const PAIRING_LIMIT: usize = 1_000;
/// One whole bin, where resources are added up.
const BIN: u64 = 1 << 32;

/// All items in one resource, or in a sum of some.
struct Line {
    sizes: Vec<u64>,
    capacity: u64,
}

/// Which resources are added up: every two of them, and all.
fn sums(count: usize) -> impl Iterator<Item = Vec<usize>> {
    let pairs = (0..count).flat_map(move |a| (a + 1..count).map(move |b| vec![a, b]));
    pairs.chain((count > 2).then(|| (0..count).collect()))
}

/// Shares are rounded down: smaller items need no more bins.
fn summed<const D: usize>(items: &[[u64; D]], largest: &[u64; D], dimensions: &[usize]) -> Line {
    let share = |item: &[u64; D], d: usize| match largest[d] {
        0 => 0,
        capacity => u64::try_from(u128::from(item[d]) * u128::from(BIN) / u128::from(capacity)).unwrap_or(u64::MAX),
    };
    let sizes = items.iter().map(|item| dimensions.iter().fold(0u64, |sum, d| sum.saturating_add(share(item, *d))));
    Line { sizes: sizes.collect(), capacity: BIN * dimensions.len() as u64 }
}

/// With `f(x) = x` where `(k + 1) x` is whole, else `floor((k + 1) x) / k`, items that share a bin sum up to one at
/// most.
fn by_number(line: &Line) -> usize {
    let capacity = u128::from(line.capacity);
    if capacity == 0 {
        return 0;
    }
    let bound = |k: u128| {
        let (mut exact, mut rounded) = (0u128, 0u128);
        for size in &line.sizes {
            let scaled = u128::from(*size) * (k + 1);
            match scaled % capacity {
                0 => exact += scaled / capacity,
                _ => rounded += scaled / capacity,
            }
        }
        (rounded * (k + 1) + exact * k).div_ceil(k * (k + 1))
    };
    (1..=12).map(bound).max().and_then(|most| usize::try_from(most).ok()).unwrap_or(0)
}

fn by_volume<const D: usize>(items: &[[u64; D]], bins: &[[u64; D]], d: usize) -> usize {
    let need: u128 = items.iter().map(|item| u128::from(item[d])).sum();
    let mut sizes: Vec<u64> = bins.iter().map(|bin| bin[d]).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0u128;
    // More than all bins have: the items do not fit, and no number of bins is right.
    sizes
        .iter()
        .take_while(|size| {
            let open = sum < need;
            sum += u128::from(**size);
            open
        })
        .count()
}

fn by_size(line: &Line) -> usize {
    let mut sizes: Vec<u64> = line.sizes.iter().copied().filter(|size| *size > 0).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let capacity = u128::from(line.capacity);
    if capacity == 0 || sizes.is_empty() {
        return 0;
    }
    let mut sums = vec![0u128];
    for size in &sizes {
        sums.push(sums[sums.len() - 1] + u128::from(*size));
    }
    let halves = sizes.partition_point(|size| u128::from(*size) * 2 > capacity);
    let mut best = halves;
    let mut thresholds: Vec<u64> = sizes[halves..].to_vec();
    thresholds.dedup();
    for threshold in thresholds {
        // Items above capacity - threshold stand alone; those above half take one bin each and leave room beside.
        let alone = sizes.partition_point(|size| u128::from(*size) + u128::from(threshold) > capacity).min(halves);
        let beside = halves - alone;
        let room = beside as u128 * capacity - (sums[halves] - sums[alone]);
        let end = sizes.partition_point(|size| *size >= threshold);
        let rest = sums[end] - sums[halves];
        let more = usize::try_from(rest.saturating_sub(room).div_ceil(capacity)).unwrap_or(usize::MAX);
        best = best.max(halves.saturating_add(more));
    }
    best
}

fn by_pairs<const D: usize>(items: &[[u64; D]], capacity: &[u64; D], line: &Line) -> usize {
    let third = |size: u64| u128::from(size) * 3 > u128::from(line.capacity);
    let large: Vec<&[u64; D]> =
        items.iter().zip(&line.sizes).filter(|(_, size)| third(**size)).map(|(item, _)| item).collect();
    let share =
        |a: &[u64; D], b: &[u64; D]| (0..D).all(|d| u128::from(a[d]) + u128::from(b[d]) <= u128::from(capacity[d]));
    let partners: Vec<Vec<u32>> = (0..large.len())
        .map(|a| (0..large.len()).filter(|b| *b != a && share(large[a], large[*b])).map(|b| b as u32).collect())
        .collect();
    // Each pair is matched twice in the bipartite graph, once from either side, so half of that many pairs exist.
    large.len() - bipartite_matching(&partners) / 2
}

/// The size of a maximum matching of left and right copies (Kuhn's augmenting paths, without recursion).
fn bipartite_matching(partners: &[Vec<u32>]) -> usize {
    const NONE: u32 = u32::MAX;
    let count = partners.len();
    let (mut left_of, mut right_of) = (vec![NONE; count], vec![NONE; count]);
    let mut reached_from = vec![NONE; count];
    let mut matched = 0;
    for start in 0..count as u32 {
        reached_from.fill(NONE);
        let mut queue = std::collections::VecDeque::from([start]);
        let mut end = NONE;
        'search: while let Some(left) = queue.pop_front() {
            for right in &partners[left as usize] {
                if reached_from[*right as usize] != NONE {
                    continue;
                }
                reached_from[*right as usize] = left;
                match left_of[*right as usize] {
                    NONE => {
                        end = *right;
                        break 'search;
                    }
                    next => queue.push_back(next),
                }
            }
        }
        if end == NONE {
            continue;
        }
        matched += 1;
        loop {
            let left = reached_from[end as usize];
            let previous = std::mem::replace(&mut right_of[left as usize], end);
            left_of[end as usize] = left;
            match previous {
                NONE => break,
                previous => end = previous,
            }
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The best number of equal bins, by trying everything.
    fn exact(items: &[[u64; 2]], capacity: [u64; 2], bins: &mut Vec<[u64; 2]>, best: &mut usize) {
        if bins.len() >= *best {
            return;
        }
        let Some((item, rest)) = items.split_first() else {
            *best = bins.len();
            return;
        };
        for at in 0..bins.len() {
            if (0..2).all(|d| bins[at][d] >= item[d]) {
                (0..2).for_each(|d| bins[at][d] -= item[d]);
                exact(rest, capacity, bins, best);
                (0..2).for_each(|d| bins[at][d] += item[d]);
            }
        }
        bins.push([capacity[0] - item[0], capacity[1] - item[1]]);
        exact(rest, capacity, bins, best);
        bins.pop();
    }

    #[test]
    fn large_items_need_a_bin_each() {
        let bins = vec![[10]; 9];
        assert_eq!(hosts_needed(&[[6], [6], [6]], &bins), 3, "volume alone says 2");
        assert_eq!(hosts_needed(&[[6], [6], [5], [5], [5]], &bins), 4, "three of half a bin take two more");
        assert_eq!(hosts_needed::<1>(&[], &bins), 0);
    }

    #[test]
    fn unequal_bins_are_counted_largest_first() {
        assert_eq!(hosts_needed(&[[5], [5], [5]], &[[4], [12], [8]]), 2);
    }

    #[test]
    fn pairs_must_fit_in_every_resource() {
        // Any two are too much in one resource or the other.
        assert_eq!(hosts_needed(&[[40, 90], [50, 20], [60, 20]], &[[100, 100]; 9]), 3);
    }

    proptest! {
        #[test]
        fn never_above_the_best_packing(items in proptest::collection::vec((0u64..=20, 0u64..=20), 1..9)) {
            let items: Vec<[u64; 2]> = items.into_iter().map(|(a, b)| [a, b]).collect();
            let mut best = items.len() + 1;
            exact(&items, [20, 20], &mut Vec::new(), &mut best);
            prop_assert!(hosts_needed(&items, &[[20, 20]; 9]) <= best);
        }
    }
}
