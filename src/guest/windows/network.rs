//! Addresses and names of network adapters: the old devices are gone, and what was set for them follows the MAC address.
//!
//! Offline, the old interfaces give up their names and fixed addresses, so that they are free for the new ones; what was
//! set goes into a list that the first boot applies.

use super::adapters::{connection_key, tcpip_key};
use super::facts::AdapterFact;
use super::plan::{Drafter, FileContent, HOME, HiveName, TargetNic, WindowsOptions, WindowsPlanError};
use super::registry::RegValue;
use super::{WindowsFacts, WindowsFiles};

const ID: &str = "windows.network";
/// What the name of an old adapter ends with.
const OLD: &str = " (before migration)";

/// What the first boot sets for an adapter of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    mac: String,
    guid: String,
    name: String,
    addresses: Vec<String>,
    masks: Vec<String>,
    gateways: Vec<String>,
    dns: Vec<String>,
}

/// Where the list lies.
pub(super) fn list_path(root: &str) -> String {
    format!("{root}\\{HOME}\\network.txt")
}

pub(super) fn plan(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    options: &WindowsOptions<'_>,
) -> Result<(), WindowsPlanError> {
    let path = list_path(&draft.facts.root);
    // What an earlier conversion has moved into the list is in the registry no more.
    let mut settings = parse(&draft.files.read(&path)?.unwrap_or_default());
    let facts: &WindowsFacts = draft.facts;
    let known: Vec<String> = options
        .tables
        .hardware
        .devices
        .iter()
        .flat_map(|device| &device.ids)
        .map(|id| vendor(id).to_uppercase())
        .collect();
    let old: Vec<&AdapterFact> = facts
        .adapters
        .iter()
        .filter(|adapter| adapter.device.as_ref().is_some_and(|device| is_gone(device, &known)))
        .filter(|adapter| !settings.iter().any(|setting| setting.guid.eq_ignore_ascii_case(&adapter.guid)))
        .collect();
    for adapter in &old {
        let Some(nic) = successor(adapter, &old, options.nics) else {
            if !adapter.addresses.is_empty() {
                let addresses: Vec<&str> = adapter.addresses.iter().map(|(address, _)| address.as_str()).collect();
                draft.warn(format!(
                    "the fixed address {} of `{}` is left on the old adapter: which adapter of the target follows it \
                     cannot be told. Name it in the plan: `nics: [{{ mac: ..., name: \"{}\" }}]`",
                    addresses.join(", "),
                    adapter.name,
                    adapter.name
                ));
            }
            continue;
        };
        retire(draft, adapter)?;
        settings.push(Setting {
            mac: nic.mac.to_uppercase(),
            guid: adapter.guid.clone(),
            name: adapter.name.clone(),
            addresses: adapter.addresses.iter().map(|(address, _)| address.clone()).collect(),
            masks: adapter.addresses.iter().map(|(_, mask)| mask.clone()).collect(),
            gateways: adapter.gateways.clone(),
            dns: adapter.dns.clone(),
        });
    }
    if !settings.is_empty() {
        let why = "the first boot gives these names and addresses to the adapters with these MAC addresses";
        draft.file(ID, &path, FileContent::Bytes(format(&settings).into_bytes()), why)?;
    }
    Ok(())
}

/// Whether a device was of the source's hardware: on PCI, and not one that the target has, too.
fn is_gone(device: &str, known: &[String]) -> bool {
    let device = device.to_uppercase();
    ["PCI\\", "VMBUS\\", "XENVIF\\", "XEN\\"].iter().any(|bus| device.starts_with(bus))
        && !known.iter().any(|id| device.starts_with(id.as_str()))
}

/// `PCI\VEN_1AF4&DEV_1000` of a longer identifier.
fn vendor(id: &str) -> String {
    id.split('&').take(2).collect::<Vec<_>>().join("&")
}

/// The target's adapter that takes over: by the declared name, by the MAC address, or because there is only one.
fn successor<'n>(adapter: &AdapterFact, old: &[&AdapterFact], nics: &'n [TargetNic]) -> Option<&'n TargetNic> {
    let named = nics.iter().find(|nic| nic.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&adapter.name)));
    let same = || nics.iter().find(|nic| adapter.mac.as_ref().is_some_and(|mac| mac.eq_ignore_ascii_case(&nic.mac)));
    let only = match (old, nics) {
        ([_], [only]) => Some(only),
        _ => None,
    };
    named.or_else(same).or(only)
}

