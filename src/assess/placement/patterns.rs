//! A sharper lower bound for equal bins: the linear relaxation over patterns, the sets of items that fit a bin (Gilmore
//! and Gomory, *A linear programming approach to the cutting-stock problem*, Operations Research 9, 1961). Patterns are
//! made as they are needed; each round's prices give a proven bound (Farley, Operations Research 38, 1990), so that it
//! may stop at any time. It takes seconds where the other bounds take none: benchmarks ask it, plans do not.

/// What a rounding of prices may hide; a bound of 12.0000001 counts as 12.
const TOLERANCE: f64 = 1e-6;

/// How many bins of that capacity are needed at least; `rounds` limits the work. Nothing if an item fits no bin.
pub fn hosts_needed_by_patterns<const D: usize>(
    items: &[[u64; D]],
    capacity: &[u64; D],
    rounds: usize,
) -> Option<usize> {
    if items.iter().any(|item| (0..D).any(|d| item[d] > capacity[d])) {
        return None;
    }
    let mut relaxation = Relaxation::new(items.len());
    let mut best = 0.0_f64;
    for _ in 0..rounds {
        let prices = relaxation.prices();
        let Some((worth, pattern)) = Pricing::new(items, capacity, &prices).best() else { break };
        if worth <= 0.0 {
            break;
        }
        best = best.max(prices.iter().sum::<f64>() / worth);
        let reached = (best - TOLERANCE).ceil() >= (relaxation.value() - TOLERANCE).ceil();
        if worth <= 1.0 + TOLERANCE || reached || !relaxation.enter(&pattern) {
            break;
        }
    }
    Some((best - TOLERANCE).ceil().max(0.0) as usize)
}

/// The relaxation's simplex table: one row an item, each row's pattern is used as often as `amount` says.
struct Relaxation {
    inverse: Vec<Vec<f64>>,
    amount: Vec<f64>,
}

impl Relaxation {
    /// Every item in a bin of its own.
    fn new(count: usize) -> Self {
        let row = |at: usize| (0..count).map(|column| f64::from(u8::from(column == at))).collect();
        Self { inverse: (0..count).map(row).collect(), amount: vec![1.0; count] }
    }

    /// How many bins the relaxation uses.
    fn value(&self) -> f64 {
        self.amount.iter().sum()
    }

    /// What each item is worth; smaller items may take the place of larger ones, so nothing is worth less than nothing.
    fn prices(&self) -> Vec<f64> {
        let mut prices = vec![0.0; self.amount.len()];
        for row in &self.inverse {
            prices.iter_mut().zip(row).for_each(|(price, value)| *price += value);
        }
        prices.iter_mut().for_each(|price| *price = price.max(0.0));
        prices
    }

    /// Takes a pattern in for another one; `false` if none gives way.
    fn enter(&mut self, pattern: &[usize]) -> bool {
        let column: Vec<f64> = self.inverse.iter().map(|row| pattern.iter().map(|item| row[*item]).sum()).collect();
        let ratio = |at: usize| self.amount[at] / column[at];
        let rows = (0..column.len()).filter(|at| column[*at] > 1e-9);
        let Some(leaves) = rows.min_by(|a, b| ratio(*a).total_cmp(&ratio(*b)).then(column[*b].total_cmp(&column[*a])))
        else {
            return false;
        };
        let pivot = column[leaves];
        self.inverse[leaves].iter_mut().for_each(|value| *value /= pivot);
        self.amount[leaves] /= pivot;
        let (row, amount) = (self.inverse[leaves].clone(), self.amount[leaves]);
        for (at, factor) in column.iter().enumerate() {
            if at != leaves && *factor != 0.0 {
                self.inverse[at].iter_mut().zip(&row).for_each(|(value, other)| *value -= factor * other);
                self.amount[at] = (self.amount[at] - factor * amount).max(0.0);
            }
        }
        true
    }
}

/// The search for the pattern that is worth the most.
struct Pricing<'a, const D: usize> {
    items: &'a [[u64; D]],
    capacity: &'a [u64; D],
    prices: &'a [f64],
    /// Items that are worth something, the best by size first.
    order: Vec<usize>,
    /// The best worth of a unit of each resource, and of all together, among this item and those after it.
    densest: Vec<([f64; D], f64)>,
    nodes: u64,
    worth: f64,
    chosen: Vec<usize>,
}

