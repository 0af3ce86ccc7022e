//! What the journal's thread does with the database.

use std::collections::{BTreeMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::error::JournalError;
use super::event::{Event, Measured, RunId, TaskEvent};
use super::lease::{self, Attempt, Holder, now_millis};
use super::ledger::Ledger;
use super::reader;
use super::replay::{self, Head, head, link};
use super::schema::{failed, open_writer};
use super::state::{self, StateCache, toggle};
use super::status::TaskEventKind;
use super::store::{Leased, PlannedFaults};

/// So many events are proven at every open; all of them are by `JournalReader::verify`.
const PROVEN_AT_OPEN: u64 = 2000;

/// How much the newest measurement counts against all before.
const NEWEST: f64 = 0.3;

pub(super) struct Writer {
    connection: Connection,
    path: Utf8PathBuf,
    cache: StateCache,
    lease: Option<Lease>,
    faults: PlannedFaults,
    written: u64,
}

struct Lease {
    epoch: u64,
    scopes: HashSet<String>,
}

impl Writer {
    pub fn open(root: &Utf8Path, faults: PlannedFaults) -> Result<Self, JournalError> {
        let (connection, path) = open_writer(root)?;
        let writer = Self { connection, path, cache: StateCache::default(), lease: None, faults, written: 0 };
        writer.prove_end()?;
        writer.repair_states()?;
        Ok(writer)
    }

    /// Proves the last events, so that a torn or cut file is found before anything is added to it.
    fn prove_end(&self) -> Result<(), JournalError> {
        let last = head(&self.connection).map_err(failed(&self.path, "reading its head"))?;
        replay::read(&self.connection, &self.path, last.seq.saturating_sub(PROVEN_AT_OPEN), |_| Ok(()))
    }

    /// Builds the cached states anew from the events if their sum is wrong.
    fn repair_states(&self) -> Result<(), JournalError> {
        let fail = failed(&self.path, "proving its cached states");
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(&fail)?;
        let stored = head(&tx).map_err(&fail)?;
        if reader::rows_by_sum(&tx, &self.path, &stored.state_sum)?.is_none() {
            let truth = replay::replay(&tx, &self.path)?;
            tx.execute("DELETE FROM task_state", []).map_err(&fail)?;
            let mut sum = [0; state::HASH];
            for row in truth.rows.values() {
                state::write(&tx, None, row).map_err(&fail)?;
                toggle(&mut sum, &row.sum());
            }
            tx.execute("UPDATE head SET state_sum = ?1", [sum]).map_err(&fail)?;
        }
        tx.commit().map_err(&fail)
    }

    /// Writes every event of the group in one transaction.
    pub fn commit(&mut self, group: &[(RunId, Vec<Event>)]) -> Result<u64, JournalError> {
        let result = self.try_commit(group);
        if result.is_err() {
            self.cache.forget();
        }
        result
    }

    fn try_commit(&mut self, group: &[(RunId, Vec<Event>)]) -> Result<u64, JournalError> {
        let fail = failed(&self.path, "writing events");
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(&fail)?;
        let epoch = match &self.lease {
            Some(lease) if !lease::is_current(&tx, lease.epoch).map_err(&fail)? => {
                return Err(JournalError::Fenced { epoch: lease.epoch });
            }
            Some(lease) => lease.epoch,
            None => 0,
        };
        let mut at = head(&tx).map_err(&fail)?;
        let time = now_millis();
        let mut learned = Learned::default();
        let mut refused = false;
        'group: for (run, events) in group {
            for event in events {
                if self.faults.refuse_after.is_some_and(|limit| self.written >= limit) {
                    refused = true;
                    break 'group;
                }
                if let Event::Task(TaskEvent { task, .. }) | Event::CheckFailed { task, .. } = event
                    && !self.lease.as_ref().is_some_and(|lease| lease.scopes.contains(task.scope()))
                {
                    return Err(JournalError::NotLeased { scope: task.scope().to_owned() });
                }
                insert(&tx, &mut at, time, run, epoch, event).map_err(&fail)?;
                derive(&tx, &mut self.cache, &mut at, time, run, epoch, event, &self.path)?;
                learned.take(event);
                self.written += 1;
            }
        }
        learned.write(&tx).map_err(&fail)?;
        let mut update = tx.prepare_cached("UPDATE head SET seq = ?1, chain = ?2, state_sum = ?3").map_err(&fail)?;
        update.execute(params![at.seq as i64, at.chain, at.state_sum]).map_err(&fail)?;
        drop(update);
        tx.commit().map_err(&fail)?;
        if refused { Err(JournalError::PlannedFault) } else { Ok(at.seq) }
    }

    pub fn acquire(&mut self, scopes: &[String], holder: Holder) -> Result<Leased, JournalError> {
        let fail = failed(&self.path, "taking leases");
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(&fail)?;
        let (epoch, over) = match lease::acquire(&tx, scopes, &holder).map_err(&fail)? {
            Attempt::Held { scopes, holder } => return Err(JournalError::Locked { scopes, holder }),
            Attempt::Taken { epoch, over } => (epoch, over),
        };
        let mut at = head(&tx).map_err(&fail)?;
        for (scopes, from) in &over {
            let event =
                Event::LeaseTakenOver { scopes: scopes.clone(), from: from.to_string(), from_epoch: from.epoch };
            insert(&tx, &mut at, now_millis(), &holder.run, epoch, &event).map_err(&fail)?;
        }
        tx.execute("UPDATE head SET seq = ?1, chain = ?2", params![at.seq as i64, at.chain]).map_err(&fail)?;
        tx.commit().map_err(&fail)?;
        // What others wrote meanwhile is not in the cache.
        self.cache.forget();
        self.lease = Some(Lease { epoch, scopes: scopes.iter().cloned().collect() });
        Ok(Leased { epoch, taken_over: over.into_iter().map(|(_, holder)| holder).collect() })
    }

    /// Says that we live, and finds out if somebody took over.
    pub fn beat(&mut self) -> Result<(), JournalError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let fail = failed(&self.path, "renewing its leases");
        if !lease::is_current(&self.connection, lease.epoch).map_err(&fail)? {
            return Err(JournalError::Fenced { epoch: lease.epoch });
        }
        lease::beat(&self.connection, lease.epoch).map_err(&fail)
    }

    pub fn ledger(&self) -> Result<Ledger, JournalError> {
        reader::ledger(&self.connection, &self.path)
    }

    /// Gives the leases back. If that fails they are free anyway as soon as this process has ended.
    pub fn close(self) {
        if let Some(lease) = &self.lease {
            let released = lease::release(&self.connection, lease.epoch);
            if let Err(error) = released {
                tracing::warn!(%error, "the leases could not be given back");
            }
        }
    }
}

