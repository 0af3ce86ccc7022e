//! Vector packing in any number of dimensions: items, bins and a packing in the making.

use super::bound::hosts_needed;
use super::greedy;
use super::improve::improve;

/// What is packed.
#[derive(Clone, Debug)]
pub(super) struct Item<const D: usize> {
    /// How much of each it takes.
    pub size: [u64; D],
    /// Groups of which one bin takes one item only, sorted.
    pub apart: Vec<u32>,
    /// The only bins it may go to, sorted.
    pub only: Option<Vec<u32>>,
}

/// Where each item went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// The bin of each item; `None` for what found no place.
    pub bin_of: Vec<Option<u32>>,
    /// How many bins hold something.
    pub bins_used: usize,
    /// How many are needed at least for what found a place.
    pub at_least: usize,
}

/// Packs vectors into as few of the bins as possible; see the module's introduction for how.
pub fn pack<const D: usize>(items: &[[u64; D]], bins: &[[u64; D]]) -> Packing {
    let items: Vec<Item<D>> = items.iter().map(|size| Item { size: *size, apart: Vec::new(), only: None }).collect();
    let scale = Scale::new(&items, bins);
    let all: Vec<u32> = (0..items.len() as u32).collect();
    let state = pack_on(State::new(&items, bins), &all, &scale, &Budget::WHOLE);
    let placed = state.bin_of.iter().zip(&items).filter(|(bin, _)| bin.is_some()).map(|(_, item)| item.size);
    let at_least = hosts_needed(&placed.collect::<Vec<_>>(), bins);
    Packing { bins_used: state.bins_used(), bin_of: state.bin_of, at_least }
}

/// Adds some items to a packing; those that lie in it already stay where they are.
pub(super) fn pack_on<'a, const D: usize>(
    start: State<'a, D>,
    added: &[u32],
    scale: &Scale<D>,
    budget: &Budget,
) -> State<'a, D> {
    let start = start.settled();
    let best = greedy::best(&start, added, scale, budget.greedy);
    let placed = best.bin_of.iter().zip(best.items).filter(|(bin, _)| bin.is_some()).map(|(_, item)| item.size);
    let at_least = hosts_needed(&placed.collect::<Vec<_>>(), &best.bins);
    improve(best, at_least, scale, budget.improve)
}

/// How much work a packing may take, in looks at an item beside a bin: work, not time, so that the same input gives
/// the same packing everywhere.
pub(super) struct Budget {
    /// For all greedy heuristics together.
    greedy: u64,
    /// For the improvement.
    improve: u64,
}

impl Budget {
    /// What a whole placement may take.
    const WHOLE: Self = Self { greedy: 400_000_000, improve: 60_000_000 };

    /// The share of some of the items.
    pub fn share(some: usize, all: usize) -> Self {
        let part = |whole: u64| {
            let share = u128::from(whole) * some as u128 / all.max(1) as u128;
            u64::try_from(share).unwrap_or(whole).max(whole / 200)
        };
        Self { greedy: part(Self::WHOLE.greedy), improve: part(Self::WHOLE.improve) }
    }
}

/// Amounts as shares of the average bin, so that gigabytes and megahertz compare.
#[derive(Debug)]
pub(super) struct Scale<const D: usize> {
    /// One over the average capacity; zero for what nobody limits or needs.
    unit: [f64; D],
    /// How much each dimension matters: its share of what is asked for altogether.
    pub demand: [f64; D],
}

impl<const D: usize> Scale<D> {
    pub fn new(items: &[Item<D>], bins: &[[u64; D]]) -> Self {
        let unit: [f64; D] = std::array::from_fn(|d| {
            let total: f64 = bins.iter().map(|bin| bin[d] as f64).sum();
            if total > 0.0 { bins.len() as f64 / total } else { 0.0 }
        });
        let demand = std::array::from_fn(|d| {
            let asked: f64 = items.iter().map(|item| item.size[d] as f64).sum();
            asked * unit[d] / items.len().max(1) as f64
        });
        Self { unit, demand }
    }

    /// The shares of an amount.
    pub fn shares(&self, amount: &[u64; D]) -> [f64; D] {
        std::array::from_fn(|d| amount[d] as f64 * self.unit[d])
    }
}

/// How much each item weighs: its shares, each by how much it matters.
pub(super) fn weights<const D: usize>(items: &[Item<D>], scale: &Scale<D>) -> Vec<f64> {
    let weight = |item: &Item<D>| {
        let shares = scale.shares(&item.size);
        (0..D).map(|d| shares[d] * scale.demand[d]).sum()
    };
    items.iter().map(weight).collect()
}

