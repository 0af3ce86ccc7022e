//! Whether the agent has a driver for a source's devices: what was built is asked, and nothing is guessed before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use camino::Utf8Path;

use super::Failure;
use crate::agent::build::{DriverTable, DriverTableError, PciDevice, Served};
use crate::assess::rules::Coverage;

/// The drivers of a built agent.
pub struct AgentDrivers {
    table: Option<DriverTable>,
    told: Mutex<HashMap<String, Option<bool>>>,
}

impl AgentDrivers {
    /// Of the agent in `folder`; left out, of the one that the plan's hosts have built below its root, if they have.
    pub fn of(root: &Utf8Path, folder: Option<&Path>) -> Result<Self, Failure> {
        let built: PathBuf = root.join(".replant/agent").into();
        let table = match DriverTable::read(folder.unwrap_or(&built)) {
            Ok(table) => Some(table),
            // Nothing was built yet: the rules report that they could not ask.
            Err(DriverTableError::Io { error, .. })
                if folder.is_none() && error.kind() == std::io::ErrorKind::NotFound =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { table, told: Mutex::default() })
    }
}

impl Coverage for AgentDrivers {
    fn has_driver(&self, pci: &str, class: Option<&str>) -> Option<bool> {
        let table = self.table.as_ref()?;
        // Fleets have few kinds of devices, and the table is long.
        let key = format!("{pci} {}", class.unwrap_or_default());
        if let Some(told) = self.told.lock().ok()?.get(&key) {
            return *told;
        }
        let answer = ask(table, pci, class);
        self.told.lock().ok()?.insert(key, answer);
        answer
    }
}

/// Without its class nobody knows whether a driver of a whole class serves the device.
fn ask(table: &DriverTable, pci: &str, class: Option<&str>) -> Option<bool> {
    let mut device: PciDevice = pci.parse().ok()?;
    if device.class.is_none() {
        device.class = class.and_then(class_of);
    }
    match table.serves(&device) {
        Served::Agent { .. } => Some(true),
        Served::Left { .. } => Some(false),
        Served::Nobody => device.class.is_some().then_some(false),
    }
}

/// `0106`, or `010601` with the programming interface.
fn class_of(text: &str) -> Option<(u32, u32, Option<u32>)> {
    let byte = |at: usize| u32::from_str_radix(text.get(at..at + 2)?, 16).ok();
    Some((byte(0)?, byte(2)?, byte(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: &str = "alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\n\
        alias pci:v*d*sv*sd*bc01sc06i01* ahci\n\
        alias pci:v00001000d0000005Bsv*sd*bc*sc*i* megaraid_sas\n";

    #[test]
    fn a_device_is_covered_or_not_or_nobody_knows() {
        let table = DriverTable::new("6.1.0", ["e1000".into(), "ahci".into()].into(), ALIASES);
        assert_eq!(ask(&table, "8086:100e", None), Some(true));
        assert_eq!(ask(&table, "1000:005b", None), Some(false), "the kernel has a module, the agent does not");
        assert_eq!(ask(&table, "8086:2922", None), None, "a driver of its whole class may serve it");
        assert_eq!(ask(&table, "8086:2922", Some("0106")), Some(true));
        assert_eq!(ask(&table, "8086:2922", Some("0104")), Some(false));
        assert_eq!(ask(&table, "dead:0001", Some("0200")), Some(false));
        assert_eq!(ask(&table, "no id", Some("0200")), None);
    }
}
