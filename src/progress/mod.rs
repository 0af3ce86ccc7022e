//! Typed events (durable steps, lossy ticks) and their displays.
//!
//! ```text
//! script --TaskMessage over REPLANT_EVENTS--> ProgressServer --+
//! executor ------------------ RunEventKind -------------------+--> Emitter --> EventStream --> Display
//! ```
//!
//! A slow or dead watcher never holds up a run.

mod bars;
mod client;
mod display;
mod event;
mod message;
mod server;

pub use client::EventClient;
pub use display::Display;
pub use event::{Emitter, EventStream, RunEvent, RunEventKind};
pub use message::{EVENTS_SOCKET, TASK, TaskMessage};
pub use server::{Heard, ProgressServer};
