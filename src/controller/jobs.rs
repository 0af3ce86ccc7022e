//! Jobs, their tokens and their devices, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::captures::CaptureSlot;
use super::deploys::DeploySlot;
use super::pki::Fingerprint;
use super::protocol::{CaptureGrant, DeployGrant, Report, ReportEntry, ResumePoint};

/// Longest name of a machine.
const MAX_NAME: usize = 63;
/// Reports that one job may send: more is not an agent at work.
const MAX_REPORTS: u64 = 200_000;

/// Why a request is refused. What the agent is told is less than what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The machine's name is no name.
    #[error(
        "a machine's name is made of letters, digits, `.`, `_` and `-`, begins with a letter or digit and has {MAX_NAME} characters at most"
    )]
    Name,
    /// The token is unknown: never issued, used up, or of a job that has ended.
    #[error("the token is unknown")]
    UnknownToken,
    /// The token is too old.
    #[error("the token has expired")]
    ExpiredToken,
    /// No certificate was shown.
    #[error("no client certificate was shown")]
    NoCertificate,
    /// The certificate opens another device's job, or none.
    #[error("the client certificate does not open this device")]
    OtherDevice,
    /// Reports are missing between those we know and these.
    #[error("report {got} came when {expected} was due")]
    Gap {
        /// The number that came.
        got: u64,
        /// The number that was due.
        expected: u64,
    },
    /// The job has sent more than any job does.
    #[error("the job has sent too many reports")]
    TooMany,
    /// The job has ended, or was one of an earlier controller.
    #[error("the job is not there any more")]
    Gone,
    /// The job does not allow it.
    #[error("the job does not allow it")]
    NotGranted,
    /// Something of ours does not work; it is logged.
    #[error("the controller is out of order")]
    Broken,
}

/// A job as its maker gets it.
pub struct NewJob {
    /// Its id.
    pub id: String,
    /// The device.
    pub device: String,
    /// The token, in clear for the only time.
    pub token: String,
    /// What the agent reports; ends when the job ends.
    pub reports: mpsc::UnboundedReceiver<Report>,
}

/// What a job may do besides working off its sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Disks that it may capture.
    pub captures: Vec<CaptureGrant>,
    /// Images that it may put on disks.
    pub deploys: Vec<DeployGrant>,
}

struct Job {
    device: String,
    /// Its place among the jobs of its device.
    number: u64,
    captures: HashMap<String, Arc<CaptureSlot>>,
    deploys: HashMap<String, Arc<DeploySlot>>,
    sequence: String,
    certificate: Option<Fingerprint>,
    acknowledged: u64,
    /// Where it goes on after the restart that it has asked for.
    resume: Option<ResumePoint>,
    /// Its result is known; it stays until its maker has gone.
    ended: bool,
    reports: mpsc::UnboundedSender<Report>,
}

struct Token {
    device: String,
    expires: Instant,
}

#[derive(Default)]
struct State {
    made: u64,
    /// By id; the job of a device that was made for it alone has the device's.
    jobs: HashMap<String, Job>,
    /// By digest: a copy of our memory does not show tokens.
    tokens: HashMap<[u8; 32], Token>,
}

/// Every job of a controller.
#[derive(Default)]
pub struct Jobs {
    state: Mutex<State>,
}

impl Jobs {
    /// A new job for a machine, with a token that is good for `life`.
    pub fn create(&self, machine: &str, sequence: String, life: Duration, grants: Grants) -> Result<NewJob, JobError> {
        let named = machine.len() <= MAX_NAME
            && machine.starts_with(|c: char| c.is_ascii_alphanumeric())
            && machine.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !named {
            return Err(JobError::Name);
        }
        let device = format!("{machine}-{}", random_hex::<4>());
        let token = random_hex::<32>();
        let (sender, reports) = mpsc::unbounded_channel();
        let mut state = self.lock();
        state.tokens.insert(digest(&token), Token { device: device.clone(), expires: Instant::now() + life });
        state.add(device.clone(), device.clone(), sequence, grants, sender);
        Ok(NewJob { id: device.clone(), device, token, reports })
    }

    /// A new job for a registered device; it waits until the device asks.
    pub fn queue(&self, device: &str, sequence: String, grants: Grants) -> NewJob {
        let id = format!("job-{}", random_hex::<8>());
        let (sender, reports) = mpsc::unbounded_channel();
        self.lock().add(id.clone(), device.to_owned(), sequence, grants, sender);
        NewJob { id, device: device.to_owned(), token: String::new(), reports }
    }

    /// The oldest job of a registered device: its id and its sequence. The caller has proven who asks. Whoever is given a
    /// job numbers its reports from 1: an agent whose machine has restarted knows nothing of those before.
    pub fn next(&self, device: &str) -> Option<(String, String)> {
        let mut state = self.lock();
        let waiting = state.jobs.iter_mut().filter(|(_, job)| job.device == device && !job.ended);
        let (id, job) = waiting.min_by_key(|(_, job)| job.number)?;
        job.acknowledged = 0;
        Some((id.clone(), job.sequence.clone()))
    }

