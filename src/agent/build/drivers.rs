//! Which driver serves which PCI device: the kernel's own table (`modules.alias`), kept beside the agent.
//!
//! One function decides, for the person who asks before a migration and for the agent that loads drivers.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A PCI device, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciDevice {
    /// Who made it.
    pub vendor: u32,
    /// What it is.
    pub device: u32,
    /// Who built it in, and as what.
    pub subsystem: Option<(u32, u32)>,
    /// Class, subclass and programming interface, such as `01 06 01` for AHCI.
    pub class: Option<(u32, u32, Option<u32>)>,
}

/// A text that names no PCI device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no PCI device: write VENDOR:DEVICE such as 8086:100e, a line of `lspci -n`, or a modalias")]
pub struct NotPci(String);

impl FromStr for PciDevice {
    type Err = NotPci;

    fn from_str(text: &str) -> Result<Self, NotPci> {
        let text = text.trim();
        let found = if text.starts_with("pci:") { from_modalias(text) } else { from_words(text) };
        found.ok_or_else(|| NotPci(text.chars().take(80).collect()))
    }
}

impl fmt::Display for PciDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

fn from_modalias(text: &str) -> Option<PciDevice> {
    let pattern = Pattern::parse(text)?;
    Some(PciDevice {
        vendor: pattern.vendor?,
        device: pattern.device?,
        subsystem: pattern.sub_vendor.zip(pattern.sub_device),
        class: pattern.class.zip(pattern.subclass).map(|(class, subclass)| (class, subclass, pattern.interface)),
    })
}

/// `8086:100e`, and what `lspci -n` and `lspci -nn` print around it.
fn from_words(text: &str) -> Option<PciDevice> {
    let hex4 = |text: &str| (text.len() == 4).then(|| u32::from_str_radix(text, 16).ok()).flatten();
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || "[]()".contains(c)).filter(|word| !word.is_empty()).collect();
    let ids: Vec<(u32, u32)> = words
        .iter()
        .filter_map(|word| word.split_once(':'))
        .filter_map(|(vendor, device)| Some((hex4(vendor)?, hex4(device)?)))
        .collect();
    let &(vendor, device) = ids.first()?;
    let class = words.iter().find_map(|word| {
        let code = hex4(word.trim_end_matches(':')).filter(|_| !word.trim_end_matches(':').contains(':'))?;
        Some((code >> 8, code & 0xff, None))
    });
    Some(PciDevice { vendor, device, subsystem: None, class })
}

/// A pattern of `modules.alias`; what it leaves open fits everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pattern {
    vendor: Option<u32>,
    device: Option<u32>,
    sub_vendor: Option<u32>,
    sub_device: Option<u32>,
    class: Option<u32>,
    subclass: Option<u32>,
    interface: Option<u32>,
}

impl Pattern {
    /// `pci:v00008086d0000100Esv*sd*bc*sc*i*`.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix("pci:")?;
        let mut field = |name: &str| {
            let after = rest.strip_prefix(name)?;
            if let Some(open) = after.strip_prefix('*') {
                rest = open;
                return Some(None);
            }
            let digits = after.find(|c: char| !c.is_ascii_hexdigit() || c.is_ascii_lowercase()).unwrap_or(after.len());
            let (number, left) = after.split_at(digits);
            rest = left;
            u32::from_str_radix(number, 16).ok().map(Some)
        };
        Some(Self {
            vendor: field("v")?,
            device: field("d")?,
            sub_vendor: field("sv")?,
            sub_device: field("sd")?,
            class: field("bc")?,
            subclass: field("sc")?,
            interface: field("i")?,
        })
    }

    fn fits(&self, device: &PciDevice) -> bool {
        let same = |pattern: Option<u32>, value: u32| pattern.is_none_or(|pattern| pattern == value);
        let ids = same(self.vendor, device.vendor) && same(self.device, device.device);
        // An unknown subsystem could be the one; an unknown class must not make every class driver fit.
        let subsystem =
            device.subsystem.is_none_or(|(vendor, id)| same(self.sub_vendor, vendor) && same(self.sub_device, id));
        let class = match device.class {
            Some((class, subclass, interface)) => {
                same(self.class, class)
                    && same(self.subclass, subclass)
                    && interface.is_none_or(|interface| same(self.interface, interface))
            }
            None => self.class.is_none() || (self.vendor.is_some() && self.device.is_some()),
        };
        ids && subsystem && class
    }
}

