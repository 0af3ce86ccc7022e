//! From events to statuses, and nothing else: every status comes out of `TaskStatus::next`. Also proves that the
//! events are those that were written: numbers without gaps, every hash right, the end where the head says.

use std::collections::HashMap;

use camino::Utf8Path;
use rusqlite::Connection;

use crate::address::Address;

use super::error::JournalError;
use super::event::{Event, Record, RunId};
use super::schema::failed;
use super::state::{Hash, TaskRow, hash};

/// What the events say, up to some point.
#[derive(Default)]
pub(super) struct Replay {
    pub rows: HashMap<Address, TaskRow>,
    pub seq: u64,
}

impl Replay {
    /// Goes on by one record.
    pub fn take(&mut self, record: &Record) -> Result<(), JournalError> {
        match &record.event {
            Event::Task(event) => {
                let row = self.row(&event.task);
                row.take(event, &record.run, record.seq).map_err(|error| JournalError::Illegal {
                    task: event.task.to_string(),
                    seq: record.seq,
                    error,
                })?;
            }
            Event::CheckFailed { task, message } => {
                let row = self.row(task);
                row.message = Some(message.clone());
                row.run = record.run.to_string();
                row.seq = record.seq;
            }
            _ => {}
        }
        self.seq = record.seq;
        Ok(())
    }

    fn row(&mut self, task: &Address) -> &mut TaskRow {
        self.rows.entry(task.clone()).or_insert_with(|| TaskRow::unknown(task.clone()))
    }
}

/// The hash of a record, which covers the hash of the record before.
pub(super) fn link(before: &Hash, seq: u64, time: i64, run: &str, epoch: u64, body: &str) -> Hash {
    hash(&[before, &seq.to_le_bytes(), &time.to_le_bytes(), run.as_bytes(), &epoch.to_le_bytes(), body.as_bytes()])
}

/// The one row of `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub seq: u64,
    pub chain: Hash,
    pub state_sum: Hash,
}

/// Reads the head.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let mut select = connection.prepare_cached("SELECT seq, chain, state_sum FROM head WHERE one = 1")?;
    select
        .query_row([], |row| Ok(Head { seq: row.get::<_, i64>(0)? as u64, chain: row.get(1)?, state_sum: row.get(2)? }))
}

/// Reads the records from number `from` on, proving the chain, and gives each to `each`.
pub(super) fn read(
    connection: &Connection,
    path: &Utf8Path,
    from: u64,
    mut each: impl FnMut(Record) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let fail = failed(path, "reading its events");
    let damaged = |what: String| JournalError::Damaged { path: path.to_owned(), what };
    let head = head(connection).map_err(&fail)?;
    let from = from.max(1);
    let mut chain: Hash = [0; 16];
    let mut select = connection
        .prepare("SELECT seq, time, run, epoch, body, chain FROM event WHERE seq >= ?1 ORDER BY seq")
        .map_err(&fail)?;
    let mut rows = select.query([from.saturating_sub(1) as i64]).map_err(&fail)?;
    let mut expected = if from == 1 { 1 } else { from - 1 };
    while let Some(row) = rows.next().map_err(&fail)? {
        let parse = || -> rusqlite::Result<(u64, i64, String, u64, String, Hash)> {
            let (seq, epoch) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(3)? as u64);
            Ok((seq, row.get(1)?, row.get(2)?, epoch, row.get(4)?, row.get(5)?))
        };
        let (seq, time, run, epoch, body, stored) = parse().map_err(&fail)?;
        if seq != expected {
            return Err(damaged(format!("event {expected} is missing")));
        }
        expected += 1;
        // The record before the first that is asked for only gives the chain to begin with.
        if seq >= from {
            if link(&chain, seq, time, &run, epoch, &body) != stored {
                return Err(damaged(format!("event {seq} is not what was written")));
            }
            let event = serde_json::from_str(&body).map_err(|error| damaged(format!("event {seq}: {error}")))?;
            each(Record { seq, time, run: RunId::new(run), epoch, event })?;
        }
        chain = stored;
    }
    if expected != head.seq + 1 {
        return Err(damaged(format!("its events end at {}, but {} were written", expected - 1, head.seq)));
    }
    if chain != head.chain && head.seq > 0 {
        return Err(damaged("its last event is not the one that was written last".into()));
    }
    Ok(())
}

/// Replays every event.
pub(super) fn replay(connection: &Connection, path: &Utf8Path) -> Result<Replay, JournalError> {
    let mut replay = Replay::default();
    read(connection, path, 1, |record| replay.take(&record))?;
    Ok(replay)
}
