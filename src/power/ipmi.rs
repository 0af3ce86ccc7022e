//! IPMI over the network (RMCP+), through `ipmitool`, which gets the password from its environment.

use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::error::PowerError;
use super::switch::PowerState;
use crate::plan::IpmiAccess;

/// An IPMI service that we are let into.
pub(super) struct Ipmi {
    host: String,
    port: String,
    user: String,
    password: Zeroizing<String>,
}

impl Ipmi {
    pub(super) fn open(access: &IpmiAccess, password: Zeroizing<String>) -> Self {
        let (host, port) = access.host.split_once(':').unwrap_or((&access.host, "623"));
        Self { host: host.to_owned(), port: port.to_owned(), user: access.user.clone(), password }
    }

    pub(super) fn state(&self) -> Result<PowerState, PowerError> {
        let said = self.chassis(&["power", "status"])?;
        match said.trim().rsplit(' ').next() {
            Some("on") => Ok(PowerState::On),
            Some("off") => Ok(PowerState::Off),
            _ => Err(PowerError::Nonsense { at: self.host.clone(), message: said.trim().to_owned() }),
        }
    }

    /// `on`, `off`, `soft` or `reset`.
    pub(super) fn power(&self, word: &'static str) -> Result<(), PowerError> {
        self.chassis(&["power", word]).map(drop)
    }

    /// The next boot, and that one alone, is from the network.
    pub(super) fn boot_from_network(&self) -> Result<(), PowerError> {
        self.chassis(&["bootdev", "pxe"]).map(drop)
    }

    fn chassis(&self, words: &[&str]) -> Result<String, PowerError> {
        let output = Command::new("ipmitool")
            .args([
                "-I", "lanplus", "-N", "5", "-R", "3", "-H", &self.host, "-p", &self.port, "-U", &self.user, "-E",
                "chassis",
            ])
            .args(words)
            .env("IPMI_PASSWORD", self.password.as_str())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(PowerError::NoIpmitool)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let at = self.host.clone();
        // One answer for a wrong user, a wrong password and a service that is not there: the protocol tells no more.
        if said.contains("Unable to establish") && said.contains("RAKP") {
            return Err(PowerError::NoEntry { at, user: self.user.clone() });
        }
        let message = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned();
        Err(PowerError::Refused { at, what: words.join(" "), message })
    }
}