/// Sets that one search looks at; beyond, the prices prove nothing.
const NODES: u64 = 1_000_000;

impl<'a, const D: usize> Pricing<'a, D> {
    fn new(items: &'a [[u64; D]], capacity: &'a [u64; D], prices: &'a [f64]) -> Self {
        let share = |item: usize| -> f64 {
            (0..D).filter(|d| capacity[*d] > 0).map(|d| items[item][d] as f64 / capacity[d] as f64).sum()
        };
        let mut order: Vec<usize> = (0..items.len()).filter(|item| prices[*item] > 1e-12).collect();
        order.sort_by(|a, b| (prices[*b] * share(*a)).total_cmp(&(prices[*a] * share(*b))).then(a.cmp(b)));
        let mut densest = vec![([0.0_f64; D], 0.0_f64); order.len() + 1];
        for (at, item) in order.iter().enumerate().rev() {
            let density = |size: f64| if size > 0.0 { prices[*item] / size } else { f64::INFINITY };
            let (each, all): ([f64; D], f64) = densest[at + 1];
            densest[at] =
                (std::array::from_fn(|d| each[d].max(density(items[*item][d] as f64))), all.max(density(share(*item))));
        }
        Self { items, capacity, prices, order, densest, nodes: NODES, worth: 0.0, chosen: Vec::new() }
    }

    /// The worth of the best pattern, and that pattern; nothing if the search was not finished.
    fn best(mut self) -> Option<(f64, Vec<usize>)> {
        let capacity = *self.capacity;
        self.go(0, capacity, 0.0, &mut Vec::new());
        (self.nodes > 0).then_some((self.worth, self.chosen))
    }

    fn go(&mut self, from: usize, free: [u64; D], worth: f64, way: &mut Vec<usize>) {
        if worth > self.worth {
            self.worth = worth;
            self.chosen.clone_from(way);
        }
        for at in from..self.order.len() {
            let (each, all) = &self.densest[at];
            let bound = |room: f64, density: f64| if room > 0.0 { room * density } else { f64::INFINITY };
            let room: f64 =
                (0..D).filter(|d| self.capacity[*d] > 0).map(|d| free[d] as f64 / self.capacity[d] as f64).sum();
            let most = (0..D).map(|d| bound(free[d] as f64, each[d])).fold(bound(room, *all), f64::min);
            if worth + most <= self.worth + 1e-12 || self.nodes == 0 {
                return;
            }
            self.nodes -= 1;
            let item = self.order[at];
            let size = &self.items[item];
            if (0..D).all(|d| size[d] <= free[d]) {
                way.push(item);
                let left = std::array::from_fn(|d| free[d] - size[d]);
                self.go(at + 1, left, worth + self.prices[item], way);
                way.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{hosts_needed, pack};
    use super::*;

    #[test]
    fn patterns_see_what_single_resources_do_not() {
        // Any two are too much in one of three resources, and every resource alone has room for more.
        let items = [[60, 10, 50], [50, 60, 10], [10, 50, 60], [60, 10, 50], [50, 60, 10], [10, 50, 60]];
        assert_eq!(hosts_needed_by_patterns(&items, &[100; 3], 100), Some(6));
        assert_eq!(hosts_needed_by_patterns(&[[101]], &[100], 100), None);
        assert_eq!(hosts_needed_by_patterns::<1>(&[], &[100], 100), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_above_a_packing_and_seldom_below_the_other_bounds(
            items in proptest::collection::vec((1u64..=60, 1u64..=60), 1..14),
        ) {
            let items: Vec<[u64; 2]> = items.into_iter().map(|(a, b)| [a, b]).collect();
            let bins = vec![[60; 2]; items.len()];
            let bound = hosts_needed_by_patterns(&items, &[60; 2], 500).unwrap();
            prop_assert!(bound <= pack(&items, &bins).bins_used);
            let volume = (0..2).map(|d| items.iter().map(|item| item[d]).sum::<u64>().div_ceil(60)).max().unwrap();
            prop_assert!(bound as u64 >= volume, "{bound} < {volume}");
            prop_assert!(bound + 1 >= hosts_needed(&items, &bins));
        }
    }
}
