//! The agent at work: enrol, fetch the sequence, run it, report until the controller has heard the end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper::Method;

use crate::controller::{Report, ResumePoint};
use crate::sequence::{self, Attempt, Ending, Facts, Observer, Sequence, Step};

use super::capture::{Disks, Link, is_agent};
use super::commands::{Workbench, with_causes};
use super::discover::{DeviceFacts, discover};
use super::enrol::{EnrolError, Enrolment, enrol};
use super::http::HttpError;
use super::order::BootOrder;
use super::report::Reporter;
use super::screen::{Console, Shown, machine_line};
use super::watchdog::{self, Watchdog};

/// Longest time that the controller is tried before anything could be reported: it may be on its way up itself.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

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
    /// Where it speaks.
    pub console: &'a dyn Console,
}

/// Works off the boot order.
pub fn run(order: &BootOrder, place: &Place<'_>) -> Result<Finished, AgentError> {
    let console = place.console;
    let facts = discover();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (host, port) = &order.controller;
    console.show(Shown::Machine(machine_line(&facts)));
    console.show(Shown::Controller(format!("https://{host}:{port}")));
    console.show(Shown::Doing("looking for the controller".to_owned()));
    console.say(&format!("controller https://{host}:{port}, CA {}", order.ca));
    let enrolment = runtime.block_on(enrol_patiently(order, &facts, console))?;
    console.say(&format!("enrolled as {}", enrolment.device));
    if enrolment.stays {
        return stay(&enrolment, &runtime, &facts, place);
    }
    let path = format!("/v1/devices/{}/sequence", enrolment.device);
    let text = runtime.block_on(enrolment.client.request(Method::GET, &path, None))?;
    drop(runtime);
    let work = Work { enrolment: &enrolment, facts: &facts, place };
    match work.perform_and_report(None, &text, None)? {
        Outcome::Restart { after } => {
            let message = format!("step `{after}` asks for a restart, which this machine cannot come back from");
            Err(AgentError::Sequence { message })
        }
        Outcome::Done { .. } => Ok(Finished::Off),
    }
}

