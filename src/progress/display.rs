//! Displays: bars on a terminal, plain lines elsewhere, NDJSON for programs. They draw what the events say and
//! nothing else.

use std::io::Write;

use super::bars::Bars;
use super::event::{EventStream, RunEvent, RunEventKind};
use crate::units::human_duration;

/// How a run is shown.
pub enum Display {
    /// Not at all.
    Silent,
    /// A line per step.
    Lines(Box<dyn Write + Send>),
    /// A JSON object per line.
    Json(Box<dyn Write + Send>),
    /// Bars with rate and time left, on the terminal behind standard error.
    Bars,
}

impl Display {
    /// Shows every event of the stream until it ends.
    pub fn show(self, stream: EventStream) {
        match self {
            Self::Silent => stream.for_each(drop),
            Self::Lines(mut out) => {
                for event in stream {
                    if let Some(line) = line(&event) {
                        // A closed pipe does not stop the run.
                        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                    }
                }
            }
            Self::Json(mut out) => {
                for event in stream {
                    let line = serde_json::to_string(&event).expect("an event is JSON");
                    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                }
            }
            Self::Bars => {
                let mut bars = Bars::new();
                stream.for_each(|event| bars.take(&event));
                bars.finish();
            }
        }
    }
}

/// The event as a line for people; ticks have none.
pub(super) fn line(event: &RunEvent) -> Option<String> {
    use RunEventKind as K;
    Some(match &event.what {
        K::RunStarted { plan, verb, to_do, done } => {
            format!("{verb} of plan `{plan}`, run {}: {to_do} tasks to do, {done} done already", event.run)
        }
        K::TaskWaiting { task, budget, position } => format!("{task}: waiting for {budget}, position {position}"),
        K::TaskStarted { task, attempt: 1 } => format!("{task}: started"),
        K::TaskStarted { task, attempt } => format!("{task}: started, attempt {attempt}"),
        K::TaskProgress { .. } => return None,
        K::TaskNote { task, text } => format!("{task}: {text}"),
        K::TaskDone { task, already_true: true, .. } => format!("{task}: was there already"),
        K::TaskDone { task, seconds, .. } => format!("{task}: done in {}", seconds_for_people(*seconds)),
        K::TaskFailed { task, message, retry_in, log, .. } => {
            let next = retry_in.map(|s| format!("; next attempt in {}", seconds_for_people(s))).unwrap_or_default();
            let log = log.as_ref().filter(|_| retry_in.is_none()).map(|log| format!("\n    log: {log}"));
            format!("{task}: FAILED: {message}{next}{}", log.unwrap_or_default())
        }
        K::UnwindStarted { scope, tasks } => format!("{scope}: rolling back {tasks} tasks"),
        K::UndoStarted { task } => format!("{task}: undo"),
        K::TaskUndone { task, kept: None } => format!("{task}: undone"),
        K::TaskUndone { task, kept: Some(why) } => format!("{task}: partial work undone; kept: {why}"),
        K::TaskStuck { task, message } => format!("{task}: STUCK, a person is needed: {message}"),
        K::WaveFrozen { wave, failed } => {
            format!("wave {wave}: {failed} machines failed, more than allowed: nothing of it starts any more")
        }
        K::Stopping { stage, reason, awaiting } => stopping(*stage, reason, awaiting),
        K::RunEnded { summary, .. } => summary.clone(),
    })
}

fn stopping(stage: u8, reason: &str, awaiting: &[crate::address::Address]) -> String {
    let what = match stage {
        0 | 1 => "nothing new starts",
        2 => "SIGTERM was sent to what runs",
        _ => "SIGKILL was sent to what runs",
    };
    const SHOWN: usize = 5;
    let mut awaited: Vec<String> = awaiting.iter().take(SHOWN).map(ToString::to_string).collect();
    if awaiting.len() > SHOWN {
        awaited.push(format!("{} more", awaiting.len() - SHOWN));
    }
    let awaited = if awaited.is_empty() { "nothing".to_owned() } else { awaited.join(", ") };
    format!("stopping ({reason}): {what}; awaiting {awaited}")
}

fn seconds_for_people(seconds: f64) -> String {
    human_duration(std::time::Duration::from_secs_f64(seconds.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::progress::Emitter;

    /// What a display writes can be read back after it has been given away.
    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(display: impl FnOnce(Box<dyn Write + Send>) -> Display) -> String {
        let (emitter, stream) = Emitter::new("r1");
        let task = Address::new("web01/capture/disk0");
        emitter.emit(RunEventKind::TaskStarted { task: task.clone(), attempt: 1 });
        emitter.emit(RunEventKind::TaskWaiting { task: task.clone(), budget: "store".into(), position: 2 });
        emitter.emit(RunEventKind::TaskProgress {
            task: task.clone(),
            attempt: 1,
            current: 1,
            total: Some(2),
            unit: "bytes".into(),
        });
        emitter.emit(RunEventKind::Stopping { stage: 1, reason: "Ctrl-C".into(), awaiting: vec![task] });
        drop(emitter);
        let out = Shared::default();
        display(Box::new(out.clone())).show(stream);
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_say_what_is_waited_for_and_what_is_awaited() {
        let text = shown(Display::Lines);
        assert_eq!(
            text,
            "web01/capture/disk0: started\n\
             web01/capture/disk0: waiting for store, position 2\n\
             stopping (Ctrl-C): nothing new starts; awaiting web01/capture/disk0\n"
        );
    }

    #[test]
    fn json_has_a_line_for_every_event() {
        let text = shown(Display::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2]["type"], "task-progress");
        assert_eq!(lines[2]["total"], 2);
    }
}
