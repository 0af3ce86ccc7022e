//! The journal as a whole: what is acknowledged is there, and damage is seen.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;

use super::*;
use crate::address::Address;

struct Site {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    Site { _folder: folder, root }
}

fn run() -> RunId {
    RunId::new("r1")
}

/// A journal with the lease on `m`.
fn opened(root: &Utf8Path) -> Journal {
    let journal = Journal::open(root).unwrap();
    journal.acquire(vec!["m".into()], Holder::here(run(), "a test".into())).unwrap();
    journal
}

fn task(item: usize, event: TaskEventKind) -> Event {
    let key = matches!(event, TaskEventKind::Started).then(|| BTreeMap::from([("input".into(), item.to_string())]));
    Event::Task(TaskEvent { key, ..TaskEvent::plain(Address::new(format!("m/t{item}")), event, 1) })
}

fn fill(journal: &Journal, tasks: std::ops::Range<usize>) -> u64 {
    let mut last = 0;
    for item in tasks {
        journal.append_and_wait(&run(), vec![task(item, TaskEventKind::Started)]).unwrap();
        last = journal.append_and_wait(&run(), vec![task(item, TaskEventKind::Applied)]).unwrap();
    }
    last
}

#[test]
fn what_is_acknowledged_is_read_back_and_proven() {
    let site = site();
    let journal = opened(&site.root);
    let last = fill(&journal, 0..20);
    // A reader beside the writer sees what is durable.
    let reader = JournalReader::open(&site.root).unwrap().unwrap();
    assert_eq!(reader.verify().unwrap(), last);
    drop(journal);
    let ledger = reader.ledger().unwrap();
    assert_eq!((ledger.head, ledger.entries.len()), (last, 20));
    let entry = &ledger.entries[&Address::new("m/t7")];
    assert_eq!(entry.status, TaskStatus::Applied);
    assert_eq!(entry.key["input"], "7", "the end of an attempt keeps the inputs of its beginning");
    assert_eq!(reader.begun_in().unwrap()[&Address::new("m/t7")], run());
}

#[test]
fn many_callers_share_commits_and_each_gets_its_answer() {
    let site = site();
    let journal = opened(&site.root);
    let (answers, answered) = std::sync::mpsc::channel();
    for item in 0..500 {
        let answers = answers.clone();
        journal.append(&run(), vec![task(item, TaskEventKind::Started)], move |result| {
            answers.send(result.unwrap()).unwrap();
        });
    }
    drop(answers);
    let seqs: Vec<u64> = answered.iter().collect();
    assert_eq!(seqs.len(), 500);
    assert!(seqs.is_sorted(), "answers come in the order of the appends");
    assert_eq!(journal.ledger().unwrap().entries.len(), 500);
}

#[test]
fn an_event_that_cannot_follow_is_refused_and_nothing_of_its_group_stays() {
    let site = site();
    let journal = opened(&site.root);
    fill(&journal, 0..1);
    let group = vec![task(1, TaskEventKind::Started), task(2, TaskEventKind::Undone)];
    let error = journal.append_and_wait(&run(), group).unwrap_err();
    assert!(matches!(error, JournalError::Illegal { .. }), "{error}");
    assert_eq!(journal.ledger().unwrap().entries.len(), 1);
    fill(&journal, 1..3);
    drop(journal);
    assert_eq!(JournalReader::open(&site.root).unwrap().unwrap().verify().unwrap(), 6);
}

#[test]
fn a_scope_without_lease_cannot_be_written() {
    let site = site();
    let journal = opened(&site.root);
    let event = Event::Task(TaskEvent::plain(Address::new("other/t"), TaskEventKind::Started, 1));
    let error = journal.append_and_wait(&run(), vec![event]).unwrap_err();
    assert_eq!(error.to_string(), "other is not leased to this process");
}