/// What the agent's kernel can drive: `drivers.json` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverTable {
    /// The kernel's release.
    pub kernel: String,
    /// The modules that the agent carries.
    pub carried: BTreeSet<String>,
    /// Pattern and module, in the kernel's order.
    aliases: Vec<(String, String)>,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum DriverTableError {
    /// It cannot be read.
    #[error("{path} cannot be read: build the agent with `replant agent build`")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is not one.
    #[error("{path} is not what `replant agent build` wrote: build the agent again")]
    Content {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
}

/// Who serves a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "served", rename_all = "kebab-case")]
pub enum Served {
    /// A module that the agent carries.
    Agent {
        /// The module.
        module: String,
    },
    /// A module that Debian's kernel has and the agent lacks.
    Left {
        /// The module.
        module: String,
    },
    /// Nothing of this kernel.
    Nobody,
}

impl DriverTable {
    /// From the text of `modules.alias`, of which only PCI matters here.
    pub fn new(kernel: &str, carried: BTreeSet<String>, aliases: &str) -> Self {
        let words = aliases.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("alias"), Some(pattern), Some(module)) if pattern.starts_with("pci:") => {
                    Some((pattern.to_owned(), module.to_owned()))
                }
                _ => None,
            }
        });
        Self { kernel: kernel.to_owned(), carried, aliases: words.collect() }
    }

    /// Reads `drivers.json` of a built agent's folder.
    pub fn read(folder: &Path) -> Result<Self, DriverTableError> {
        let path = folder.join("drivers.json");
        let bytes = fs::read(&path).map_err(|error| DriverTableError::Io { path: path.clone(), error })?;
        serde_json::from_slice(&bytes).map_err(|error| DriverTableError::Content { path, error })
    }

    /// Who serves the device: the most exact of the agent's drivers, else of the kernel's.
    pub fn serves(&self, device: &PciDevice) -> Served {
        let exact = |pattern: &Pattern| {
            usize::from(pattern.vendor.is_some())
                + usize::from(pattern.device.is_some())
                + usize::from(pattern.sub_device.is_some())
        };
        let mut fitting: Vec<(bool, usize, &str)> = self
            .aliases
            .iter()
            .filter_map(|(text, module)| Some((Pattern::parse(text)?, module)))
            .filter(|(pattern, _)| pattern.fits(device))
            .map(|(pattern, module)| {
                (self.carried.contains(&module.replace('-', "_")), exact(&pattern), module.as_str())
            })
            .collect();
        // The last of equals would win: `max` keeps the kernel's first by looking from the end.
        fitting.reverse();
        match fitting.into_iter().max_by_key(|(carried, exact, _)| (*carried, *exact)) {
            Some((true, _, module)) => Served::Agent { module: module.to_owned() },
            Some((false, _, module)) => Served::Left { module: module.to_owned() },
            None => Served::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALIASES: &str = "alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\n\
        alias pci:v*d*sv*sd*bc01sc06i01* ahci\n\
        alias pci:v00001000d0000005Bsv*sd*bc*sc*i* megaraid_sas\n\
        alias pci:v00001000d0000005Bsv00001028sd00001F38bc*sc*i* other_raid\n\
        alias usb:v1234p* usb_thing\n";

    fn table() -> DriverTable {
        DriverTable::new("6.1.0", ["e1000".into(), "ahci".into()].into(), ALIASES)
    }

    fn served(text: &str) -> Served {
        table().serves(&text.parse().unwrap())
    }

    #[test]
    fn a_device_has_a_driver_in_the_agent_or_in_the_kernel_or_none() {
        assert_eq!(served("8086:100e"), Served::Agent { module: "e1000".into() });
        assert_eq!(served("00:1f.2 0106: 8086:2922 (rev 02)"), Served::Agent { module: "ahci".into() });
        assert_eq!(
            served("00:1f.2 SATA controller [0106]: Intel ICH9 [8086:2922]"),
            Served::Agent { module: "ahci".into() }
        );
        assert_eq!(served("8086:2922"), Served::Nobody, "without its class nobody knows");
        assert!(matches!(served("1000:005b"), Served::Left { .. }));
        let plain = "pci:v00001000d0000005Bsv00008086sd00000001bc01sc04i00";
        assert_eq!(served(plain), Served::Left { module: "megaraid_sas".into() });
        let dell = "pci:v00001000d0000005Bsv00001028sd00001F38bc01sc04i00";
        assert_eq!(served(dell), Served::Left { module: "other_raid".into() });
        assert_eq!(served("dead:beef"), Served::Nobody);
    }

    #[test]
    fn what_names_no_device_is_refused() {
        for text in ["", "8086", "8086:", "xxxx:yyyy", "pci:v0d0", "00:1f.2"] {
            assert!(text.parse::<PciDevice>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}", alias in "pci:[v0-9A-Fdsbci*]{0,60}") {
            let _ = text.parse::<PciDevice>();
            if let Ok(device) = alias.parse::<PciDevice>() {
                table().serves(&device);
            }
        }
    }
}
