//! One machine's facts with their observations.

use super::fact::Observation;
use super::facts::Facts;
use super::section::Section as _;

/// What is known of one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The machine's name.
    pub name: String,
    /// The observations that the facts come from; a fact names its place in this list.
    pub observations: Vec<Observation>,
    /// The facts.
    pub facts: Facts,
}

impl Document {
    /// A document of one observation; every fact of `facts` comes from it.
    pub fn new(name: impl Into<String>, observation: Observation, facts: Facts) -> Self {
        Self { name: name.into(), observations: vec![observation], facts }
    }

    /// Adds what another document of the same machine says; where both know a fact, the newer one's counts.
    pub fn merge(&mut self, newer: Self) {
        let by = u16::try_from(self.observations.len()).unwrap_or(u16::MAX);
        let mut facts = newer.facts;
        facts.shift(by);
        self.observations.extend(newer.observations);
        self.facts.merge(facts);
        self.forget_unused();
    }

    /// Drops observations that no fact comes from any more, so that a document observed daily does not grow.
    fn forget_unused(&mut self) {
        let mut used = vec![false; self.observations.len()];
        mark(&self.facts.branches(), &mut used);
        let mut moved = vec![0; used.len()];
        let mut kept = 0;
        for (at, used) in used.iter().enumerate() {
            moved[at] = kept;
            kept += u16::from(*used);
        }
        let mut at = 0;
        self.observations.retain(|_| {
            at += 1;
            used[at - 1]
        });
        let mut branches = self.facts.branches();
        renumber(&mut branches, &moved);
        self.facts = super::section::read_section(&branches, &mut Vec::new());
    }
}

fn mark(branches: &[super::Branch], used: &mut [bool]) {
    for branch in branches {
        match &branch.content {
            super::Content::Value(_, from) => {
                if let Some(used) = used.get_mut(usize::from(*from)) {
                    *used = true;
                }
            }
            super::Content::Section(inner, _) => mark(inner, used),
        }
    }
}

fn renumber(branches: &mut [super::Branch], moved: &[u16]) {
    for branch in branches {
        match &mut branch.content {
            super::Content::Value(_, from) => *from = moved.get(usize::from(*from)).copied().unwrap_or_default(),
            super::Content::Section(inner, _) => renumber(inner, moved),
        }
    }
}