#[test]
fn a_live_holder_is_named_and_a_dead_one_is_taken_over_and_fenced() {
    let site = site();
    let first = opened(&site.root);
    let second = Journal::open(&site.root).unwrap();
    let wanted = || vec!["m".to_owned(), "n".to_owned()];
    let error = second.acquire(wanted(), Holder::here(RunId::new("r2"), "another".into())).unwrap_err();
    assert!(error.is_locked());
    let text = error.to_string();
    assert!(text.contains("m is being worked on by `a test`"), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");

    // The first holder dies: as far as anybody can see, its process number is another's now.
    let connection = rusqlite::Connection::open(journal_path(&site.root)).unwrap();
    let (mut body,): (String,) = connection.query_row("SELECT body FROM holder", [], |r| Ok((r.get(0)?,))).unwrap();
    let start = ProcessIdentity::here().pid_start.to_string();
    body = body.replace(&format!("\"pid_start\":{start}"), "\"pid_start\":1");
    connection.execute("UPDATE holder SET body = ?1", [body]).unwrap();

    let leased = second.acquire(wanted(), Holder::here(RunId::new("r2"), "another".into())).unwrap();
    assert_eq!(leased.taken_over.len(), 1);
    assert_eq!(leased.taken_over[0].command, "a test");
    let error = first.append_and_wait(&run(), vec![task(0, TaskEventKind::Started)]).unwrap_err();
    assert!(error.is_fenced(), "{error}");
    second.append_and_wait(&run(), vec![task(0, TaskEventKind::Started)]).unwrap();
    drop(first);
    let reader = JournalReader::open(&site.root).unwrap().unwrap();
    let holders = reader.holders().unwrap();
    assert_eq!(holders.len(), 1, "the fenced process gave back nothing that is not its own");
    assert_eq!(holders[0].1, wanted());
    assert!(reader.records(1).unwrap().iter().any(|record| matches!(record.event, Event::LeaseTakenOver { .. })));
}

#[test]
fn a_newer_journal_and_a_foreign_file_are_refused() {
    let site = site();
    drop(opened(&site.root));
    let path = journal_path(&site.root);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    drop(connection);
    for error in [Journal::open(&site.root).err(), JournalReader::open(&site.root).err()] {
        let text = error.expect("refused").to_string();
        assert!(text.contains("use the newer `replant`"), "{text}");
    }
    fs::write(&path, b"this is no database, but long enough to look like one to a careless reader").unwrap();
    for error in [Journal::open(&site.root).err(), JournalReader::open(&site.root).err()] {
        assert!(matches!(error, Some(JournalError::Damaged { .. })), "{error:?}");
    }
}

#[test]
fn a_journal_that_was_lost_is_not_taken_for_a_new_one() {
    let site = site();
    let journal = opened(&site.root);
    fill(&journal, 0..3);
    drop(journal);
    let path = journal_path(&site.root);
    for lose in [|path: &Utf8Path| fs::write(path, b""), |path: &Utf8Path| fs::remove_file(path)] {
        lose(&path).unwrap();
        for error in [Journal::open(&site.root).err(), JournalReader::open(&site.root).err()] {
            let text = error.expect("refused").to_string();
            assert!(text.contains("missing or empty"), "{text}");
        }
    }
}

#[test]
fn a_maker_that_died_before_its_first_commit_left_nothing_that_stops_a_reader() {
    let site = site();
    let path = journal_path(&site.root);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Half of a transaction is in the file and the way back beside it, as a SIGKILL leaves them.
    let other = site.root.join("dying.db");
    let dying = rusqlite::Connection::open(&other).unwrap();
    dying
        .execute_batch(
            "PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(4000000));",
        )
        .unwrap();
    for suffix in ["", "-journal"] {
        fs::copy(format!("{other}{suffix}"), format!("{path}{suffix}")).unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() > 0, "the transaction has reached the file");
    assert!(JournalReader::open(&site.root).unwrap().is_none(), "nothing was ever recorded");
    drop(opened(&site.root));
    assert!(JournalReader::open(&site.root).unwrap().is_some());
}

#[test]
fn records_that_were_taken_out_or_changed_are_missed() {
    for (damage, expected) in [
        ("DELETE FROM event WHERE seq > 35", "its events end at 35, but 40 were written"),
        ("DELETE FROM event WHERE seq = 20", "event 20 is missing"),
        ("UPDATE event SET body = replace(body, 't9', 't8') WHERE seq = 19", "event 19 is not what was written"),
    ] {
        let site = site();
        let journal = opened(&site.root);
        fill(&journal, 0..20);
        drop(journal);
        rusqlite::Connection::open(journal_path(&site.root)).unwrap().execute_batch(damage).unwrap();
        let text = Journal::open(&site.root).err().expect("refused").to_string();
        assert!(text.contains(expected), "{text}");
        let text = JournalReader::open(&site.root).unwrap().unwrap().verify().unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_wrong_cache_is_built_anew_from_the_events() {
    let site = site();
    let journal = opened(&site.root);
    fill(&journal, 0..5);
    drop(journal);
    let connection = rusqlite::Connection::open(journal_path(&site.root)).unwrap();
    connection.execute_batch("UPDATE task_state SET status = 'undone' WHERE task = 'm/t3'").unwrap();
    drop(connection);
    let status = |ledger: Ledger| ledger.entries[&Address::new("m/t3")].status;
    let reader = JournalReader::open(&site.root).unwrap().unwrap();
    assert_eq!(status(reader.ledger().unwrap()), TaskStatus::Applied, "a reader believes the events");
    assert!(reader.verify().is_err());
    drop(Journal::open(&site.root).unwrap());
    assert_eq!(reader.verify().unwrap(), 10, "a writer repairs it");
}

#[test]
fn throughput_is_learned_from_finished_tasks() {
    let site = site();
    let journal = opened(&site.root);
    for (item, moved) in [(1, Some(("capture".to_owned(), 4_000))), (2, None)] {
        let applied = TaskEvent::plain(Address::new(format!("m/t{item}")), TaskEventKind::Applied, 1);
        let measured = Some(Measured { millis: 2_000, moved });
        let events = vec![task(item, TaskEventKind::Started), Event::Task(TaskEvent { measured, ..applied })];
        journal.append_and_wait(&run(), events).unwrap();
    }
    let ledger = journal.ledger().unwrap();
    assert_eq!(ledger.throughput, BTreeMap::from([("capture".into(), 2_000.0)]));
    assert_eq!(ledger.seconds, BTreeMap::from([("*/t2".into(), 2.0)]));
}

/// The files of a journal whose writer was killed: the database as it was at some time, and the log beside it. Returns
/// for each record how long the log was when it was acknowledged.
fn killed_journal(folder: &Utf8Path, checkpointed: usize, logged: usize) -> Vec<u64> {
    let site = site();
    let journal = opened(&site.root);
    fill(&journal, 0..checkpointed);
    rusqlite::Connection::open(journal_path(&site.root))
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let mut acknowledged = vec![0; 2 * checkpointed];
    for item in checkpointed..checkpointed + logged {
        for event in [TaskEventKind::Started, TaskEventKind::Applied] {
            journal.append_and_wait(&run(), vec![task(item, event)]).unwrap();
            acknowledged.push(fs::metadata(site.root.join(".replant/state.db-wal")).unwrap().len());
        }
    }
    // Copied while the writer still has it open, as a crash would leave it.
    fs::create_dir_all(folder.join(".replant")).unwrap();
    for name in ["state.db", "state.db-wal", "state.made"] {
        fs::copy(site.root.join(".replant").join(name), folder.join(".replant").join(name)).unwrap();
    }
    acknowledged
}

/// Opens a damaged journal; it must not panic, and must have at least `intact` records or say that it is damaged.
fn open_damaged(root: &Utf8Path, intact: u64) -> Result<(), TestCaseError> {
    let read = JournalReader::open(root).and_then(|reader| match reader {
        Some(reader) => reader.verify().and_then(|seq| reader.ledger().map(|ledger| (seq, ledger.head))),
        None => Ok((0, 0)),
    });
    let written = Journal::open(root).and_then(|journal| journal.ledger()).map(|ledger| ledger.head);
    match (read, written) {
        (Ok((verified, head)), Ok(written)) => {
            prop_assert!(verified >= intact, "{verified} of {intact} acknowledged and intact records");
            prop_assert_eq!((verified, head), (head, written));
        }
        (read, written) => {
            for error in [read.err(), written.err()].into_iter().flatten() {
                let clear = matches!(error, JournalError::Damaged { .. } | JournalError::Database { .. });
                prop_assert!(clear, "{}", error);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_cut_anywhere_keeps_every_record_before_the_cut(cut in 0.0f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let acknowledged = killed_journal(root, 3, 6);
        let log = root.join(".replant/state.db-wal");
        let length = fs::metadata(&log).unwrap().len();
        let kept = (length as f64 * cut) as u64;
        fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(kept).unwrap();
        let intact = acknowledged.iter().filter(|length| **length <= kept).count() as u64;
        prop_assert!(intact >= 6);
        open_damaged(root, intact)?;
        // A cut log is what a power cut leaves: it must open cleanly.
        prop_assert!(Journal::open(root).is_ok());
    }

    #[test]
    fn a_torn_page_is_survived_or_named(
        of_log in any::<bool>(), at in 0.0f64..1.0, length in 1usize..4096, byte in any::<u8>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        killed_journal(root, 8, 4);
        let file = root.join(if of_log { ".replant/state.db-wal" } else { ".replant/state.db" });
        let mut bytes = fs::read(&file).unwrap();
        let from = (bytes.len() as f64 * at) as usize;
        let to = (from + length).min(bytes.len());
        bytes[from..to].fill(byte);
        fs::write(&file, bytes).unwrap();
        open_damaged(root, 0)?;
    }

    #[test]
    fn a_cut_database_is_survived_or_named(cut in 0.0f64..1.0) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        killed_journal(root, 30, 2);
        let file = root.join(".replant/state.db");
        let length = fs::metadata(&file).unwrap().len();
        let kept = (length as f64 * cut) as u64;
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(kept).unwrap();
        open_damaged(root, 0)?;
    }
}