    /// Where a job of a device goes on, if its machine has restarted on its behalf. The caller has proven who asks.
    pub fn resume(&self, device: &str, job: &str) -> Result<Option<ResumePoint>, JobError> {
        let state = self.lock();
        let job = state.jobs.get(job).filter(|job| job.device == device).ok_or(JobError::Gone)?;
        Ok(job.resume.clone())
    }

    /// Whether the device was made for one job, and which certificate opens it.
    pub fn alone(&self, device: &str) -> Option<Option<Fingerprint>> {
        self.lock().jobs.get(device).map(|job| job.certificate)
    }

    /// What a job of a device may capture under that name. The caller has proven who asks.
    pub fn capture(&self, device: &str, job: &str, disk: &str) -> Result<Arc<CaptureSlot>, JobError> {
        let state = self.lock();
        let job = state.jobs.get(job).filter(|job| job.device == device).ok_or(JobError::Gone)?;
        job.captures.get(disk).cloned().ok_or(JobError::NotGranted)
    }

    /// What a job of a device may put on the disk of that name. The caller has proven who asks.
    pub fn deploy(&self, device: &str, job: &str, disk: &str) -> Result<Arc<DeploySlot>, JobError> {
        let state = self.lock();
        let job = state.jobs.get(job).filter(|job| job.device == device).ok_or(JobError::Gone)?;
        job.deploys.get(disk).cloned().ok_or(JobError::NotGranted)
    }

    /// Says something to a job's maker.
    pub fn tell(&self, job: &str, report: Report) {
        if let Some(job) = self.lock().jobs.get(job) {
            // A maker that is gone ends the job.
            let _ = job.reports.send(report);
        }
    }

    /// Ends every job, so that captures are kept and makers hear of it.
    pub fn end_all(&self) {
        let mut state = self.lock();
        state.jobs.clear();
        state.tokens.clear();
    }

    /// Ends a job: its token and its certificate open nothing any more.
    pub fn end(&self, device: &str) {
        let mut state = self.lock();
        state.jobs.remove(device);
        state.tokens.retain(|_, token| token.device != device);
    }

    /// Uses a token up. Returns the device that it opens.
    pub fn redeem(&self, token: &str) -> Result<String, JobError> {
        let mut state = self.lock();
        let token = state.tokens.remove(&digest(token)).ok_or(JobError::UnknownToken)?;
        if Instant::now() >= token.expires {
            return Err(JobError::ExpiredToken);
        }
        Ok(token.device)
    }

    /// Binds a certificate to a device, and tells the job's maker.
    pub fn enrolled(&self, device: &str, certificate: Fingerprint, report: Report) -> Result<(), JobError> {
        let mut state = self.lock();
        let job = state.jobs.get_mut(device).ok_or(JobError::UnknownToken)?;
        job.certificate = Some(certificate);
        // A maker that is gone ends the job; nobody misses the report then.
        let _ = job.reports.send(report);
        Ok(())
    }

    /// The sequence of a device, for whoever shows its certificate.
    pub fn sequence(&self, device: &str, peer: Option<Fingerprint>) -> Result<String, JobError> {
        let mut state = self.lock();
        authorised(&mut state, device, peer).map(|job| job.sequence.clone())
    }

    /// Takes reports; those that are known already are dropped. Returns the last number known.
    pub fn report(&self, device: &str, peer: Option<Fingerprint>, entries: Vec<ReportEntry>) -> Result<u64, JobError> {
        let mut state = self.lock();
        authorised(&mut state, device, peer).and_then(|job| job.take(entries))
    }

    /// Takes reports of a registered device's job. The caller has proven who reports.
    pub fn report_of(&self, device: &str, job: &str, entries: Vec<ReportEntry>) -> Result<u64, JobError> {
        let mut state = self.lock();
        let job = state.jobs.get_mut(job).filter(|job| job.device == device).ok_or(JobError::Gone)?;
        job.take(entries)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(
        &mut self,
        id: String,
        device: String,
        sequence: String,
        grants: Grants,
        reports: mpsc::UnboundedSender<Report>,
    ) {
        self.made += 1;
        let capture = |grant: CaptureGrant| (grant.disk.clone(), Arc::new(CaptureSlot::new(grant)));
        let deploy = |grant: DeployGrant| (grant.disk.clone(), Arc::new(DeploySlot::new(grant)));
        let captures = grants.captures.into_iter().map(capture).collect();
        let deploys = grants.deploys.into_iter().map(deploy).collect();
        let number = self.made;
        let (certificate, acknowledged, resume, ended) = (None, 0, None, false);
        let job =
            Job { device, number, captures, deploys, sequence, certificate, acknowledged, resume, ended, reports };
        self.jobs.insert(id, job);
    }
}

impl Job {
    fn take(&mut self, entries: Vec<ReportEntry>) -> Result<u64, JobError> {
        let job = self;
        for entry in entries {
            let expected = job.acknowledged + 1;
            match entry.seq {
                known if known < expected => continue,
                next if next == expected => {}
                got => return Err(JobError::Gap { got, expected }),
            }
            if expected > MAX_REPORTS {
                return Err(JobError::TooMany);
            }
            job.ended |= matches!(entry.report, Report::Result { .. });
            if let Report::Restart(point) = &entry.report {
                job.resume = Some(point.clone());
            }
            let _ = job.reports.send(entry.report);
            job.acknowledged = expected;
        }
        Ok(job.acknowledged)
    }
}

/// An unknown device and a foreign certificate give the same answer.
fn authorised<'a>(state: &'a mut State, device: &str, peer: Option<Fingerprint>) -> Result<&'a mut Job, JobError> {
    let peer = peer.ok_or(JobError::NoCertificate)?;
    state.jobs.get_mut(device).filter(|job| job.certificate == Some(peer)).ok_or(JobError::OtherDevice)
}

fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_work_once_and_not_for_ever() {
        let jobs = Jobs::default();
        let job = jobs.create("web01", "<x/>".into(), Duration::from_secs(60), Grants::default()).unwrap();
        assert_eq!(jobs.redeem("guess"), Err(JobError::UnknownToken));
        assert_eq!(jobs.redeem(&job.token).as_deref(), Ok(job.device.as_str()));
        assert_eq!(jobs.redeem(&job.token), Err(JobError::UnknownToken));
        let late = jobs.create("web01", "<x/>".into(), Duration::ZERO, Grants::default()).unwrap();
        assert_eq!(jobs.redeem(&late.token), Err(JobError::ExpiredToken));
        let ended = jobs.create("web01", "<x/>".into(), Duration::from_secs(60), Grants::default()).unwrap();
        jobs.end(&ended.device);
        assert_eq!(jobs.redeem(&ended.token), Err(JobError::UnknownToken));
    }

    #[test]
    fn a_job_that_is_handed_out_again_counts_from_one_and_goes_on_where_it_asked_for_a_restart() {
        let jobs = Jobs::default();
        let mut made = jobs.queue("d1", "<x/>".into(), Grants::default());
        let entry = |seq: u64, report| ReportEntry { seq, report };
        let note = |seq: u64| entry(seq, Report::Note { text: seq.to_string() });
        let (id, _) = jobs.next("d1").unwrap();
        assert_eq!(jobs.report_of("d1", &id, vec![note(1), note(2)]), Ok(2));
        assert_eq!(jobs.resume("d1", &id), Ok(None));
        let point = ResumePoint { after: "first".into(), facts: [("a".to_owned(), "b".to_owned())].into() };
        assert_eq!(jobs.report_of("d1", &id, vec![entry(3, Report::Restart(point.clone()))]), Ok(3));
        assert_eq!(jobs.resume("d1", &id), Ok(Some(point)));
        assert_eq!(jobs.resume("d2", &id), Err(JobError::Gone), "another device's job");

        // The machine comes back: what it reports now is new, whatever its number.
        assert_eq!(jobs.next("d1").map(|(id, _)| id), Some(id.clone()));
        let end = Report::Result { ok: true, message: String::new(), facts: Default::default() };
        assert_eq!(jobs.report_of("d1", &id, vec![note(1), entry(2, end)]), Ok(2));
        assert!(jobs.next("d1").is_none(), "it has ended");
        let seen = std::iter::from_fn(|| made.reports.try_recv().ok()).count();
        assert_eq!(seen, 5);
    }

    #[test]
    fn names_are_checked() {
        let jobs = Jobs::default();
        for bad in ["", "../x", "a b", "a/b", "-a", "é", &"a".repeat(64)] {
            let refused = jobs.create(bad, String::new(), Duration::ZERO, Grants::default()).err();
            assert_eq!(refused, Some(JobError::Name), "{bad}");
        }
    }

    #[test]
    fn reports_are_counted_once_and_gaps_are_refused() {
        let jobs = Jobs::default();
        let mut job = jobs.create("web01", "<x/>".into(), Duration::from_secs(60), Grants::default()).unwrap();
        let peer = Fingerprint::parse(&format!("sha256:{}", "ab".repeat(32)));
        let note = |seq: u64| ReportEntry { seq, report: Report::Note { text: seq.to_string() } };
        assert_eq!(jobs.report(&job.device, peer, vec![note(1)]), Err(JobError::OtherDevice));
        jobs.enrolled(&job.device, peer.unwrap(), Report::Note { text: "hello".into() }).unwrap();
        assert_eq!(jobs.report(&job.device, None, vec![note(1)]), Err(JobError::NoCertificate));
        assert_eq!(jobs.report(&job.device, peer, vec![note(1), note(2)]), Ok(2));
        assert_eq!(jobs.report(&job.device, peer, vec![note(2), note(3)]), Ok(3));
        assert_eq!(jobs.report(&job.device, peer, vec![note(5)]), Err(JobError::Gap { got: 5, expected: 4 }));
        let mut seen = Vec::new();
        while let Ok(Report::Note { text }) = job.reports.try_recv() {
            seen.push(text);
        }
        assert_eq!(seen, ["hello", "1", "2", "3"]);
    }
}
