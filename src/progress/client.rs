//! The side of the conversation that speaks: a verb that a script called tells the executor how far it is. Whatever
//! happens to the socket, the work goes on.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::message::{EVENTS_SOCKET, TASK, TaskMessage};

/// Ticks come no more often than this.
const EVERY: Duration = Duration::from_millis(200);
/// An executor that does not read for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the executor, or nothing if there is none.
#[derive(Debug)]
pub struct EventClient {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stream: Option<UnixStream>,
    last_tick: Option<Instant>,
}

impl EventClient {
    /// Connects to the socket that the environment names and says which task speaks.
    pub fn from_environment() -> Self {
        let stream = std::env::var_os(EVENTS_SOCKET).and_then(|path| UnixStream::connect(path).ok());
        let client = Self::over(stream);
        client.send(&TaskMessage::Hello { task: std::env::var(TASK).unwrap_or_default() });
        client
    }

    fn over(stream: Option<UnixStream>) -> Self {
        let stream = stream.filter(|stream| stream.set_write_timeout(Some(PATIENCE)).is_ok());
        Self { state: Mutex::new(State { stream, last_tick: None }) }
    }

    /// Whether somebody listens.
    pub fn is_connected(&self) -> bool {
        self.state.lock().is_ok_and(|state| state.stream.is_some())
    }

    /// Says how far the work is; most ticks are left out, the last one (`current == total`) never.
    pub fn progress(&self, current: u64, total: Option<u64>, unit: &str) {
        {
            let Ok(mut state) = self.state.lock() else { return };
            let early = state.last_tick.is_some_and(|last| last.elapsed() < EVERY);
            if state.stream.is_none() || (early && total != Some(current)) {
                return;
            }
            state.last_tick = Some(Instant::now());
        }
        self.send(&TaskMessage::Progress { current, total, unit: unit.to_owned() });
    }

    /// Gives a fact to keep with the task's success.
    pub fn output(&self, name: &str, value: impl ToString) {
        self.send(&TaskMessage::Output { name: name.to_owned(), value: value.to_string() });
    }

    /// Gives a line for people.
    pub fn note(&self, text: impl Into<String>) {
        self.send(&TaskMessage::Note { text: text.into() });
    }

    fn send(&self, message: &TaskMessage) {
        let Ok(mut state) = self.state.lock() else { return };
        let Some(stream) = &mut state.stream else { return };
        let mut line = serde_json::to_vec(message).expect("messages are plain data");
        line.push(b'\n');
        if stream.write_all(&line).is_err() {
            state.stream = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn outputs_arrive_and_a_lost_listener_does_no_harm() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = EventClient::over(Some(ours));
        client.progress(1, Some(10), "bytes");
        client.progress(2, Some(10), "bytes");
        client.progress(10, Some(10), "bytes");
        client.output("digest", "abc");
        let lines: Vec<TaskMessage> =
            BufReader::new(&theirs).lines().take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        let progress = |current| TaskMessage::Progress { current, total: Some(10), unit: "bytes".into() };
        let output = TaskMessage::Output { name: "digest".into(), value: "abc".into() };
        assert_eq!(lines, [progress(1), progress(10), output]);
        drop(theirs);
        client.output("digest", "abc");
        client.output("digest", "abc");
        assert!(!client.is_connected());
    }
}
