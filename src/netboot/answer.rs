//! What a machine is told to boot, and the counter that ends boot loops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::BootRequest;
use crate::hardware::{MacAddress, SmbiosUuid};

/// What was decided for a device, by a person or by a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootWish {
    /// It boots into the agent, until told otherwise.
    Agent,
    /// It boots into the agent once, then from its own disk.
    AgentOnce,
    /// It boots from its own disk.
    Local,
    /// It gets no answer at all.
    Ignore,
}

/// Boots into the agent since somebody last heard from it, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootCount {
    /// So many.
    pub boots: u32,
    /// At most so many.
    pub limit: u32,
}

/// What a device's wish and count come to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Into the agent, for the time that `boot` counts.
    Agent {
        /// From 1.
        boot: u32,
    },
    /// From its own disk, as asked.
    Local,
    /// From its own disk, because it came back too often.
    LoopEnded,
    /// No answer.
    Ignore,
}

/// The decision, and the wish and the count from now on. A boot into the agent is counted before it happens: a machine
/// that never gets that far has used it up all the same.
pub fn decide(wish: BootWish, count: BootCount) -> (Decision, BootWish, BootCount) {
    match wish {
        BootWish::Ignore => (Decision::Ignore, wish, count),
        BootWish::Local => (Decision::Local, wish, count),
        BootWish::Agent | BootWish::AgentOnce if count.boots >= count.limit => (Decision::LoopEnded, wish, count),
        BootWish::Agent | BootWish::AgentOnce => {
            let count = BootCount { boots: count.boots + 1, ..count };
            let next = if wish == BootWish::AgentOnce { BootWish::Local } else { wish };
            (Decision::Agent { boot: count.boots }, next, count)
        }
    }
}

/// What the boot script says.
#[derive(Clone, PartialEq, Eq)]
pub enum BootAnswer {
    /// Into the agent.
    Agent {
        /// What people call the machine.
        name: String,
        /// Words of the kernel command line: controller, CA, token, console.
        order: Vec<String>,
        /// Which boot this is since somebody last heard from its agent.
        count: BootCount,
    },
    /// From its own disk.
    Local {
        /// What people call the machine.
        name: String,
        /// The count that ended a loop, if one did.
        looped: Option<BootCount>,
    },
    /// Nothing.
    Ignore,
}

/// Who boots into what.
pub trait BootDirectory: Send + Sync {
    /// The answer for a machine that asks now. Counts, and uses up what holds once.
    fn answer(&self, request: &BootRequest) -> BootAnswer;

    /// Whom DHCP answers. Everybody else hears nothing.
    fn answered(&self) -> BTreeSet<MacAddress>;
}

/// A device of a [`BootTable`].
#[derive(Clone)]
pub struct BootEntry {
    /// What people call it.
    pub name: String,
    /// The UUID that its firmware must show, if known.
    pub uuid: Option<SmbiosUuid>,
    /// What it boots.
    pub wish: BootWish,
    /// How often it may boot into the agent.
    pub count: BootCount,
    /// Words of the kernel command line.
    pub order: Vec<String>,
}

/// A [`BootDirectory`] in memory, for a service that serves a list given once.
#[derive(Default)]
pub struct BootTable(Mutex<BTreeMap<MacAddress, BootEntry>>);

impl BootTable {
    /// Adds a device, or replaces it.
    pub fn put(&self, mac: MacAddress, entry: BootEntry) {
        self.entries().insert(mac, entry);
    }

    /// The device, as it stands.
    pub fn get(&self, mac: MacAddress) -> Option<BootEntry> {
        self.entries().get(&mac).cloned()
    }

