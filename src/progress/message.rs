//! What a running script tells the executor: one JSON object a line over the Unix socket that `REPLANT_EVENTS`
//! names. The first line says which task speaks; lost ticks are fine, outputs are not lost.

use serde::{Deserialize, Serialize};

/// The environment variable that names the executor's socket.
pub const EVENTS_SOCKET: &str = "REPLANT_EVENTS";
/// The environment variable that names the running task's address.
pub const TASK: &str = "REPLANT_TASK";

/// One line from a script or from a verb that it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum TaskMessage {
    /// Who speaks; always the first line of a connection.
    Hello {
        /// The task's address, from [`TASK`].
        task: String,
    },
    /// How far it is; may be lost.
    Progress {
        /// Units done.
        current: u64,
        /// Units in all, if known.
        total: Option<u64>,
        /// `bytes` or `steps`.
        unit: String,
    },
    /// A fact to keep in the journal with the task's success. A later value of the same name replaces the earlier.
    Output {
        /// Its name.
        name: String,
        /// Its value; JSON text where it is structured.
        value: String,
    },
    /// A line for people.
    Note {
        /// The text.
        text: String,
    },
}
