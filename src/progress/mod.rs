//! Typed events (durable steps, lossy ticks) and their displays.

mod message;

pub use message::{EVENTS_SOCKET, TASK, TaskMessage};
