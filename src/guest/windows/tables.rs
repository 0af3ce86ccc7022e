//! What a provider says about Windows: the devices of its machines, and start modes of services. Data, not code.

use serde::{Deserialize, Serialize};

use super::{Generation, StartMode};

/// Both tables of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTables {
    /// The devices.
    pub hardware: Hardware,
    /// The services.
    pub modes: ServiceModes,
}

/// `windows.yaml` of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Version of the format: 1.
    pub windows: u32,
    /// What a machine shows.
    pub devices: Vec<Device>,
    /// Where drivers are found, for messages.
    #[serde(default)]
    pub driver_source: String,
    /// Layers of classic Windows that start there.
    #[serde(default)]
    pub hal: Hal,
}

/// A device of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What it is, for people.
    pub name: String,
    /// What its driver is needed for.
    pub role: DeviceRole,
    /// Whether a machine without a driver for it is refused.
    pub required: bool,
    /// Identifiers: a driver for one of them is enough.
    pub ids: Vec<String>,
}

/// What a device's driver is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceRole {
    /// To start at all.
    Boot,
    /// To be reached.
    Network,
    /// For comfort.
    Other,
}

/// Hardware abstraction layers of Windows before Vista.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hal {
    /// Those that start on the target.
    pub accepted: Vec<String>,
}

/// `service-modes.yaml` of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceModes {
    /// Version of the format: 1.
    pub service_modes: u32,
    /// One rule for each service, or for several of similar names.
    pub services: Vec<ServiceRule>,
}

/// The start mode of services after the migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRule {
    /// The service; `*` at the end stands for anything.
    pub name: String,
    /// The mode.
    pub mode: StartMode,
    /// Why.
    pub why: String,
    /// The first kernel that it is for: `6.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The last kernel that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What makes no sense in a table, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TableError(pub String);

impl Hardware {
    /// What makes no sense in it.
    pub fn check(&self) -> Result<(), TableError> {
        if self.windows != 1 {
            let found = self.windows;
            return Err(TableError(format!("`windows: {found}` is a format that this version does not know; 1 is")));
        }
        match self.devices.iter().find(|device| device.ids.is_empty()) {
            Some(device) => Err(TableError(format!("`{}` has no `ids`, such as PCI\\VEN_1AF4&DEV_1001", device.name))),
            None => Ok(()),
        }
    }
}

impl ServiceModes {
    /// What makes no sense in it.
    pub fn check(&self) -> Result<(), TableError> {
        let found = self.service_modes;
        if found != 1 {
            return Err(TableError(format!(
                "`service_modes: {found}` is a format that this version does not know; 1 is"
            )));
        }
        for rule in &self.services {
            for version in [&rule.from, &rule.until].into_iter().flatten() {
                if kernel(version).is_none() {
                    return Err(TableError(format!("`{}`: `{version}` is no version such as \"6.1\"", rule.name)));
                }
            }
            let stem = rule.name.strip_suffix('*').unwrap_or(&rule.name);
            if stem.is_empty() || stem.contains(['*', '\\', '/']) {
                let name = &rule.name;
                return Err(TableError(format!("`{name}` is no service name; `*` may stand at the end, after a name")));
            }
        }
        Ok(())
    }

    /// The rule for a service of a Windows: the first that fits.
    pub fn rule(&self, service: &str, generation: Generation) -> Option<&ServiceRule> {
        let service = service.to_lowercase();
        self.services.iter().find(|rule| {
            let name = rule.name.to_lowercase();
            let named = match name.strip_suffix('*') {
                Some(stem) => service.starts_with(stem),
                None => service == name,
            };
            let since = rule.from.as_deref().and_then(kernel).is_none_or(|from| generation.kernel() >= from);
            let until = rule.until.as_deref().and_then(kernel).is_none_or(|until| generation.kernel() <= until);
            named && since && until
        })
    }
}

