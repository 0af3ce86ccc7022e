//! Reports: numbered, sent in order, and kept until the controller has acknowledged them.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::Method;
use tokio::runtime::Runtime;

use crate::controller::{Ack, Report, ReportBatch, ReportEntry};

use super::http::{Client, HttpError};

/// Longest time that an unacknowledged report is sent again and again.
const PATIENCE: Duration = Duration::from_secs(600);
/// First wait after a failed attempt; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Largest batch.
const BATCH: usize = 100;

/// Sends reports from a thread of its own, so that work does not wait for the network.
pub struct Reporter {
    sender: Option<Sender<Report>>,
    thread: JoinHandle<Result<(), HttpError>>,
}

impl Reporter {
    /// Starts for a device, or for one job of several that it has.
    pub fn start(client: Client, device: &str, job: Option<String>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let path = format!("/v1/devices/{device}/reports");
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("reports".to_owned())
            .spawn(move || send_all(&runtime, &client, &path, job.as_deref(), &receiver))?;
        Ok(Self { sender: Some(sender), thread })
    }

    /// Queues a report.
    pub fn say(&self, report: Report) {
        if let Some(sender) = &self.sender {
            // A thread that has given up says so in `finish`.
            let _ = sender.send(report);
        }
    }

    /// Waits until every report is acknowledged.
    pub fn finish(mut self) -> Result<(), HttpError> {
        self.sender = None;
        self.thread.join().expect("the reporting thread does not panic")
    }
}

fn send_all(
    runtime: &Runtime,
    client: &Client,
    path: &str,
    job: Option<&str>,
    receiver: &Receiver<Report>,
) -> Result<(), HttpError> {
    let mut waiting: VecDeque<ReportEntry> = VecDeque::new();
    let mut last = 0;
    let mut open = true;
    while open || !waiting.is_empty() {
        if waiting.is_empty() {
            match receiver.recv_timeout(Duration::from_secs(1)) {
                Ok(report) => push(&mut waiting, &mut last, report),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        while waiting.len() < BATCH
            && let Ok(report) = receiver.try_recv()
        {
            push(&mut waiting, &mut last, report);
        }
        if waiting.is_empty() {
            continue;
        }
        let entries: Vec<ReportEntry> = waiting.iter().take(BATCH).cloned().collect();
        let acknowledged = runtime.block_on(send(client, path, job, entries))?;
        while waiting.front().is_some_and(|entry| entry.seq <= acknowledged) {
            waiting.pop_front();
        }
    }
    Ok(())
}

fn push(waiting: &mut VecDeque<ReportEntry>, last: &mut u64, report: Report) {
    *last += 1;
    waiting.push_back(ReportEntry { seq: *last, report });
}

async fn send(client: &Client, path: &str, job: Option<&str>, entries: Vec<ReportEntry>) -> Result<u64, HttpError> {
    let body = serde_json::to_vec(&ReportBatch { job: job.map(str::to_owned), entries }).expect("reports are JSON");
    let begun = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let outcome = client.request(Method::POST, path, Some(body.clone())).await;
        match outcome {
            Ok(answer) => {
                return serde_json::from_slice::<Ack>(&answer)
                    .map(|ack| ack.acknowledged)
                    .map_err(|error| HttpError::Untrusted { at: path.to_owned(), message: error.to_string() });
            }
            Err(error) if error.is_passing() && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Err(error) => return Err(error),
        }
    }
}
