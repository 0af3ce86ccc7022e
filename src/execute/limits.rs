//! Named budgets (`store`, `host:local`, `source:...`): how many tasks may hold a unit of each at once, and who waits.
//! A task takes all its units or none, so no two tasks can wait for each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// A budget's index.
type BudgetIndex = u16;

struct Budget {
    name: String,
    free: u32,
    waiting: BinaryHeap<Reverse<u32>>,
}

/// The budgets of a run and what each task needs of them. Tasks are numbered; lower numbers are served first.
pub(super) struct Budgets {
    budgets: Vec<Budget>,
    /// Different lists of budgets, and which of them each task needs.
    lists: Vec<Box<[BudgetIndex]>>,
    list_of: Vec<u16>,
}

impl Budgets {
    /// `limits` by name; a name without a limit has one unit.
    pub fn new<'a>(limits: &BTreeMap<String, u32>, needs: impl Iterator<Item = &'a [String]>) -> Self {
        let mut names: HashMap<&str, BudgetIndex> = HashMap::new();
        let mut known: HashMap<&[String], u16> = HashMap::new();
        let (mut budgets, mut lists, mut list_of) = (Vec::new(), Vec::new(), Vec::new());
        for need in needs {
            let list = *known.entry(need).or_insert_with(|| {
                let mut list: Vec<BudgetIndex> = need
                    .iter()
                    .map(|name| {
                        *names.entry(name).or_insert_with(|| {
                            let free = limits.get(name).copied().unwrap_or(1).max(1);
                            budgets.push(Budget { name: name.clone(), free, waiting: BinaryHeap::new() });
                            index(budgets.len() - 1)
                        })
                    })
                    .collect();
                list.sort_unstable();
                list.dedup();
                lists.push(list.into_boxed_slice());
                index(lists.len() - 1)
            });
            list_of.push(list);
        }
        Self { budgets, lists, list_of }
    }

    fn list(&self, task: u32) -> &[BudgetIndex] {
        &self.lists[usize::from(self.list_of[task as usize])]
    }

    /// Takes all units of the task, or puts it into the queue of a budget that is used up: its name and the place.
    pub fn take_or_wait(&mut self, task: u32) -> Result<(), (&str, usize)> {
        let list = &self.lists[usize::from(self.list_of[task as usize])];
        match list.iter().find(|budget| self.budgets[usize::from(**budget)].free == 0) {
            None => {
                for budget in list {
                    self.budgets[usize::from(*budget)].free -= 1;
                }
                Ok(())
            }
            Some(full) => {
                let full = &mut self.budgets[usize::from(*full)];
                full.waiting.push(Reverse(task));
                Err((&full.name, full.waiting.len()))
            }
        }
    }

    /// Gives the units of the task back. Tasks that may try again are added to `woken`.
    pub fn give_back(&mut self, task: u32, woken: &mut Vec<u32>) {
        for at in 0..self.list(task).len() {
            let budget = usize::from(self.list(task)[at]);
            self.budgets[budget].free += 1;
        }
        self.wake_beside(task, woken);
    }

    /// Wakes the next of each queue that the task could stand in and whose budget has units. Called for a task that
    /// gave units back, and for one that was woken and had to wait elsewhere: the unit it was woken for is still free.
    pub fn wake_beside(&mut self, task: u32, woken: &mut Vec<u32>) {
        for at in 0..self.list(task).len() {
            let budget = usize::from(self.list(task)[at]);
            let budget = &mut self.budgets[budget];
            if budget.free > 0
                && let Some(Reverse(next)) = budget.waiting.pop()
            {
                woken.push(next);
            }
        }
    }
}

fn index(of: usize) -> u16 {
    u16::try_from(of).expect("a plan has fewer than 65,536 budgets and lists of budgets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(limits: &[(&str, u32)], needs: &[&[&str]]) -> Budgets {
        let limits = limits.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let needs: Vec<Vec<String>> =
            needs.iter().map(|list| list.iter().map(|name| (*name).to_owned()).collect()).collect();
        Budgets::new(&limits, needs.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_queue_has_places_and_is_served_in_task_order() {
        let mut budgets = budgets(&[("store", 1)], &[&["store"], &["store"], &["store"], &["store"]]);
        assert_eq!(budgets.take_or_wait(0), Ok(()));
        assert_eq!(budgets.take_or_wait(3), Err(("store", 1)));
        assert_eq!(budgets.take_or_wait(1), Err(("store", 2)));
        let mut woken = Vec::new();
        budgets.give_back(0, &mut woken);
        assert_eq!(woken, [1]);
    }

    #[test]
    fn a_unit_is_not_forgotten_when_the_woken_task_waits_elsewhere() {
        // 0 holds a, 1 holds b; 2 needs a and b, 3 needs a only.
        let mut budgets = budgets(&[("a", 1), ("b", 1)], &[&["a"], &["b"], &["a", "b"], &["a"]]);
        assert!(budgets.take_or_wait(0).is_ok() && budgets.take_or_wait(1).is_ok());
        assert!(budgets.take_or_wait(2).is_err() && budgets.take_or_wait(3).is_err());
        let mut woken = Vec::new();
        budgets.give_back(0, &mut woken);
        assert_eq!(woken, [2]);
        assert_eq!(budgets.take_or_wait(2), Err(("b", 1)), "b is held by 1");
        woken.clear();
        budgets.wake_beside(2, &mut woken);
        assert_eq!(woken, [3], "the unit of a goes to the next in its queue");
    }

    #[test]
    fn a_name_without_a_limit_has_one_unit() {
        let mut budgets = budgets(&[], &[&["x"], &["x"]]);
        assert!(budgets.take_or_wait(0).is_ok());
        assert!(budgets.take_or_wait(1).is_err());
    }
}