fn kernel(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Device {
    /// As one line of an artifact: `boot required virtio disk = ID, ID`.
    pub fn to_row(&self) -> String {
        let needed = if self.required { "required" } else { "optional" };
        format!("{} {needed} {} = {}", self.role.name(), self.name, self.ids.join(", "))
    }

    /// Reads [`Self::to_row`].
    pub fn from_row(row: &str) -> Result<Self, TableError> {
        let wrong =
            || TableError(format!("`{row}` is no device such as `boot required virtio disk = PCI\\VEN_1AF4&DEV_1001`"));
        let (head, ids) = row.split_once(" = ").ok_or_else(wrong)?;
        let mut words = head.splitn(3, ' ');
        let role = words.next().and_then(DeviceRole::parse).ok_or_else(wrong)?;
        let required = match words.next() {
            Some("required") => true,
            Some("optional") => false,
            _ => return Err(wrong()),
        };
        let name = words.next().unwrap_or_default().trim().to_owned();
        let ids: Vec<String> = ids.split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
        if name.is_empty() || ids.is_empty() { Err(wrong()) } else { Ok(Self { name, role, required, ids }) }
    }
}

impl DeviceRole {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Network => "network",
            Self::Other => "other",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Boot, Self::Network, Self::Other].into_iter().find(|role| role.name() == name)
    }
}

impl ServiceRule {
    /// As one line of an artifact: `intelppm disabled - 6.0 why`; `-` stands for every version.
    pub fn to_row(&self) -> String {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
        format!("{} {} {} {} {}", self.name, self.mode.name(), version(&self.from), version(&self.until), self.why)
    }

    /// Reads [`Self::to_row`].
    pub fn from_row(row: &str) -> Result<Self, TableError> {
        let wrong = || TableError(format!("`{row}` is no start mode such as `intelppm disabled - 6.0 why`"));
        let words: Vec<&str> = row.splitn(5, ' ').collect();
        let [name, mode, from, until, why] = words.as_slice() else { return Err(wrong()) };
        let mode = StartMode::parse(mode).ok_or_else(wrong)?;
        let version = |text: &str| (text != "-").then(|| text.to_owned());
        Ok(Self { name: (*name).to_owned(), mode, why: (*why).to_owned(), from: version(from), until: version(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, until: Option<&str>) -> ServiceRule {
        let until = until.map(str::to_owned);
        ServiceRule { name: name.into(), mode: StartMode::Disabled, why: "x".into(), from: None, until }
    }

    #[test]
    fn rules_fit_names_and_versions() {
        let modes =
            ServiceModes { service_modes: 1, services: vec![rule("CqMg*", None), rule("intelppm", Some("6.0"))] };
        modes.check().unwrap();
        assert!(modes.rule("CQMGHOST", Generation::Server2019).is_some());
        assert!(modes.rule("INTELPPM", Generation::Server2003).is_some());
        assert!(modes.rule("intelppm", Generation::Server2008R2).is_none());
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let device = Device {
            name: "virtio disk".into(),
            role: DeviceRole::Boot,
            required: true,
            ids: vec!["PCI\\VEN_1AF4&DEV_1001".into(), "PCI\\VEN_1AF4&DEV_1042".into()],
        };
        assert_eq!(Device::from_row(&device.to_row()), Ok(device));
        let rule = rule("intelppm", Some("6.0"));
        assert_eq!(ServiceRule::from_row(&rule.to_row()), Ok(rule));
        for row in ["", "boot", "boot required = x", "never required a = x", "a disabled - -"] {
            assert!(Device::from_row(row).is_err() && ServiceRule::from_row(row).is_err(), "{row}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_row_is_survived(row in "(boot |network )?(required )?\\PC{0,12}( = )?\\PC{0,9}") {
            let _ = (Device::from_row(&row), ServiceRule::from_row(&row));
        }

        #[test]
        fn any_rule_is_survived(rule_name in "\\PC{0,8}", until in "\\PC{0,5}", name in "\\PC{0,8}") {
            let modes = ServiceModes { service_modes: 1, services: vec![rule(&rule_name, Some(&until))] };
            let _ = modes.check();
            let _ = modes.rule(&name, Generation::Server2016);
        }
    }
}
