//! What the migration of a Windows needs of the cache, and what supplies it.

use serde::Serialize;

use super::PatchRecord;
use crate::guest::windows::driver::DriverPackage;
use crate::guest::windows::{DeviceRole, TargetTables, WindowsFacts, choice};

/// A device of the target, and what drives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The device.
    pub device: String,
    /// Its identifiers.
    pub ids: Vec<String>,
    /// What its driver is needed for.
    pub role: DeviceRole,
    /// Whether the machine is refused without.
    pub required: bool,
    /// What supplies it: key and title.
    pub supplier: Option<(String, String)>,
}

impl Need {
    /// Whether the machine is refused for it.
    pub fn is_missing(&self) -> bool {
        self.required && self.supplier.is_none()
    }
}

/// What a Windows needs on a target, each with what supplies it.
pub fn needs(facts: &WindowsFacts, tables: &TargetTables, cache: &[(PatchRecord, DriverPackage)]) -> Vec<Need> {
    let packages: Vec<DriverPackage> = cache.iter().map(|(_, package)| package.clone()).collect();
    let need = |device: &crate::guest::windows::Device| {
        let chosen = choice(device, &packages, facts).map(|choice| &choice.package.folder);
        let record = chosen.and_then(|folder| cache.iter().find(|(_, package)| &package.folder == folder));
        Need {
            device: device.name.clone(),
            ids: device.ids.clone(),
            role: device.role,
            required: device.required,
            supplier: record.map(|(record, _)| (record.key.clone(), format!("{} ({})", record.title, record.origin))),
        }
    };
    tables.hardware.devices.iter().map(need).collect()
}
