//! Stopping in three stages. Ctrl-C once: nothing new starts, what runs is awaited; twice: SIGTERM to what runs; three
//! times: SIGKILL. SIGTERM and SIGHUP to us count like Ctrl-C.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Asks a run to stop; each call is one stage more.
#[derive(Clone, Debug)]
pub struct StopHandle(UnboundedSender<String>);

/// The run's end of a [`StopHandle`].
#[derive(Debug)]
pub struct StopRequests(pub(super) UnboundedReceiver<String>);

impl StopHandle {
    /// A handle and the requests made with it.
    pub fn new() -> (Self, StopRequests) {
        let (handle, requests) = unbounded_channel();
        (Self(handle), StopRequests(requests))
    }

    /// One stage more, with the reason for people.
    pub fn stop(&self, reason: impl Into<String>) {
        // A run that has ended needs no stopping.
        let _ = self.0.send(reason.into());
    }

    /// Makes SIGINT, SIGTERM and SIGHUP to this process call [`StopHandle::stop`]. Needs a running tokio runtime.
    pub(super) fn listen_to_signals(&self) -> io::Result<tokio::task::JoinHandle<()>> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let handle = self.clone();
        Ok(tokio::spawn(async move {
            loop {
                let reason = tokio::select! {
                    Some(()) = interrupt.recv() => "Ctrl-C",
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = hangup.recv() => "the terminal has gone",
                    else => return,
                };
                handle.stop(reason);
            }
        }))
    }
}
