//! How a long-running verb shows itself: to the executor over its socket, else on a terminal, else not at all; and how
//! it is stopped.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::image::{Control, ImageError, Limit, RateSchedule, SystemClock, Tick};
use crate::progress::EventClient;
use crate::units::ByteRate;

/// Progress, outputs and the stop flag of one verb.
pub struct Reporter {
    events: EventClient,
    bar: Option<ProgressBar>,
    stop: Arc<AtomicBool>,
}

impl Reporter {
    /// `doing` stands before the bar.
    pub fn new(doing: String) -> Result<Self, ImageError> {
        let events = EventClient::from_environment();
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // The second signal ends the process at once: a checkpoint is never needed, only welcome.
            signal_hook::flag::register_conditional_shutdown(signal, 75, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|error| ImageError::Refused { what: format!("cannot listen to signals: {error}") })?;
        }
        let bar = (!events.is_connected() && std::io::stderr().is_terminal()).then(|| {
            let form = "{msg} {bar:30} {percent:>3}% {decimal_bytes_per_sec} {eta} left";
            let style = ProgressStyle::with_template(form).expect("the form is right");
            ProgressBar::new(0).with_style(style).with_message(doing)
        });
        Ok(Self { events, bar, stop })
    }

    /// Runs work under this reporter's control.
    pub fn watch<T>(
        &self,
        limit: Option<ByteRate>,
        work: impl FnOnce(&Control<'_>) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let limit = limit.map(|rate| Limit::own(RateSchedule::always(Some(rate)), None, Arc::new(SystemClock)));
        self.watch_within(limit.into_iter().collect(), work)
    }

    /// Runs work within limits.
    pub fn watch_within<T>(
        &self,
        limits: Vec<Limit>,
        work: impl FnOnce(&Control<'_>) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let tick = |Tick { done, total }: Tick| {
            self.events.progress(done, Some(total), "bytes");
            if let Some(bar) = &self.bar {
                bar.set_length(total);
                bar.set_position(done);
            }
        };
        let outcome = work(&Control::new(&self.stop, &tick).limits(limits));
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        outcome
    }

    /// Something that a person should know: in the task's log, and to whoever watches.
    pub fn warn(&self, line: &str) {
        anstream::eprintln!("warning: {line}");
        self.events.note(format!("warning: {line}"));
    }

    /// A fact for the journal.
    pub fn output(&self, name: &str, value: impl ToString) {
        self.events.output(name, value);
    }
}
