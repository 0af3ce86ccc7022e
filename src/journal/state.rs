//! The last word on each task, kept beside the events in the same transaction. It is a cache: a sum over all rows
//! tells whether it is what the events say.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::address::Address;

use super::event::{RunId, TaskEvent};
use super::ledger::LedgerEntry;
use super::status::{IllegalEvent, TaskEventKind, TaskStatus};

/// The number of bytes of every hash in the journal.
pub(super) const HASH: usize = 16;

/// A hash in the journal: the first half of a BLAKE3 digest.
pub(super) type Hash = [u8; HASH];

/// Hashes parts, each with its length, so that no two lists of parts look alike.
pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut short = [0; HASH];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..HASH]);
    short
}

/// Adds or takes away a row's hash from a sum over all rows; the order of the rows does not matter.
pub(super) fn toggle(sum: &mut Hash, row: &Hash) {
    for (byte, other) in sum.iter_mut().zip(row) {
        *byte ^= other;
    }
}

/// One row of `task_state`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TaskRow {
    pub task: Address,
    pub status: TaskStatus,
    pub key: String,
    /// A hash of `key`, which is long and seldom changes.
    key_hash: Hash,
    pub run: String,
    pub attempt: u32,
    pub seq: u64,
    pub message: Option<String>,
    pub outputs: String,
    pub begun_in: String,
}

/// The columns in the order in which [`TaskRow::read`] expects them.
pub(super) const COLUMNS: &str = "task, status, key, run, attempt, seq, message, outputs, begun_in";

impl TaskRow {
    /// A task of which nothing is known.
    pub fn unknown(task: Address) -> Self {
        Self {
            task,
            status: TaskStatus::Pending,
            key: "{}".into(),
            key_hash: hash(&[b"{}"]),
            run: String::new(),
            attempt: 0,
            seq: 0,
            message: None,
            outputs: "{}".into(),
            begun_in: String::new(),
        }
    }

    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let status: String = row.get(1)?;
        let key: String = row.get(2)?;
        Ok(Self {
            task: Address::new(row.get::<_, String>(0)?),
            status: status_named(&status).ok_or_else(|| {
                let error = format!("`{status}` is not a status").into();
                rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error)
            })?,
            key_hash: hash(&[key.as_bytes()]),
            key,
            run: row.get(3)?,
            attempt: row.get(4)?,
            seq: row.get::<_, i64>(5)? as u64,
            message: row.get(6)?,
            outputs: row.get(7)?,
            begun_in: row.get(8)?,
        })
    }

    /// Moves the row on; the status only by [`TaskStatus::next`].
    pub fn take(&mut self, event: &TaskEvent, run: &RunId, seq: u64) -> Result<(), IllegalEvent> {
        self.status = self.status.next(event.event)?;
        if let Some(key) = &event.key {
            self.key = to_json(key);
            self.key_hash = hash(&[self.key.as_bytes()]);
        }
        if matches!(event.event, TaskEventKind::Started | TaskEventKind::AlreadyTrue) {
            run.as_str().clone_into(&mut self.begun_in);
        }
        if matches!(event.event, TaskEventKind::Applied | TaskEventKind::AlreadyTrue) {
            self.outputs = to_json(&event.outputs);
        }
        run.as_str().clone_into(&mut self.run);
        self.attempt = event.attempt;
        self.seq = seq;
        self.message.clone_from(&event.message);
        Ok(())
    }

    /// A hash over the whole row.
    pub fn sum(&self) -> Hash {
        hash(&[
            self.task.as_str().as_bytes(),
            status_name(self.status).as_bytes(),
            &self.key_hash,
            self.run.as_bytes(),
            &self.attempt.to_le_bytes(),
            &self.seq.to_le_bytes(),
            self.message.as_deref().unwrap_or("\0").as_bytes(),
            self.outputs.as_bytes(),
            self.begun_in.as_bytes(),
        ])
    }

    /// The row as the rest of the program sees it.
    pub fn into_entry(self) -> Result<(Address, LedgerEntry), serde_json::Error> {
        let entry = LedgerEntry {
            status: self.status,
            key: serde_json::from_str(&self.key)?,
            run: self.run,
            attempt: self.attempt,
            seq: self.seq,
            message: self.message,
            outputs: if self.outputs == "{}" { BTreeMap::new() } else { serde_json::from_str(&self.outputs)? },
        };
        Ok((self.task, entry))
    }
}

