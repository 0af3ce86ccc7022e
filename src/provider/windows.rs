//! The tables of a provider for Windows guests: `windows.yaml` and `service-modes.yaml`.

use crate::guest::windows::{Hardware, ServiceModes, TargetTables};

use super::ProviderError;

/// The file that lists devices.
pub(super) const HARDWARE: &str = "windows.yaml";
/// The file that lists start modes of services.
pub(super) const SERVICES: &str = "service-modes.yaml";

/// Reads the tables; a file that a provider lacks is an empty table.
pub(super) fn tables(
    hardware: Option<&(String, String)>,
    services: Option<&(String, String)>,
) -> Result<TargetTables, ProviderError> {
    let mut tables = TargetTables::default();
    if let Some((path, text)) = hardware {
        tables.hardware = read::<Hardware>(path, text)?;
        tables.hardware.check().map_err(|error| wrong(path, error.0))?;
    }
    if let Some((path, text)) = services {
        tables.modes = read::<ServiceModes>(path, text)?;
        tables.modes.check().map_err(|error| wrong(path, error.0))?;
    }
    Ok(tables)
}

fn read<T: serde::de::DeserializeOwned>(path: &str, text: &str) -> Result<T, ProviderError> {
    serde_saphyr::from_str(text).map_err(|error| wrong(path, error.to_string()))
}

fn wrong(path: &str, message: String) -> ProviderError {
    ProviderError::Inconsistent { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hardware: Option<&str>, services: Option<&str>) -> String {
        let named = |text: Option<&str>| text.map(|text| ("providers/x/table.yaml".to_owned(), text.to_owned()));
        tables(named(hardware).as_ref(), named(services).as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named_with_the_file() {
        for (text, expected) in [
            ("service_modes: 2\nservices: []", "1 is"),
            ("service_modes: 1\nservices:\n- {name: a, mode: never, why: x}", "never"),
            ("service_modes: 1\nservices:\n- {name: a, mode: auto, why: x, from: vista}", "6.1"),
            ("service_modes: 1\nservices:\n- {name: '*', mode: auto, why: x}", "no service name"),
        ] {
            let error = said(None, Some(text));
            assert!(error.contains("providers/x/table.yaml") && error.contains(expected), "{error}");
        }
        let error = said(Some("windows: 1\ndevices:\n- {name: d, role: boot, required: true, ids: []}"), None);
        assert!(error.contains("no `ids`"), "{error}");
    }

    #[test]
    fn the_embedded_tables_are_in_order() {
        let catalog = crate::provider::Catalog::embedded().unwrap();
        let tables = catalog.get("qemu").unwrap().windows();
        assert!(tables.hardware.devices.iter().any(|device| device.required));
        assert!(tables.modes.services.iter().any(|rule| rule.name == "VMTools"));
    }
}
