//! [`Switch`]: one machine's power, whatever switches it.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::error::PowerError;
use super::ipmi::Ipmi;
use super::redfish::{Redfish, Reset};
use super::secret;
use crate::plan::Power;

/// Between two looks at a machine that is to change.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerState {
    /// It is.
    On,
    /// It is not.
    Off,
    /// On its way from one to the other.
    Changing,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Changing => "changing",
        })
    }
}

/// Whether a running system may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It is asked to shut down, and waited for.
    Never,
    /// Its power is cut.
    Now,
}

/// How long a machine may take until it is what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Wait(pub Duration);

enum Kind {
    Redfish(Box<Redfish>, Runtime),
    Ipmi(Ipmi),
}

/// The power of one machine.
pub struct Switch(Kind);

impl Switch {
    /// Reads the password; nothing is sent yet. `None` for a machine that a person switches.
    pub fn open(power: &Power) -> Result<Option<Self>, PowerError> {
        Ok(match power {
            Power::Manual => None,
            Power::Redfish(access) => {
                let password = secret::read(&access.password)?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| PowerError::Connection { at: access.url.clone(), error })?;
                Some(Self(Kind::Redfish(Box::new(Redfish::open(access, &password)?), runtime)))
            }
            Power::Ipmi(access) => Some(Self(Kind::Ipmi(Ipmi::open(access, secret::read(&access.password)?)))),
        })
    }

    /// Whether it is on.
    pub fn state(&self) -> Result<PowerState, PowerError> {
        match &self.0 {
            Kind::Redfish(redfish, runtime) => runtime.block_on(redfish.state()),
            Kind::Ipmi(ipmi) => ipmi.state(),
        }
    }

    /// Switches it on; nothing happens if it is.
    pub fn on(&self, wait: Wait) -> Result<(), PowerError> {
        if self.state()? != PowerState::On {
            match &self.0 {
                Kind::Redfish(redfish, runtime) => runtime.block_on(redfish.reset(Reset::On))?,
                Kind::Ipmi(ipmi) => ipmi.power("on")?,
            }
        }
        self.becomes(PowerState::On, wait)
    }

    /// Switches it off; nothing happens if it is.
    pub fn off(&self, force: Force, wait: Wait) -> Result<(), PowerError> {
        if self.state()? != PowerState::Off {
            match (&self.0, force) {
                (Kind::Redfish(redfish, runtime), Force::Never) => {
                    runtime.block_on(redfish.reset(Reset::GracefulShutdown))?;
                }
                (Kind::Redfish(redfish, runtime), Force::Now) => runtime.block_on(redfish.reset(Reset::ForceOff))?,
                (Kind::Ipmi(ipmi), Force::Never) => ipmi.power("soft")?,
                (Kind::Ipmi(ipmi), Force::Now) => ipmi.power("off")?,
            }
        }
        self.becomes(PowerState::Off, wait)
    }

    /// Starts it again at once, as with its reset button; switches it on if it is off.
    pub fn reset(&self, wait: Wait) -> Result<(), PowerError> {
        if self.state()? == PowerState::Off {
            return self.on(wait);
        }
        match &self.0 {
            Kind::Redfish(redfish, runtime) => runtime.block_on(redfish.reset(Reset::ForceRestart))?,
            Kind::Ipmi(ipmi) => ipmi.power("reset")?,
        }
        self.becomes(PowerState::On, wait)
    }

    /// Has it boot from the network, once. If it runs, it is shut down first, or reset with [`Force::Now`].
    pub fn boot_from_network(&self, force: Force, wait: Wait) -> Result<(), PowerError> {
        let running = self.state()? != PowerState::Off;
        if running && force == Force::Never {
            self.off(force, wait)?;
        }
        match &self.0 {
            Kind::Redfish(redfish, runtime) => runtime.block_on(redfish.boot_from_network())?,
            Kind::Ipmi(ipmi) => ipmi.boot_from_network()?,
        }
        match force {
            Force::Now if running => self.reset(wait),
            _ => self.on(wait),
        }
    }

    fn becomes(&self, wanted: PowerState, wait: Wait) -> Result<(), PowerError> {
        let begun = Instant::now();
        loop {
            let found = self.state()?;
            if found == wanted {
                return Ok(());
            }
            if begun.elapsed() >= wait.0 {
                return Err(PowerError::Late { wanted, found, waited: wait.0 });
            }
            std::thread::sleep(LOOK);
        }
    }
}
