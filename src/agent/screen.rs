//! The screen of a machine in the agent: who it is, what goes on, what went wrong last; for whoever stands in front of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use super::discover::DeviceFacts;

/// The console that a keyboard and a screen belong to.
const TERMINAL: &str = "/dev/tty1";
/// Which consoles the kernel writes to; the last one is `/dev/console`.
const CONSOLES: &str = "/sys/class/tty/console/active";
/// Lines of what was said that stay on the screen.
const LINES: usize = 10;

/// Something that the screen shows in a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What this machine is, as its own firmware says.
    Machine(String),
    /// What people call it, once a controller has said so.
    Name(String),
    /// Where its controller is, and whether it answers.
    Controller(String),
    /// What it does.
    Doing(String),
    /// How far that is; nothing if that cannot be said.
    Progress(String),
    /// What went wrong last.
    Error(String),
}

/// Where the agent speaks: lines for a log, and what a screen shows all the time.
pub trait Console: Sync {
    /// A line.
    fn say(&self, line: &str);

    /// Something that stays in sight; a console without a screen does nothing.
    fn show(&self, _shown: Shown) {}
}

/// Nobody listens.
pub struct Silent;

impl Console for Silent {
    fn say(&self, _line: &str) {}
}

#[derive(Default)]
struct State {
    machine: String,
    name: String,
    controller: String,
    doing: String,
    progress: String,
    error: String,
    lines: VecDeque<String>,
}

impl State {
    fn put(&mut self, shown: Shown) {
        match shown {
            Shown::Machine(text) => self.machine = text,
            Shown::Name(text) => self.name = text,
            Shown::Controller(text) => self.controller = text,
            Shown::Doing(text) => (self.doing, self.progress) = (text, String::new()),
            Shown::Progress(text) => self.progress = text,
            Shown::Error(text) => self.error = text,
        }
    }

    /// The whole screen, as text.
    fn paint(&self) -> String {
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { printable(text) };
        let mut screen = format!(
            "  replant agent {}: this machine's own system does not run, its disks wait\n\n",
            env!("CARGO_PKG_VERSION")
        );
        for (what, value) in [
            ("Name", or(&self.name, "not known yet")),
            ("Machine", or(&self.machine, "unknown")),
            ("Controller", or(&self.controller, "none yet")),
            ("Doing", or(&self.doing, "starting")),
            ("Progress", or(&self.progress, "-")),
            ("Last error", or(&self.error, "none")),
        ] {
            let _ = writeln!(screen, "  {what:<11} {value}");
        }
        screen.push('\n');
        for line in &self.lines {
            let _ = writeln!(screen, "  {}", printable(line));
        }
        screen
    }
}

/// Nothing from outside moves the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}

/// The machine's own screen.
pub struct Screen {
    terminal: Mutex<(File, State)>,
    is_console: bool,
}

impl Screen {
    /// Opens it; `None` for a machine without one, or when this is not the agent's own system.
    pub fn open() -> Option<Self> {
        if !super::capture::is_agent() {
            return None;
        }
        let terminal = OpenOptions::new().write(true).open(TERMINAL).ok()?;
        let active = std::fs::read_to_string(CONSOLES).unwrap_or_default();
        let is_console = active.split_whitespace().next_back().is_none_or(|last| last.starts_with("tty0"));
        Some(Self { terminal: Mutex::new((terminal, State::default())), is_console })
    }

    /// Whether lines for the console would land on this very screen.
    pub fn is_console(&self) -> bool {
        self.is_console
    }

    /// Adds a line below what stays.
    pub fn say(&self, line: &str) {
        self.change(|state| {
            state.lines.push_back(line.to_owned());
            while state.lines.len() > LINES {
                state.lines.pop_front();
            }
        });
    }

    /// Changes what stays.
    pub fn show(&self, shown: Shown) {
        self.change(|state| state.put(shown));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut guard = self.terminal.lock().unwrap_or_else(PoisonError::into_inner);
        let (terminal, state) = &mut *guard;
        change(state);
        let text = state.paint().replace('\n', "\r\n");
        // Top left, the text, nothing below it. A screen that cannot be painted does not stop the work.
        let _ = terminal.write_all(format!("\x1b[2J\x1b[H{text}").as_bytes());
    }
}

/// What a machine is, from its facts, for people who look for it in a rack.
pub(super) fn machine_line(facts: &DeviceFacts) -> String {
    let fact = |name: &str| facts.get(name).map(String::as_str).unwrap_or_default();
    let serial = match fact("smbios.product_serial") {
        "" => "none",
        serial => serial,
    };
    let uuid = match fact("smbios.product_uuid") {
        "" => "none",
        uuid => uuid,
    };
    let macs: Vec<&str> = facts
        .iter()
        .filter(|(name, _)| name.starts_with("nic.") && name.ends_with(".mac"))
        .map(|(_, mac)| mac.as_str())
        .collect();
    let model = format!("{} {}", fact("smbios.sys_vendor"), fact("smbios.product_name"));
    format!("{}, serial number {serial}, UUID {uuid}, adapters {}", model.trim(), macs.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_says_who_the_machine_is_what_it_does_and_what_went_wrong() {
        let facts = [
            ("smbios.sys_vendor", "ACME"),
            ("smbios.product_name", "Server"),
            ("smbios.product_serial", "A-42"),
            ("nic.eth0.mac", "52:54:00:00:00:01"),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut state = State::default();
        assert!(state.paint().contains("Last error  none") && state.paint().contains("not known yet"));
        state.put(Shown::Machine(machine_line(&facts)));
        state.put(Shown::Name("web01".into()));
        state.put(Shown::Doing("Capture disk0".into()));
        state.put(Shown::Progress("40 %".into()));
        state.put(Shown::Error("the controller\x1b[2J cannot be reached".into()));
        state.lines.push_back("a line".into());
        let screen = state.paint();
        for text in
            ["ACME Server, serial number A-42, UUID none, adapters 52:54:00:00:00:01", "web01", "Capture disk0", "40 %"]
        {
            assert!(screen.contains(text), "{screen}");
        }
        assert!(screen.contains("the controller [2J cannot") && screen.contains("  a line\n"), "{screen}");
        state.put(Shown::Doing("Switch off".into()));
        assert!(state.paint().contains("Progress    -"), "a new thing to do has no progress yet");
    }
}
