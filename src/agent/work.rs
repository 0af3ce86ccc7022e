//! The agent at work: enrol, fetch the sequence, run it, report until the controller has heard the end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper::Method;

use crate::controller::Report;
use crate::sequence::{self, Attempt, Ending, Facts, Observer, Sequence, Step};

use super::capture::{Disks, Link};
use super::commands::{Workbench, with_causes};
use super::discover::{DeviceFacts, discover};
use super::enrol::{EnrolError, Enrolment, enrol};
use super::http::HttpError;
use super::order::BootOrder;
use super::report::Reporter;

/// Longest time that the controller is tried before anything could be reported.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the agent did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no certificate.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// A request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A part of the system is missing.
    #[error("the agent cannot work here")]
    System(#[from] std::io::Error),
    /// The sequence ended badly; the controller knows.
    #[error("{message}")]
    Sequence {
        /// Why.
        message: String,
    },
}

/// How the agent's part has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The work is done: the machine goes off.
    Off,
    /// The machine is to boot what its next boot gives it.
    Restart,
}

/// What the agent works with.
pub struct Place<'a> {
    /// Where file systems are mounted.
    pub folder: PathBuf,
    /// The disks that may be captured or written.
    pub disks: Disks,
    /// Gets lines for the console.
    pub say: &'a dyn Fn(&str),
}

/// Works off the boot order.
pub fn run(order: &BootOrder, place: &Place<'_>) -> Result<Finished, AgentError> {
    let say = place.say;
    let facts = discover();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (host, port) = &order.controller;
    say(&format!("controller https://{host}:{port}, CA {}", order.ca));
    let enrolment = runtime.block_on(enrol_patiently(order, &facts))?;
    say(&format!("enrolled as {}", enrolment.device));
    if enrolment.stays {
        return stay(&enrolment, &runtime, &facts, place);
    }
    let path = format!("/v1/devices/{}/sequence", enrolment.device);
    let text = runtime.block_on(enrolment.client.request(Method::GET, &path, None))?;
    drop(runtime);
    perform_and_report(&enrolment, None, &text, facts, place).map(|_| Finished::Off)
}

/// Waits for one job after another. Ends when a job says so, or when the certificate opens nothing any more.
fn stay(
    enrolment: &Enrolment,
    runtime: &tokio::runtime::Runtime,
    facts: &DeviceFacts,
    place: &Place<'_>,
) -> Result<Finished, AgentError> {
    let say = place.say;
    let path = format!("/v1/devices/{}/sequence", enrolment.device);
    let identity = ["smbios.product_uuid", "smbios.product_serial"].map(|name| facts.get(name).cloned());
    let [uuid, serial] = identity.map(|value| value.unwrap_or_else(|| "none".to_owned()));
    say(&format!("device {}: UUID {uuid}, serial number {serial}; waiting for work", enrolment.device));
    let mut reachable = true;
    loop {
        let (job, text) = match runtime.block_on(enrolment.client.request_named(Method::GET, &path, None)) {
            Ok((Some(job), text)) => (job, text),
            Ok((None, _)) => continue,
            Err(HttpError::Refused { status: 401 | 403, .. }) => {
                say("this device was released: the machine restarts");
                return Ok(Finished::Restart);
            }
            Err(error) => {
                if std::mem::take(&mut reachable) {
                    say(&format!("{}; trying again until it answers", with_causes(&error)));
                }
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        reachable = true;
        let outcome = perform_and_report(enrolment, Some(job), &text, facts.clone(), place);
        match outcome {
            Ok(true) => return Ok(Finished::Off),
            Ok(false) => say("done; waiting for work"),
            // A controller that was started again has other jobs: it is asked.
            Err(error) => say(&format!("{}; waiting for work", with_causes(&error))),
        }
    }
}

/// Runs a sequence and reports until its end is known. Says whether the machine is to go off.
fn perform_and_report(
    enrolment: &Enrolment,
    job: Option<String>,
    text: &[u8],
    facts: DeviceFacts,
    place: &Place<'_>,
) -> Result<bool, AgentError> {
    let reporter = Reporter::start(enrolment.client.clone(), &enrolment.device, job.clone())?;
    // The job of a device that was made for it alone has the device's name.
    let (client, device) = (enrolment.client.clone(), enrolment.device.clone());
    let link = Link { client, job: job.unwrap_or_else(|| device.clone()), device };
    let (outcome, found) = perform(&String::from_utf8_lossy(text), facts, place, &reporter, &link);
    let message = outcome.as_ref().err().cloned().unwrap_or_default();
    reporter.say(Report::Result { ok: message.is_empty(), message: message.clone(), facts: found });
    reporter.finish()?;
    outcome.map_err(|message| AgentError::Sequence { message })
}

/// The token is used up by the first request that arrives, so only a connection that never came about is tried again.
async fn enrol_patiently(order: &BootOrder, facts: &DeviceFacts) -> Result<Enrolment, EnrolError> {
    let begun = Instant::now();
    loop {
        match enrol(order, facts.clone()).await {
            Err(EnrolError::Http(error)) if error.is_passing() && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Runs the sequence. Returns its end (whether the machine is to go off) and what it has found.
fn perform(
    text: &str,
    facts: DeviceFacts,
    place: &Place<'_>,
    reporter: &Reporter,
    link: &Link,
) -> (Result<bool, String>, Facts) {
    let (mut known, say): (Facts, _) = (facts, place.say);
    let sequence = match sequence::parse(text) {
        Ok(sequence) => sequence,
        Err(error) => return (Err(format!("the sequence cannot be read: {}", with_causes(&error))), known),
    };
    say(&format!("sequence {}: {}", sequence.id, sequence.description));
    let bench = Workbench::new(place.folder.clone(), reporter, link, &place.disks);
    let registry = bench.registry();
    let mut told = Told { reporter, say, order: order_of(&sequence) };
    let outcome = match sequence::interpret(&sequence, &registry, &mut known, &mut told, None) {
        Ok(Ending::Done { .. }) => Ok(bench.goes_off()),
        Ok(Ending::Reboot { after }) => Err(format!("step `{after}` asks for a restart, which this agent does not do")),
        Err(failure) => Err(failure.to_string()),
    };
    (outcome, known)
}

fn order_of(sequence: &Sequence) -> Vec<String> {
    sequence.steps().into_iter().map(|step| step.id.clone()).collect()
}

/// Tells the console and the controller of every step.
struct Told<'a> {
    reporter: &'a Reporter,
    say: &'a dyn Fn(&str),
    order: Vec<String>,
}

impl Observer for Told<'_> {
    fn begin(&mut self, step: &Step, attempt: u32) {
        let what = if step.description.is_empty() { &step.command } else { &step.description };
        (self.say)(&format!("{}: {what}", step.id));
        let position = self.order.iter().position(|id| *id == step.id).map_or(0, |at| at as u64 + 1);
        self.reporter.say(Report::Begin {
            step: step.id.clone(),
            what: what.clone(),
            attempt,
            position,
            total: self.order.len() as u64,
        });
    }

    fn end(&mut self, step: &Step, _attempt: u32, outcome: &Attempt) {
        let (outcome, message) = match outcome {
            Attempt::Skipped { fact } => ("skipped", format!("because of `{fact}`")),
            Attempt::Succeeded(_) => ("done", String::new()),
            Attempt::Failed { message, .. } => ("failed", message.clone()),
        };
        if !message.is_empty() {
            (self.say)(&format!("{}: {outcome}: {message}", step.id));
        }
        self.reporter.say(Report::End { step: step.id.clone(), outcome: outcome.to_owned(), message });
    }
}