/// A row with its place in the database.
struct Cell {
    id: Option<i64>,
    row: TaskRow,
    sum: Hash,
}

/// The rows that this process works on, and how they are written.
#[derive(Default)]
pub(super) struct StateCache {
    cells: HashMap<Address, Cell>,
}

impl StateCache {
    /// Forgets everything, after a transaction that was not committed.
    pub fn forget(&mut self) {
        self.cells.clear();
    }

    /// Applies `change` to the task's row, writes it, and keeps `sum` true.
    pub fn update<E>(
        &mut self,
        connection: &Connection,
        task: &Address,
        sum: &mut Hash,
        change: impl FnOnce(&mut TaskRow) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<rusqlite::Error>,
    {
        if !self.cells.contains_key(task) {
            let found = find(connection, task)?;
            self.cells.insert(task.clone(), found);
        }
        let cell = self.cells.get_mut(task).expect("it was put there above");
        change(&mut cell.row)?;
        let new = cell.row.sum();
        if cell.id.is_some() {
            toggle(sum, &cell.sum);
        }
        toggle(sum, &new);
        cell.sum = new;
        cell.id = Some(write(connection, cell.id, &cell.row)?);
        Ok(())
    }
}

fn find(connection: &Connection, task: &Address) -> rusqlite::Result<Cell> {
    let mut select = connection.prepare_cached(
        "SELECT task, status, key, run, attempt, seq, message, outputs, begun_in, id FROM task_state WHERE task = ?1",
    )?;
    let found = select.query_row([task.as_str()], |row| Ok((TaskRow::read(row)?, row.get::<_, i64>(9)?))).optional()?;
    Ok(match found {
        Some((row, id)) => Cell { id: Some(id), sum: row.sum(), row },
        None => Cell { id: None, row: TaskRow::unknown(task.clone()), sum: [0; HASH] },
    })
}

/// Writes a row and returns its place.
pub(super) fn write(connection: &Connection, id: Option<i64>, row: &TaskRow) -> rusqlite::Result<i64> {
    match id {
        Some(id) => {
            let mut update = connection.prepare_cached(
                "UPDATE task_state SET status = ?2, key = ?3, run = ?4, attempt = ?5, seq = ?6, message = ?7,
                 outputs = ?8, begun_in = ?9 WHERE id = ?1",
            )?;
            update.execute(params![
                id,
                status_name(row.status),
                row.key,
                row.run,
                row.attempt,
                row.seq as i64,
                row.message,
                row.outputs,
                row.begun_in
            ])?;
            Ok(id)
        }
        None => {
            let mut insert = connection.prepare_cached(
                "INSERT INTO task_state (task, status, key, run, attempt, seq, message, outputs, begun_in)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            insert.insert(params![
                row.task.as_str(),
                status_name(row.status),
                row.key,
                row.run,
                row.attempt,
                row.seq as i64,
                row.message,
                row.outputs,
                row.begun_in
            ])
        }
    }
}

fn to_json(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).expect("a map of texts is JSON")
}

const STATUSES: [(TaskStatus, &str); 8] = [
    (TaskStatus::Pending, "pending"),
    (TaskStatus::AlreadyTrue, "already-true"),
    (TaskStatus::Running, "running"),
    (TaskStatus::Applied, "applied"),
    (TaskStatus::Failed, "failed"),
    (TaskStatus::Undoing, "undoing"),
    (TaskStatus::Undone, "undone"),
    (TaskStatus::Stuck, "stuck"),
];

fn status_name(status: TaskStatus) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map(|(_, name)| *name).expect("every status has a name")
}

fn status_named(name: &str) -> Option<TaskStatus> {
    STATUSES.iter().find(|(_, known)| *known == name).map(|(status, _)| *status)
}
