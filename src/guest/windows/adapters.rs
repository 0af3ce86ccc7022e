//! Network adapters of a Windows that is off: names, addresses, and whose MAC address it was.

use std::collections::BTreeMap;

use super::facts::AdapterFact;
use super::registry::{Hive, HiveError, RegValue};

/// The class of network adapters.
pub(super) const NETWORK_CLASS: &str = "{4D36E972-E325-11CE-BFC1-08002BE10318}";

/// Where an interface's addresses are.
pub(super) fn tcpip_key(set: &str, guid: &str) -> String {
    format!("{set}\\Services\\Tcpip\\Parameters\\Interfaces\\{guid}")
}

/// Where an interface's name is.
pub(super) fn connection_key(set: &str, guid: &str) -> String {
    format!("{set}\\Control\\Network\\{NETWORK_CLASS}\\{guid}\\Connection")
}

/// Every adapter that has a name, in the order of names.
pub(super) fn read(system: &Hive, set: &str) -> Result<Vec<AdapterFact>, HiveError> {
    let Some(network) = system.key(&format!("{set}\\Control\\Network\\{NETWORK_CLASS}"))? else {
        return Ok(Vec::new());
    };
    let macs = addresses(system, set)?;
    let mut adapters = Vec::new();
    for key in network.subkeys()? {
        let Some(connection) = key.child("Connection")? else { continue };
        let Some(name) = connection.text("Name")? else { continue };
        let guid = key.name();
        let tcpip = system.key(&tcpip_key(set, &guid))?;
        let list = |name: &str| -> Result<Vec<String>, HiveError> {
            let value = match &tcpip {
                Some(key) => key.value(name)?,
                None => None,
            };
            let texts = value.and_then(|value| value.as_texts()).unwrap_or_default();
            let split = texts.iter().flat_map(|text| text.split([',', ' '])).map(str::trim);
            Ok(split.filter(|text| !text.is_empty() && *text != "0.0.0.0").map(str::to_owned).collect())
        };
        let dhcp = match &tcpip {
            Some(key) => key.number("EnableDHCP")?.unwrap_or(0) != 0,
            None => true,
        };
        let pairs = list("IPAddress")?.into_iter().zip(list("SubnetMask")?).filter(|_| !dhcp);
        adapters.push(AdapterFact {
            device: connection.text("PnpInstanceID")?,
            mac: macs.get(&guid.to_uppercase()).cloned(),
            addresses: pairs.collect(),
            gateways: list("DefaultGateway")?,
            dns: list("NameServer")?,
            guid,
            name,
            dhcp,
        });
    }
    adapters.sort_by(|one, other| (&one.name, &one.guid).cmp(&(&other.name, &other.guid)));
    Ok(adapters)
}

/// MAC addresses by interface: what was set by hand, and what Windows 10 and later write down.
fn addresses(system: &Hive, set: &str) -> Result<BTreeMap<String, String>, HiveError> {
    let mut found = BTreeMap::new();
    if let Some(interfaces) = system.key(&format!("{set}\\Control\\NetworkSetup2\\Interfaces"))? {
        for key in interfaces.subkeys()? {
            let Some(kernel) = key.child("Kernel")? else { continue };
            let mac = match kernel.value("PermanentAddress")? {
                Some(value) => Some(value),
                None => kernel.value("CurrentAddress")?,
            };
            if let Some(mac) = mac.as_ref().and_then(mac_of) {
                found.insert(key.name().to_uppercase(), mac);
            }
        }
    }
    if let Some(class) = system.key(&format!("{set}\\Control\\Class\\{NETWORK_CLASS}"))? {
        for key in class.subkeys()? {
            let Some(guid) = key.text("NetCfgInstanceId")? else { continue };
            if let Some(mac) = key.text("NetworkAddress")?.as_deref().and_then(mac_of_digits) {
                found.insert(guid.to_uppercase(), mac);
            }
        }
    }
    Ok(found)
}

fn mac_of(value: &RegValue) -> Option<String> {
    match value.as_text() {
        Some(text) => mac_of_digits(&text),
        None => {
            let bytes = value.data.get(..6).filter(|_| value.data.len() == 6)?;
            Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
        }
    }
}

/// `52540012AB34` or `52-54-00-12-AB-34` as `52:54:00:12:ab:34`.
fn mac_of_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect::<String>().to_lowercase();
    let fits = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| (0..6).map(|at| &digits[at * 2..at * 2 + 2]).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_one_way() {
        assert_eq!(mac_of_digits("52-54-00-12-AB-34").as_deref(), Some("52:54:00:12:ab:34"));
        assert_eq!(mac_of_digits("5254"), None);
        assert_eq!(mac_of_digits("52540012é34"), None);
        assert_eq!(mac_of(&RegValue::binary([1, 2, 3, 4, 5, 6])).as_deref(), Some("01:02:03:04:05:06"));
        assert_eq!(mac_of(&RegValue::binary([1])), None);
    }
}
