//! Who works on what. A lease covers a scope (a machine, `host:NAME`, `patch:KEY`); its holder is a process with a
//! fencing epoch. A dead holder of this system is taken over at once, one of another system when its heartbeat has
//! stopped for [`SILENCE`]; a live one stands in the way and is named.

use std::fmt;
use std::fs;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::event::RunId;

/// How often a holder says that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A holder on another system that was silent for so long counts as dead.
pub const SILENCE: Duration = Duration::from_secs(120);

/// A process that holds leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its fencing epoch; higher ones came later.
    #[serde(default)]
    pub epoch: u64,
    /// Its run.
    pub run: RunId,
    /// Its command line, for people.
    pub command: String,
    /// When it took its leases, milliseconds since 1970.
    pub since: i64,
    /// When it was last heard of, milliseconds since 1970.
    #[serde(default)]
    pub heartbeat: i64,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessIdentity,
}

/// A process, told apart from any other that ever had the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The system's name.
    pub host: String,
    /// The system's boot.
    pub boot: String,
    /// Where the process number counts (containers count their own).
    pub pid_namespace: String,
    /// The process number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub pid_start: u64,
    /// Its session: scripts it started are in the same one, services that they left behind are not.
    pub session: i64,
}

/// The fields of `/proc/PID/stat` that tell processes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `Z` is dead, but not yet collected by its parent.
    pub state: char,
    /// Its process group.
    pub group: i64,
    /// Its session.
    pub session: i64,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl ProcessStat {
    /// Reads it; `None` if there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold blanks and parentheses; nothing after it does.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            group: fields.nth(1)?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            start: fields.nth(15)?.parse().ok()?,
        })
    }
}

impl ProcessIdentity {
    /// This process.
    pub fn here() -> Self {
        let pid = std::process::id();
        let stat = ProcessStat::of(pid);
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid,
            pid_start: stat.map_or(0, |stat| stat.start),
            session: stat.map_or(0, |stat| stat.session),
        }
    }

    /// Whether its process numbers mean something here.
    pub fn is_of_this_system(&self) -> bool {
        let here = Self::here();
        self.boot == here.boot && self.pid_namespace == here.pid_namespace
    }
}

impl Holder {
    /// This process, about to work for `run`.
    pub fn here(run: RunId, command: String) -> Self {
        let now = now_millis();
        Self { epoch: 0, run, command, since: now, heartbeat: now, process: ProcessIdentity::here() }
    }

    /// Whether it still works, seen from this process at the time `now` (milliseconds since 1970).
    pub fn is_alive(&self, now: i64) -> bool {
        let here = ProcessIdentity::here();
        let them = &self.process;
        if them.boot == here.boot && them.pid_namespace == here.pid_namespace {
            return ProcessStat::of(them.pid).is_some_and(|stat| stat.start == them.pid_start && stat.state != 'Z');
        }
        if them.host == here.host && them.boot != here.boot {
            return false; // The same system, started anew since.
        }
        now.saturating_sub(self.heartbeat) < SILENCE.as_millis() as i64
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since =
            jiff::Timestamp::from_millisecond(self.since).map(|t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        let since = since.unwrap_or_else(|_| "an unknown time".into());
        write!(f, "`{}` (process {} on {}, since {since})", self.command, self.process.pid, self.process.host)
    }
}

/// Milliseconds since 1970, UTC.
pub(super) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What an attempt to take leases found.
pub(super) enum Attempt {
    /// Ours, with the epoch; and those that dead holders had.
    Taken { epoch: u64, over: Vec<(Vec<String>, Holder)> },
    /// A live holder stands in the way.
    Held { scopes: Vec<String>, holder: Box<Holder> },
}

/// Takes all of `scopes` or none; runs inside a writer's transaction.
pub(super) fn acquire(connection: &Connection, scopes: &[String], holder: &Holder) -> rusqlite::Result<Attempt> {
    let mut in_the_way: Vec<(u64, Vec<String>)> = Vec::new();
    {
        let mut select = connection.prepare_cached("SELECT epoch FROM lease WHERE scope = ?1")?;
        for scope in scopes {
            let epoch: Option<i64> = select.query_row([scope], |row| row.get(0)).optional()?;
            let Some(epoch) = epoch else { continue };
            match in_the_way.iter_mut().find(|(known, _)| *known == epoch as u64) {
                Some((_, held)) => held.push(scope.clone()),
                None => in_the_way.push((epoch as u64, vec![scope.clone()])),
            }
        }
    }
    let mut over = Vec::new();
    for (epoch, held) in in_the_way {
        // A lease without its holder's row says nothing: it is free.
        let Some(other) = holder_of(connection, epoch)? else { continue };
        if other.is_alive(holder.heartbeat) {
            return Ok(Attempt::Held { scopes: held, holder: Box::new(other) });
        }
        connection.execute("UPDATE holder SET fenced = 1 WHERE epoch = ?1", [epoch as i64])?;
        over.push((held, other));
    }
    let body = serde_json::to_string(holder).expect("a holder is JSON");
    connection.execute("INSERT INTO holder (body, heartbeat) VALUES (?1, ?2)", params![body, holder.heartbeat])?;
    let epoch = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO lease (scope, epoch) VALUES (?1, ?2)")?;
    for scope in scopes {
        insert.execute(params![scope, epoch])?;
    }
    Ok(Attempt::Taken { epoch: epoch as u64, over })
}

/// Whether nobody took over what `epoch` holds.
pub(super) fn is_current(connection: &Connection, epoch: u64) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached("SELECT fenced FROM holder WHERE epoch = ?1")?;
    let fenced: Option<i64> = select.query_row([epoch as i64], |row| row.get(0)).optional()?;
    Ok(fenced == Some(0))
}