/// A packing in the making.
#[derive(Clone, Debug)]
pub(super) struct State<'a, const D: usize> {
    pub items: &'a [Item<D>],
    pub bin_of: Vec<Option<u32>>,
    /// What is left of each bin.
    pub free: Vec<[u64; D]>,
    /// What lies in each bin.
    pub held: Vec<Vec<u32>>,
    /// How much each bin takes.
    pub bins: Vec<[u64; D]>,
    /// Bins that held something before: they are in use whatever is added, and what they hold stays.
    settled: Vec<bool>,
    /// What lay there before.
    stays: Vec<bool>,
}

impl<'a, const D: usize> State<'a, D> {
    pub fn new(items: &'a [Item<D>], bins: &[[u64; D]]) -> Self {
        Self {
            items,
            bin_of: vec![None; items.len()],
            free: bins.to_vec(),
            held: vec![Vec::new(); bins.len()],
            bins: bins.to_vec(),
            settled: vec![false; bins.len()],
            stays: vec![false; items.len()],
        }
    }

    /// The same, where everything that lies somewhere stays there.
    pub fn settled(mut self) -> Self {
        self.settled = self.held.iter().map(|held| !held.is_empty()).collect();
        self.stays = self.bin_of.iter().map(Option::is_some).collect();
        self
    }

    /// Whether the bin is in use whatever is taken out of it.
    pub fn is_settled(&self, bin: u32) -> bool {
        self.settled[bin as usize]
    }

    /// Whether the bin holds something.
    pub fn in_use(&self, bin: u32) -> bool {
        !self.held[bin as usize].is_empty()
    }

    pub fn fits(&self, item: u32, bin: u32) -> bool {
        let (wanted, free) = (&self.items[item as usize], &self.free[bin as usize]);
        (0..D).all(|d| wanted.size[d] <= free[d]) && self.may(item, bin)
    }

    /// Whether the item may be there, were there room.
    pub fn may(&self, item: u32, bin: u32) -> bool {
        let wanted = &self.items[item as usize];
        wanted.only.as_ref().is_none_or(|only| only.binary_search(&bin).is_ok())
            && (wanted.apart.is_empty() || self.keeps_away(item, bin).is_none())
    }

    /// An item of the bin that does not share it with this one.
    pub fn keeps_away(&self, item: u32, bin: u32) -> Option<u32> {
        let apart = &self.items[item as usize].apart;
        let clash = |held: &&u32| self.items[**held as usize].apart.iter().any(|group| apart.contains(group));
        self.held[bin as usize].iter().find(clash).copied()
    }

    pub fn put(&mut self, item: u32, bin: u32) {
        let size = &self.items[item as usize].size;
        let free = &mut self.free[bin as usize];
        for (free, size) in free.iter_mut().zip(size) {
            *free -= size;
        }
        self.held[bin as usize].push(item);
        self.bin_of[item as usize] = Some(bin);
    }

    /// Takes an item out of the bin it lies in.
    pub fn take(&mut self, item: u32, bin: u32) {
        let held = &mut self.held[bin as usize];
        // What is taken out was mostly put in last.
        let at = held.iter().rposition(|other| *other == item).expect("what is taken out of a bin lies in it");
        held.remove(at);
        let (size, free) = (&self.items[item as usize].size, &mut self.free[bin as usize]);
        for (free, size) in free.iter_mut().zip(size) {
            *free += size;
        }
        self.bin_of[item as usize] = None;
    }

    /// Empties a bin, but for what stays, and returns what was in it.
    pub fn empty(&mut self, bin: u32) -> Vec<u32> {
        let all = &mut self.held[bin as usize];
        let held = match self.settled[bin as usize] {
            false => std::mem::take(all),
            true => {
                let stays = &self.stays;
                let held = all.iter().copied().filter(|item| !stays[*item as usize]).collect();
                all.retain(|item| stays[*item as usize]);
                held
            }
        };
        let free = &mut self.free[bin as usize];
        for item in &held {
            let size = &self.items[*item as usize].size;
            for (free, size) in free.iter_mut().zip(size) {
                *free += size;
            }
            self.bin_of[*item as usize] = None;
        }
        held
    }

    pub fn bins_used(&self) -> usize {
        self.held.iter().filter(|held| !held.is_empty()).count()
    }

    /// How many of these lie nowhere.
    pub fn unplaced(&self, some: &[u32]) -> usize {
        some.iter().filter(|item| self.bin_of[**item as usize].is_none()).count()
    }
}
