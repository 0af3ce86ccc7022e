//! Why the journal could not be read or written.

use std::sync::Arc;

use camino::Utf8PathBuf;

use super::lease::Holder;
use super::status::IllegalEvent;

/// Why the journal could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder cannot be made or read.
    #[error("the state folder {path} cannot be used")]
    Folder {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: Arc<std::io::Error>,
    },
    /// The database refused.
    #[error("the journal {path} failed while {doing}")]
    Database {
        /// The file.
        path: Utf8PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// Why.
        #[source]
        error: Arc<rusqlite::Error>,
    },
    /// A newer version wrote it.
    #[error("the journal {path} has format {found}, and this version reads up to {known}; use the newer `replant`")]
    Newer {
        /// The file.
        path: Utf8PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// Something else lies there.
    #[error("{path} is not a journal of replant")]
    Foreign {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Stored bytes are not what was written.
    #[error("the journal {path} is damaged: {what}; restore it from a copy, or move it away to begin anew")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// What was found.
        what: String,
    },
    /// An event that cannot follow, of a task.
    #[error("event {seq} of {task} cannot be")]
    Illegal {
        /// The task.
        task: String,
        /// Where.
        seq: u64,
        /// Why.
        #[source]
        error: IllegalEvent,
    },
    /// Other processes hold what is asked for.
    #[error("{} is being worked on by {holder}", scopes_for_people(.scopes))]
    Locked {
        /// The scopes that this holder has.
        scopes: Vec<String>,
        /// Who.
        holder: Box<Holder>,
    },
    /// A task event of a scope whose lease was not taken.
    #[error("{scope} is not leased to this process")]
    NotLeased {
        /// The scope.
        scope: String,
    },
    /// Another process took the leases over: this one must stop.
    #[error("the lease of this process (epoch {epoch}) was taken over")]
    Fenced {
        /// Our epoch.
        epoch: u64,
    },
    /// A planned fault of a rehearsal.
    #[error("the journal refuses further events: a planned fault")]
    PlannedFault,
    /// The writer has ended.
    #[error("the journal's writer has ended")]
    Closed,
}

fn scopes_for_people(scopes: &[String]) -> String {
    match scopes {
        [] => "it".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

impl JournalError {
    /// Whether another process stands in the way, and waiting for it may help.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether this process lost its right to work on.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
}
