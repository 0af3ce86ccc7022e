//! The database file: its tables, its version, and how it is opened.
//!
//! | table | holds |
//! |---|---|
//! | `event` | the truth: one row per record, `body` is the event as JSON, `chain` is a hash over the chain of the row before and this row |
//! | `head` | one row: number and chain of the last event, and the sum over `task_state` |
//! | `task_state` | a cache: the last word on each task; rebuilt from `event` when its sum is wrong |
//! | `run` | one row per run, for `status` and `rollback`; what `run-opened` and `run-closed` say |
//! | `holder`, `lease` | who works on what; `holder.epoch` is the fencing epoch |
//! | `rate`, `duration` | how fast past work was |
//!
//! `PRAGMA user_version` is the format's version. Readers accept every version up to their own; a newer one is refused.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OpenFlags};

use super::error::JournalError;

/// The format that this version writes.
pub const FORMAT: i64 = 1;

/// Marks the file as ours (`application_id`): `rplt`.
const APPLICATION: i64 = 0x7270_6c74;

const TABLES: &str = "
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, run TEXT NOT NULL, epoch INTEGER NOT NULL,
    body TEXT NOT NULL, chain BLOB NOT NULL
) STRICT;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, chain BLOB NOT NULL, state_sum BLOB NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, zeroblob(16), zeroblob(16));
CREATE TABLE task_state (
    id INTEGER PRIMARY KEY, task TEXT NOT NULL UNIQUE, status TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL,
    attempt INTEGER NOT NULL, seq INTEGER NOT NULL, message TEXT, outputs TEXT NOT NULL, begun_in TEXT NOT NULL
) STRICT;
CREATE TABLE run (
    run TEXT PRIMARY KEY, opened INTEGER NOT NULL, closed INTEGER, epoch INTEGER NOT NULL, body TEXT NOT NULL,
    outcome TEXT, summary TEXT
) STRICT;
CREATE TABLE holder (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, heartbeat INTEGER NOT NULL,
    fenced INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE lease (scope TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE rate (kind TEXT PRIMARY KEY, bytes_per_second REAL NOT NULL, samples INTEGER NOT NULL) STRICT;
CREATE TABLE duration (pattern TEXT PRIMARY KEY, seconds REAL NOT NULL, samples INTEGER NOT NULL) STRICT;
";

/// Every commit is durable. The log is copied into the file every 16 MiB, not every 4: most pages change again before.
const WRITER_SETTINGS: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -16384;
";

/// Where the journal of a plan root lies.
pub fn journal_path(root: &Utf8Path) -> Utf8PathBuf {
    root.join(".replant").join("state.db")
}

/// Says that a journal was made here, so that one that has vanished is not taken for one that never was.
const MADE: &str = "state.made";

const MADE_TEXT: &str = "A journal (state.db) was made beside this file. If it is missing or empty, it was lost.\n";

/// Refuses a journal that is missing or empty although it was made.
fn refuse_lost(path: &Utf8Path) -> Result<(), JournalError> {
    let made = path.with_file_name(MADE);
    let lost = made.exists() && fs::metadata(path).map_or(0, |file| file.len()) == 0;
    match lost {
        true => {
            let what = format!("it was made here, but is missing or empty now (to give it up, remove {made} as well)");
            Err(JournalError::Damaged { path: path.to_owned(), what })
        }
        false => Ok(()),
    }
}

/// Turns a database error into ours, saying what was attempted.
pub(super) fn failed<'a>(path: &'a Utf8Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + 'a {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            JournalError::Damaged { path: path.to_owned(), what: format!("{error} while {doing}") }
        }
        Some(rusqlite::ErrorCode::NotADatabase) => {
            JournalError::Damaged { path: path.to_owned(), what: "its first bytes are not a database's".into() }
        }
        _ => JournalError::Database { path: path.to_owned(), doing, error: Arc::new(error) },
    }
}

/// Opens for writing, making folder and file where they are missing.
pub(super) fn open_writer(root: &Utf8Path) -> Result<(Connection, Utf8PathBuf), JournalError> {
    let path = journal_path(root);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)
        .map_err(|error| JournalError::Folder { path: folder.to_owned(), error: Arc::new(error) })?;
    refuse_lost(&path)?;
    let fail = failed(&path, "opening it");
    // One thread at a time uses a connection, so SQLite's own locks would only cost.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(&fail)?;
    connection.busy_timeout(Duration::from_secs(30)).map_err(&fail)?;
    connection.execute_batch(WRITER_SETTINGS).map_err(&fail)?;
    connection.set_prepared_statement_cache_capacity(64);
    let making = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(&fail)?;
    if is_empty(&making).map_err(&fail)? {
        making.execute_batch(TABLES).map_err(&fail)?;
        making.pragma_update(None, "application_id", APPLICATION).map_err(&fail)?;
        making.pragma_update(None, "user_version", FORMAT).map_err(&fail)?;
    }
    making.commit().map_err(&fail)?;
    check_version(&connection, &path)?;
    let made = path.with_file_name(MADE);
    if !made.exists() {
        // The tables are to be in the file itself, not only in its log, before anybody relies on them.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(&fail)?;
        fs::write(&made, MADE_TEXT)
            .map_err(|error| JournalError::Folder { path: folder.to_owned(), error: Arc::new(error) })?;
    }
    Ok((connection, path.clone()))
}

/// The database of a plan root for another table in it, such as the devices': made if it is missing, checked as the
/// journal checks it. Whoever opens it keeps its hands off the journal's own tables.
pub fn open_state(root: &Utf8Path) -> Result<(Connection, Utf8PathBuf), JournalError> {
    open_writer(root)
}

/// Turns an error of such a table into the journal's, saying what was attempted.
pub fn state_error(path: &Utf8Path, doing: &'static str, error: rusqlite::Error) -> JournalError {
    failed(path, doing)(error)
}

/// Opens for reading; `None` if there is no journal yet. Takes no lock that would hold up a writer.
pub(super) fn open_reader(root: &Utf8Path) -> Result<Option<(Connection, Utf8PathBuf)>, JournalError> {
    let path = journal_path(root);
    refuse_lost(&path)?;
    if !path.exists() {
        return Ok(None);
    }
    let fail = failed(&path, "opening it to read");
    let opened = match looked_into(&path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // Its maker died before the file became a write-ahead-logged one. What it had begun there has to be taken back
        // before anybody can read, and that takes a connection that may write.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) => {
            looked_into(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        opened => opened,
    };
    let Some(connection) = opened.map_err(&fail)? else { return Ok(None) };
    check_version(&connection, &path)?;
    Ok(Some((connection, path.clone())))
}

/// A connection for readers; `None` if the file was made, but its maker died before the first commit.
fn looked_into(path: &Utf8Path, access: OpenFlags) -> rusqlite::Result<Option<Connection>> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "query_only", true)?;
    Ok((!is_empty(&connection)?).then_some(connection))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(objects == 0 && version == 0)
}

fn check_version(connection: &Connection, path: &Utf8Path) -> Result<(), JournalError> {
    let read = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let fail = failed(path, "reading its version");
    if read("application_id").map_err(&fail)? != APPLICATION {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    let found = read("user_version").map_err(&fail)?;
    if !(1..=FORMAT).contains(&found) {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(())
}
