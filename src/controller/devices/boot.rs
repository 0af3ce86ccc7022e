//! What a machine that asks the network for something to boot is told.

use std::time::Duration;

use rusqlite::params;

use super::error::DeviceError;
use super::model::{BootAnswer, Device, DeviceState, Sighting};
use super::registry::{Devices, Result, now};

/// A device that was given the agent so often in a row without enrolling boots its own disk: it loops.
pub const UNHEARD_BOOTS: u32 = 5;

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The agent, with a fresh one-time token for its boot order.
    Agent {
        /// The device.
        device: Box<Device>,
        /// The token.
        token: String,
    },
    /// Its own disk.
    Local {
        /// The device.
        device: Box<Device>,
    },
    /// Nothing.
    Ignore {
        /// Why, for the log.
        why: Why,
    },
}

/// Why a machine is told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody registered it.
    Unknown,
    /// Its device is to be ignored.
    Told,
    /// It is not what it resembles.
    Refused(String),
}

impl Devices {
    /// Answers a machine, and counts: a one-shot is used up, a boot is counted, a loop is cut. `token_life` is how long
    /// the machine may take until its agent enrols.
    pub fn boot(&self, seen: &Sighting, token_life: Duration) -> Result<Boot> {
        let device = match self.find(seen) {
            Ok(Some(device)) => device,
            Ok(None) => return Ok(Boot::Ignore { why: Why::Unknown }),
            Err(error @ (DeviceError::Stranger { .. } | DeviceError::Torn { .. })) => {
                return Ok(Boot::Ignore { why: Why::Refused(error.to_string()) });
            }
            Err(error) => return Err(error),
        };
        let local = |device| Ok(Boot::Local { device: Box::new(device) });
        match device.boot {
            BootAnswer::Ignore => return Ok(Boot::Ignore { why: Why::Told }),
            BootAnswer::Local => {
                self.touch(&device.id)?;
                return local(device);
            }
            BootAnswer::Agent if device.unheard >= UNHEARD_BOOTS => {
                tracing::warn!(device = %device.id, boots = device.unheard, "it does not enrol: it gets its own disk");
                self.touch(&device.id)?;
                return local(device);
            }
            BootAnswer::Agent => {}
        }
        let token = self.issue_token(&device.id, token_life)?;
        let next = if device.one_shot { BootAnswer::Local } else { BootAnswer::Agent };
        self.update(
            &device.id,
            "UPDATE device SET boots = boots + 1, unheard = unheard + 1, state = ?2, boot = ?3, one_shot = 0,
             last_seen = ?4 WHERE id = ?1",
            params![device.id.as_str(), DeviceState::Booted.word(), next.word(), now()],
        )?;
        Ok(Boot::Agent { device: Box::new(self.get(&device.id)?), token })
    }
}