    /// Somebody heard from the device's agent: no loop.
    pub fn heard(&self, mac: MacAddress) {
        if let Some(entry) = self.entries().get_mut(&mac) {
            entry.count.boots = 0;
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<MacAddress, BootEntry>> {
        // Every change is one assignment: there is no half of it to fear.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BootDirectory for BootTable {
    fn answer(&self, request: &BootRequest) -> BootAnswer {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&request.mac) else { return BootAnswer::Ignore };
        if let (Some(known), Some(shown)) = (entry.uuid, request.uuid)
            && !known.names_same_machine(&shown)
        {
            tracing::warn!(mac = %request.mac, %known, %shown, "another machine uses this MAC address: it gets no answer");
            return BootAnswer::Ignore;
        }
        let (decision, wish, count) = decide(entry.wish, entry.count);
        (entry.wish, entry.count) = (wish, count);
        let name = entry.name.clone();
        match decision {
            Decision::Agent { .. } => BootAnswer::Agent { name, order: entry.order.clone(), count },
            Decision::Local => BootAnswer::Local { name, looped: None },
            Decision::LoopEnded => BootAnswer::Local { name, looped: Some(count) },
            Decision::Ignore => BootAnswer::Ignore,
        }
    }

    fn answered(&self) -> BTreeSet<MacAddress> {
        let entries = self.entries();
        entries.iter().filter(|(_, entry)| entry.wish != BootWish::Ignore).map(|(mac, _)| *mac).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> BootRequest {
        BootRequest::parse(text).unwrap()
    }

    fn table(wish: BootWish, limit: u32) -> BootTable {
        let table = BootTable::default();
        let entry = BootEntry {
            name: "web01".into(),
            uuid: "00000000-0000-0000-0000-000000000007".parse().ok(),
            wish,
            count: BootCount { boots: 0, limit },
            order: vec!["x".into()],
        };
        table.put("52:54:00:00:00:01".parse().unwrap(), entry);
        table
    }

    #[test]
    fn once_is_once_and_a_loop_ends() {
        let asks = request("mac=52-54-00-00-00-01");
        let once = table(BootWish::AgentOnce, 3);
        assert!(matches!(once.answer(&asks), BootAnswer::Agent { .. }));
        assert!(matches!(once.answer(&asks), BootAnswer::Local { looped: None, .. }));
        let always = table(BootWish::Agent, 2);
        assert!(matches!(always.answer(&asks), BootAnswer::Agent { count: BootCount { boots: 1, .. }, .. }));
        assert!(matches!(always.answer(&asks), BootAnswer::Agent { count: BootCount { boots: 2, .. }, .. }));
        assert!(matches!(always.answer(&asks), BootAnswer::Local { looped: Some(_), .. }));
        always.heard(asks.mac);
        assert!(matches!(always.answer(&asks), BootAnswer::Agent { .. }));
    }

    #[test]
    fn strangers_ignored_devices_and_borrowed_addresses_get_nothing() {
        let agent = table(BootWish::Agent, 3);
        assert!(agent.answer(&request("mac=52-54-00-00-00-02")) == BootAnswer::Ignore);
        let other = request("mac=52-54-00-00-00-01&uuid=00000000-0000-0000-0000-000000000008");
        assert!(agent.answer(&other) == BootAnswer::Ignore);
        assert_eq!(agent.get(other.mac).unwrap().count.boots, 0, "a stranger uses nothing up");
        let ignored = table(BootWish::Ignore, 3);
        assert!(ignored.answered().is_empty());
        assert!(ignored.answer(&request("mac=52-54-00-00-00-01")) == BootAnswer::Ignore);
    }

    proptest! {
        #[test]
        fn the_agent_is_never_booted_more_often_than_the_limit(limit in 0u32..6, asks in 0usize..20, once: bool) {
            let (mut wish, mut count) = (if once { BootWish::AgentOnce } else { BootWish::Agent }, BootCount { boots: 0, limit });
            let mut agents = 0;
            for _ in 0..asks {
                let (decision, next, counted) = decide(wish, count);
                (wish, count) = (next, counted);
                agents += u32::from(matches!(decision, Decision::Agent { .. }));
            }
            prop_assert!(agents <= limit && (!once || agents <= 1));
        }
    }
}
