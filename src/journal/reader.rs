//! The journal as `plan`, `status` and `rollback` read it: without any lock, while a run may be writing.

use std::collections::{BTreeMap, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, Transaction};

use crate::address::Address;

use super::error::JournalError;
use super::event::{Record, RunId, RunOpened};
use super::lease::{self, Holder};
use super::ledger::{Ledger, LedgerEntry};
use super::replay::{self, head};
use super::schema::{failed, open_reader};
use super::state::{COLUMNS, TaskRow, toggle};

/// One run, as it was opened and closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its name.
    pub run: RunId,
    /// When it began, milliseconds since 1970.
    pub opened: i64,
    /// When it ended; `None` while it runs, and for ever if its process died.
    pub closed: Option<i64>,
    /// What was recorded when it began.
    pub about: RunOpened,
    /// How it ended.
    pub outcome: Option<String>,
    /// One line for people.
    pub summary: Option<String>,
}

/// Reads a journal.
pub struct JournalReader {
    connection: Connection,
    path: Utf8PathBuf,
}

impl JournalReader {
    /// Opens the journal of a plan root; `None` if nothing was ever recorded.
    pub fn open(root: &Utf8Path) -> Result<Option<Self>, JournalError> {
        Ok(open_reader(root)?.map(|(connection, path)| Self { connection, path }))
    }

    /// The last word on every task.
    pub fn ledger(&self) -> Result<Ledger, JournalError> {
        let fail = failed(&self.path, "reading the ledger");
        // One snapshot for all of it: a run may be writing.
        let snapshot = Transaction::new_unchecked(&self.connection, rusqlite::TransactionBehavior::Deferred);
        let snapshot = snapshot.map_err(&fail)?;
        let ledger = ledger(&snapshot, &self.path)?;
        snapshot.commit().map_err(&fail)?;
        Ok(ledger)
    }

    /// In which run each task was begun last: that run's folder can undo it.
    pub fn begun_in(&self) -> Result<HashMap<Address, RunId>, JournalError> {
        let fail = failed(&self.path, "reading the ledger");
        let mut select = self.connection.prepare("SELECT task, begun_in FROM task_state").map_err(&fail)?;
        let rows = select
            .query_map([], |row| Ok((Address::new(row.get::<_, String>(0)?), RunId::new(row.get::<_, String>(1)?))));
        rows.map_err(&fail)?.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> Result<Vec<RunRecord>, JournalError> {
        let fail = failed(&self.path, "reading its runs");
        let mut select = self
            .connection
            .prepare("SELECT run, opened, closed, body, outcome, summary FROM run ORDER BY opened, run")
            .map_err(&fail)?;
        let rows = select.query_map([], |row| {
            let about = serde_json::from_str(&row.get::<_, String>(3)?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
            })?;
            Ok(RunRecord {
                run: RunId::new(row.get::<_, String>(0)?),
                opened: row.get(1)?,
                closed: row.get(2)?,
                about,
                outcome: row.get(4)?,
                summary: row.get(5)?,
            })
        });
        rows.map_err(&fail)?.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Who holds leases, and on what.
    pub fn holders(&self) -> Result<Vec<(Holder, Vec<String>)>, JournalError> {
        lease::holders(&self.connection).map_err(failed(&self.path, "reading its leases"))
    }

    /// The records from number `from` on; every hash on the way is proven.
    pub fn records(&self, from: u64) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        replay::read(&self.connection, &self.path, from, |record| {
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    }

    /// Reads everything and proves that the cached states are what the events say. Returns how many events there are.
    pub fn verify(&self) -> Result<u64, JournalError> {
        let replayed = replay::replay(&self.connection, &self.path)?;
        let cached = rows(&self.connection, &self.path)?;
        let same = cached.len() == replayed.rows.len()
            && cached.iter().all(|row| replayed.rows.get(&row.task).is_some_and(|truth| truth == row));
        if !same {
            let what = "the cached states of its tasks are not what its events say".into();
            return Err(JournalError::Damaged { path: self.path.clone(), what });
        }
        Ok(replayed.seq)
    }
}

/// Every row of the cache.
pub(super) fn rows(connection: &Connection, path: &Utf8Path) -> Result<Vec<TaskRow>, JournalError> {
    let fail = failed(path, "reading the ledger");
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM task_state")).map_err(&fail)?;
    let rows = select.query_map([], TaskRow::read).map_err(&fail)?;
    rows.collect::<Result<_, _>>().map_err(&fail)
}

/// The ledger: from the cache if its sum is right, else from the events.
pub(super) fn ledger(connection: &Connection, path: &Utf8Path) -> Result<Ledger, JournalError> {
    let fail = failed(path, "reading the ledger");
    let head = head(connection).map_err(&fail)?;
    let rows = match rows_by_sum(connection, path, &head.state_sum)? {
        Some(rows) => rows,
        None => replay::replay(connection, path)?.rows.into_values().collect(),
    };
    let entries: Result<HashMap<Address, LedgerEntry>, _> = rows.into_iter().map(TaskRow::into_entry).collect();
    let entries = entries.map_err(|error| JournalError::Damaged { path: path.to_owned(), what: error.to_string() })?;
    let table = |sql: &str| -> rusqlite::Result<BTreeMap<String, f64>> {
        let mut select = connection.prepare(sql)?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    Ok(Ledger {
        entries,
        head: head.seq,
        throughput: table("SELECT kind, bytes_per_second FROM rate").map_err(&fail)?,
        seconds: table("SELECT pattern, seconds FROM duration").map_err(&fail)?,
    })
}

/// The cache's rows, if their sum is the one that was written with the last event.
pub(super) fn rows_by_sum(
    connection: &Connection,
    path: &Utf8Path,
    expected: &[u8; 16],
) -> Result<Option<Vec<TaskRow>>, JournalError> {
    // A torn cache may also be unreadable; the events decide then.
    let Ok(rows) = rows(connection, path) else { return Ok(None) };
    let mut sum = [0; 16];
    rows.iter().for_each(|row| toggle(&mut sum, &row.sum()));
    Ok((sum == *expected).then_some(rows))
}