/// The old interface keeps its device and loses what the new one needs.
fn retire(draft: &mut Drafter<'_, '_, impl WindowsFiles>, adapter: &AdapterFact) -> Result<(), WindowsPlanError> {
    let set = draft.facts.control_set.clone();
    let name = format!("{}{OLD}", adapter.name);
    let why = "the adapter is gone, and its name is free for the one that follows it";
    draft.set(HiveName::System, ID, &connection_key(&set, &adapter.guid), "Name", RegValue::text(&name), why)?;
    if adapter.addresses.is_empty() {
        return Ok(());
    }
    let key = tcpip_key(&set, &adapter.guid);
    let why = "the adapter is gone, and its address is free for the one that follows it";
    draft.set(HiveName::System, ID, &key, "EnableDHCP", RegValue::number(1), why)?;
    for list in ["IPAddress", "SubnetMask", "DefaultGateway"] {
        if draft.hive(HiveName::System).value(&key, list)?.is_some() {
            draft.set(HiveName::System, ID, &key, list, RegValue::texts([]), why)?;
        }
    }
    if !adapter.dns.is_empty() {
        draft.set(HiveName::System, ID, &key, "NameServer", RegValue::text(""), why)?;
    }
    Ok(())
}

const HEAD: &str = "# MAC address|old interface|name|addresses|masks|gateways|name servers\r\n";

fn format(settings: &[Setting]) -> String {
    let lines = settings.iter().map(|setting| {
        let lists = [&setting.addresses, &setting.masks, &setting.gateways, &setting.dns].map(|list| list.join(","));
        format!("{}|{}|{}|{}\r\n", setting.mac, setting.guid, setting.name, lists.join("|"))
    });
    std::iter::once(HEAD.to_owned()).chain(lines).collect()
}

fn parse(bytes: &[u8]) -> Vec<Setting> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let [mac, guid, name, addresses, masks, gateways, dns] = fields.as_slice() else { return None };
            let list = |text: &str| text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            Some(Setting {
                mac: (*mac).to_owned(),
                guid: (*guid).to_owned(),
                name: (*name).to_owned(),
                addresses: list(addresses),
                masks: list(masks),
                gateways: list(gateways),
                dns: list(dns),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_what_was_written() {
        let setting = Setting {
            mac: "52:54:00:12:34:56".into(),
            guid: "{1}".into(),
            name: "Local Area Connection 2".into(),
            addresses: vec!["10.0.0.1".into(), "10.0.0.2".into()],
            masks: vec!["255.0.0.0".into(), "255.0.0.0".into()],
            gateways: vec![],
            dns: vec!["10.0.0.3".into()],
        };
        assert_eq!(parse(format(std::slice::from_ref(&setting)).as_bytes()), [setting]);
    }

    #[test]
    fn an_adapter_finds_its_successor() {
        let adapter = |name: &str, mac: Option<&str>| AdapterFact {
            guid: name.into(),
            name: name.into(),
            device: None,
            mac: mac.map(str::to_owned),
            dhcp: true,
            addresses: vec![],
            gateways: vec![],
            dns: vec![],
        };
        let nic = |mac: &str, name: Option<&str>| TargetNic { mac: mac.into(), name: name.map(str::to_owned) };
        let (one, two) = (adapter("Ethernet", Some("52:54:00:00:00:02")), adapter("Backup", None));
        let nics = [nic("52:54:00:00:00:01", Some("backup")), nic("52:54:00:00:00:02", None)];
        assert_eq!(successor(&one, &[&one, &two], &nics), Some(&nics[1]));
        assert_eq!(successor(&two, &[&one, &two], &nics), Some(&nics[0]));
        assert_eq!(successor(&two, &[&one, &two], &nics[1..]), None);
        assert_eq!(successor(&two, &[&two], &nics[1..]), Some(&nics[1]));
        assert!(is_gone("PCI\\VEN_8086&DEV_100E\\3&1", &["PCI\\VEN_1AF4&DEV_1000".into()]));
        assert!(!is_gone("PCI\\VEN_1AF4&DEV_1000&SUBSYS_1", &["PCI\\VEN_1AF4&DEV_1000".into()]));
        assert!(!is_gone("ROOT\\NET\\0000", &[]));
    }

    proptest::proptest! {
        #[test]
        fn any_list_is_survived(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let settings = parse(&bytes);
            proptest::prop_assert_eq!(parse(format(&settings).as_bytes()).len(), settings.len());
        }
    }
}