/// Says that `epoch` lives.
pub(super) fn beat(connection: &Connection, epoch: u64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE holder SET heartbeat = ?2 WHERE epoch = ?1")?;
    update.execute(params![epoch as i64, now_millis()]).map(drop)
}

/// Gives back everything that `epoch` holds.
pub(super) fn release(connection: &Connection, epoch: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM lease WHERE epoch = ?1", [epoch as i64])?;
    connection.execute("DELETE FROM holder WHERE epoch = ?1", [epoch as i64]).map(drop)
}

/// Every holder of at least one lease, with its scopes.
pub(super) fn holders(connection: &Connection) -> rusqlite::Result<Vec<(Holder, Vec<String>)>> {
    let mut select = connection.prepare("SELECT scope, epoch FROM lease ORDER BY epoch, scope")?;
    let leases = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64)))?;
    let mut found: Vec<(Holder, Vec<String>)> = Vec::new();
    for lease in leases {
        let (scope, epoch) = lease?;
        match found.last_mut() {
            Some((holder, scopes)) if holder.epoch == epoch => scopes.push(scope),
            _ => {
                if let Some(holder) = holder_of(connection, epoch)? {
                    found.push((holder, vec![scope]));
                }
            }
        }
    }
    Ok(found)
}

fn holder_of(connection: &Connection, epoch: u64) -> rusqlite::Result<Option<Holder>> {
    let mut select = connection.prepare_cached("SELECT body, heartbeat FROM holder WHERE epoch = ?1")?;
    let row =
        select.query_row([epoch as i64], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).optional()?;
    Ok(row.and_then(|(body, heartbeat)| {
        let holder: Holder = serde_json::from_str(&body).ok()?;
        Some(Holder { epoch, heartbeat, ..holder })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder::here(RunId::new("r"), "replant apply".into())
    }

    #[test]
    fn this_process_lives_and_another_start_time_does_not() {
        let mut holder = holder();
        assert!(holder.is_alive(now_millis()));
        holder.process.pid_start += 1;
        assert!(!holder.is_alive(now_millis()), "the number was given to another process since");
    }

    #[test]
    fn a_reboot_ends_every_holder_and_silence_ends_those_elsewhere() {
        let mut rebooted = holder();
        rebooted.process.boot = "another".into();
        assert!(!rebooted.is_alive(rebooted.heartbeat));
        let mut elsewhere = rebooted;
        elsewhere.process.host.push_str("-elsewhere");
        assert!(elsewhere.is_alive(elsewhere.heartbeat));
        assert!(!elsewhere.is_alive(elsewhere.heartbeat + SILENCE.as_millis() as i64));
    }

    #[test]
    fn a_holder_reads_back() {
        let holder = holder();
        let text = serde_json::to_string(&holder).unwrap();
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), holder);
    }
}
