//! What `replant inspect --json` found on disks.

use super::error::{ImportError, Place};
use crate::guest::MachineInspection;
use crate::inventory::inspected_facts;
use crate::inventory::model::Facts;

/// Reads the output; the machine is called as its only system calls itself.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<(String, Facts)>, Vec<ImportError>> {
    let found: MachineInspection = serde_json::from_str(text).map_err(|error| {
        let help = "it is the output of `replant inspect --json DISK...`, kept whole";
        let message = format!("it is no inspection: {error}");
        vec![ImportError::new(file, Place::Line(error.line().max(1)), message, help)]
    })?;
    let (name, facts) = inspected(&found);
    let Some(name) = name else {
        let systems = found.systems.len();
        let message = format!("{systems} systems were found, and no single name of a machine");
        let help = "`replant inventory disk --name NAME` names it";
        return Err(vec![ImportError::new(file, Place::Path("systems".to_owned()), message, help)]);
    };
    Ok(vec![(name, facts)])
}

/// An inspection as facts, with the name of the only system that was found.
pub fn inspected(found: &MachineInspection) -> (Option<String>, Facts) {
    let facts = inspected_facts(found);
    let host = facts.os.host_name.as_ref().filter(|_| found.systems.len() == 1);
    let name = host.map(|host| host.value.split('.').next().unwrap_or(&host.value).to_ascii_lowercase());
    (name.filter(|name| !name.is_empty()), facts)
}