/// Adds one event to the chain.
fn insert(tx: &Connection, at: &mut Head, time: i64, run: &RunId, epoch: u64, event: &Event) -> rusqlite::Result<()> {
    let body = serde_json::to_string(event).expect("an event is JSON");
    at.seq += 1;
    at.chain = link(&at.chain, at.seq, time, run.as_str(), epoch, &body);
    let mut insert =
        tx.prepare_cached("INSERT INTO event (seq, time, run, epoch, body, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    insert.execute(params![at.seq as i64, time, run.as_str(), epoch as i64, body, at.chain]).map(drop)
}

/// Keeps what is derived from events: the last word on each task, the list of runs.
#[expect(clippy::too_many_arguments, reason = "the parts of a record that is not put together on this hot path")]
fn derive(
    tx: &Connection,
    cache: &mut StateCache,
    at: &mut Head,
    time: i64,
    run: &RunId,
    epoch: u64,
    event: &Event,
    path: &Utf8Path,
) -> Result<(), JournalError> {
    let fail = failed(path, "writing what follows from an event");
    let seq = at.seq;
    match event {
        Event::Task(task) => {
            let mut illegal = None;
            cache
                .update::<rusqlite::Error>(tx, &task.task, &mut at.state_sum, |row| {
                    illegal = row.take(task, run, seq).err();
                    Ok(())
                })
                .map_err(&fail)?;
            match illegal {
                Some(error) => Err(JournalError::Illegal { task: task.task.to_string(), seq, error }),
                None => Ok(()),
            }
        }
        Event::CheckFailed { task, message } => cache
            .update(tx, task, &mut at.state_sum, |row| {
                row.message = Some(message.clone());
                row.run = run.to_string();
                row.seq = seq;
                Ok(())
            })
            .map_err(&fail),
        Event::RunOpened(about) => {
            let body = serde_json::to_string(about).expect("a run is JSON");
            let sql = "INSERT OR REPLACE INTO run (run, opened, epoch, body) VALUES (?1, ?2, ?3, ?4)";
            tx.execute(sql, params![run.as_str(), time, epoch as i64, body]).map(drop).map_err(&fail)
        }
        Event::RunClosed { outcome, summary } => {
            let sql = "UPDATE run SET closed = ?2, outcome = ?3, summary = ?4 WHERE run = ?1";
            tx.execute(sql, params![run.as_str(), time, outcome, summary]).map(drop).map_err(&fail)
        }
        Event::EditsAccepted { .. } | Event::LeaseTakenOver { .. } | Event::Interrupted { .. } => Ok(()),
    }
}

/// How fast finished work was, gathered over one transaction.
#[derive(Default)]
struct Learned {
    rates: BTreeMap<String, Vec<f64>>,
    seconds: BTreeMap<String, Vec<f64>>,
}

impl Learned {
    fn take(&mut self, event: &Event) {
        let Event::Task(TaskEvent { task, event: TaskEventKind::Applied, measured: Some(measured), .. }) = event else {
            return;
        };
        let Measured { millis, moved } = measured;
        let seconds = (*millis).max(1) as f64 / 1000.0;
        match moved {
            Some((kind, bytes)) if *bytes > 0 => {
                self.rates.entry(kind.clone()).or_default().push(*bytes as f64 / seconds);
            }
            _ => {
                let rest = task.as_str().split_once('/').map_or("", |(_, rest)| rest);
                self.seconds.entry(format!("*/{rest}")).or_default().push(seconds);
            }
        }
    }

    fn write(&self, tx: &Connection) -> rusqlite::Result<()> {
        let rate = "INSERT INTO rate VALUES (?1, ?2, 1) ON CONFLICT (kind) DO UPDATE SET
                    bytes_per_second = bytes_per_second * (1 - ?3) + ?2 * ?3, samples = samples + 1";
        let duration = "INSERT INTO duration VALUES (?1, ?2, 1) ON CONFLICT (pattern) DO UPDATE SET
                        seconds = seconds * (1 - ?3) + ?2 * ?3, samples = samples + 1";
        for (sql, learned) in [(rate, &self.rates), (duration, &self.seconds)] {
            if learned.is_empty() {
                continue;
            }
            let mut upsert = tx.prepare_cached(sql)?;
            for (name, values) in learned {
                // Many of one kind in one transaction count as their mean.
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                upsert.execute(params![name, mean, NEWEST])?;
            }
        }
        Ok(())
    }
}