/// Waits for one job after another. Ends when a job says so, or when the certificate opens nothing any more.
fn stay(
    enrolment: &Enrolment,
    runtime: &tokio::runtime::Runtime,
    facts: &DeviceFacts,
    place: &Place<'_>,
) -> Result<Finished, AgentError> {
    let console = place.console;
    let _watchdog = arm_watchdog(console);
    let base = format!("/v1/devices/{}", enrolment.device);
    let name = if enrolment.name.is_empty() { &enrolment.device } else { &enrolment.name };
    console.show(Shown::Name(format!("{name} (device {})", enrolment.device)));
    console.say(&format!("{name}, device {}: {}; waiting for work", enrolment.device, machine_line(facts)));
    let waiting = || console.show(Shown::Doing("waiting for work".to_owned()));
    waiting();
    let work = Work { enrolment, facts, place };
    let mut reachable = true;
    loop {
        watchdog::alive_for(watchdog::IDLE);
        let given = runtime.block_on(async {
            let (job, text) = enrolment.client.request_named(Method::GET, &format!("{base}/sequence"), None).await?;
            let Some(job) = job else { return Ok(None) };
            let behind = enrolment.client.request(Method::GET, &format!("{base}/jobs/{job}/resume"), None).await?;
            let behind = (!behind.is_empty()).then(|| serde_json::from_slice::<ResumePoint>(&behind)).transpose();
            let behind =
                behind.map_err(|error| HttpError::Untrusted { at: job.clone(), message: error.to_string() })?;
            Ok(Some((job, text, behind)))
        });
        let (job, text, behind) = match given {
            Ok(Some(given)) => given,
            Ok(None) => {
                reachable = true;
                continue;
            }
            Err(HttpError::Refused { status: 401 | 403, .. }) => {
                console.say("this device was released: the machine restarts");
                return Ok(Finished::Restart);
            }
            Err(error) => {
                if std::mem::take(&mut reachable) {
                    let error = with_causes(&error);
                    console.show(Shown::Error(error.clone()));
                    console.say(&format!("{error}; trying again until it answers"));
                }
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        reachable = true;
        match work.perform_and_report(Some(job), &text, behind) {
            Ok(Outcome::Done { leaves: Some(how) }) => return Ok(how),
            Ok(Outcome::Done { leaves: None }) => console.say("done; waiting for work"),
            Ok(Outcome::Restart { after }) => {
                console.say(&format!("the machine restarts, and goes on behind step {after}"));
                return Ok(Finished::Restart);
            }
            // A controller that was started again has other jobs: it is asked.
            Err(error) => {
                let error = with_causes(&error);
                console.show(Shown::Error(error.clone()));
                console.say(&format!("{error}; waiting for work"));
            }
        }
        waiting();
    }
}

/// A machine that stays is a machine of metal: nobody sees it hang.
fn arm_watchdog(console: &dyn Console) -> Option<Watchdog> {
    if !is_agent() {
        return None;
    }
    let hangs = || {
        // The agent itself hangs: this line is all that still comes out of it.
        tracing::error!("the agent shows no sign of life: its watchdog restarts the machine");
    };
    match Watchdog::arm(hangs) {
        Ok(Some(armed)) => {
            console.say(&format!("watchdog armed: {}", watchdog::identity()));
            Some(armed)
        }
        Ok(None) => {
            console.say("this machine has no watchdog");
            None
        }
        Err(error) => {
            console.say(&format!("the watchdog cannot be used: {error}"));
            None
        }
    }
}

/// How a sequence has ended well.
enum Outcome {
    /// All of it is done.
    Done {
        /// How the agent is to end, if it is.
        leaves: Option<Finished>,
    },
    /// The machine restarts, and goes on.
    Restart {
        /// Behind this step.
        after: String,
    },
}

/// What every job of a boot shares.
struct Work<'a> {
    enrolment: &'a Enrolment,
    facts: &'a DeviceFacts,
    place: &'a Place<'a>,
}

impl Work<'_> {
    /// Runs a sequence, from its begin or from where a restart has interrupted it, and reports until its end is known.
    fn perform_and_report(
        &self,
        job: Option<String>,
        text: &[u8],
        behind: Option<ResumePoint>,
    ) -> Result<Outcome, AgentError> {
        let Enrolment { client, device, .. } = self.enrolment;
        let survives = job.is_some();
        let reporter = Reporter::start(client.clone(), device, job.clone())?;
        // The job of a device that was made for it alone has the device's name.
        let job = job.unwrap_or_else(|| device.clone());
        let link = Link { client: client.clone(), device: device.clone(), job };
        let (outcome, found) = self.perform(&String::from_utf8_lossy(text), behind, &reporter, &link);
        watchdog::alive_for(watchdog::IDLE * 2);
        match &outcome {
            Ok(Outcome::Restart { after }) if survives => {
                reporter.say(Report::Restart(ResumePoint { after: after.clone(), facts: found }));
            }
            _ => {
                let message = match &outcome {
                    Ok(Outcome::Restart { after }) => {
                        format!("step `{after}` asks for a restart, which this machine cannot come back from")
                    }
                    Ok(Outcome::Done { .. }) => String::new(),
                    Err(message) => message.clone(),
                };
                reporter.say(Report::Result { ok: message.is_empty(), message, facts: found });
            }
        }
        reporter.finish()?;
        outcome.map_err(|message| AgentError::Sequence { message })
    }

    /// Runs the sequence. Returns its end and what it has found.
    fn perform(
        &self,
        text: &str,
        behind: Option<ResumePoint>,
        reporter: &Reporter,
        link: &Link,
    ) -> (Result<Outcome, String>, Facts) {
        let mut known: Facts = self.facts.clone();
        let sequence = match sequence::parse(text) {
            Ok(sequence) => sequence,
            Err(error) => return (Err(format!("the sequence cannot be read: {}", with_causes(&error))), known),
        };
        self.place.console.say(&format!("sequence {}: {}", sequence.id, sequence.description));
        // What the steps before the restart found still holds; of this machine, what is seen now does.
        let (after, found) = behind.map_or_else(Default::default, |point| (Some(point.after), point.facts));
        for (name, value) in found {
            known.entry(name).or_insert(value);
        }
        let bench = Workbench::new(reporter, link, self.place);
        let registry = bench.registry();
        let mut told = Told { reporter, console: self.place.console, order: order_of(&sequence) };
        let outcome = match sequence::interpret(&sequence, &registry, &mut known, &mut told, after.as_deref()) {
            Ok(Ending::Done { .. }) => Ok(Outcome::Done { leaves: bench.leaves() }),
            Ok(Ending::Reboot { after }) => Ok(Outcome::Restart { after }),
            Err(failure) => Err(failure.to_string()),
        };
        (outcome, known)
    }
}

/// The token is used up by the first request that arrives, so only a connection that never came about is tried again.
async fn enrol_patiently(
    order: &BootOrder,
    facts: &DeviceFacts,
    console: &dyn Console,
) -> Result<Enrolment, EnrolError> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        match enrol(order, facts.clone()).await {
            Err(EnrolError::Http(error)) if error.is_passing() && begun.elapsed() < PATIENCE => {
                let error = with_causes(&error);
                console.show(Shown::Error(error.clone()));
                if !std::mem::replace(&mut said, true) {
                    console.say(&format!("{error}; trying again for {} minutes", PATIENCE.as_secs() / 60));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            outcome => return outcome,
        }
    }
}

fn order_of(sequence: &Sequence) -> Vec<String> {
    sequence.steps().into_iter().map(|step| step.id.clone()).collect()
}

/// Tells the console and the controller of every step.
struct Told<'a> {
    reporter: &'a Reporter,
    console: &'a dyn Console,
    order: Vec<String>,
}

impl Observer for Told<'_> {
    fn begin(&mut self, step: &Step, attempt: u32) {
        let what = if step.description.is_empty() { &step.command } else { &step.description };
        // A step may take its own time and no more; what it does in between are signs of life of its own.
        watchdog::alive_for(step.timeout.map_or(watchdog::STEP, |timeout| timeout + watchdog::IDLE));
        self.console.say(&format!("{}: {what}", step.id));
        let position = self.order.iter().position(|id| *id == step.id).map_or(0, |at| at as u64 + 1);
        let doing = format!("{what} (step {position} of {})", self.order.len());
        self.console.show(Shown::Doing(doing));
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
        watchdog::alive_for(watchdog::IDLE);
        if !message.is_empty() {
            self.console.say(&format!("{}: {outcome}: {message}", step.id));
        }
        if outcome == "failed" {
            self.console.show(Shown::Error(format!("{}: {message}", step.id)));
        }
        self.reporter.say(Report::End { step: step.id.clone(), outcome: outcome.to_owned(), message });
    }
}
