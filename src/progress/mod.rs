//! Typed events (durable steps, lossy ticks) and their displays.

mod client;
mod message;

pub use client::EventClient;
pub use message::{EVENTS_SOCKET, TASK, TaskMessage};
