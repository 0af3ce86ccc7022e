//! What the script for Linux prints: sections `= NAME`, their lines after `| `.

mod network;
mod software;
mod storage;

use std::collections::HashMap;

use jiff::Timestamp;

use super::error::{ImportError, Place, shown};
use super::hardware::uuid;
use crate::hardware::Firmware;
use crate::inventory::model::{Fact, Facts, OsFamily, text};
use crate::units::{ByteCount, Frequency};

const SECTOR: u64 = 512;

/// Reads the output: name, facts, time.
pub(super) fn read(file: &str, output: &str) -> Result<(String, Facts, Option<Timestamp>), Vec<ImportError>> {
    let flaw =
        |line: usize, message: String, help: &str| vec![ImportError::new(file, Place::Line(line), message, help)];
    let mut lines = output.lines().enumerate();
    if lines.next().map(|(_, line)| line.trim()) != Some("replant-linux-inventory 1") {
        let help = "it is the output of `replant inventory script linux`, run on the machine";
        return Err(flaw(1, "it does not begin with `replant-linux-inventory 1`".to_owned(), help));
    }
    let mut sections: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut current = "";
    for (at, line) in lines {
        if let Some(name) = line.strip_prefix("= ") {
            current = name.trim();
            sections.entry(current).or_default();
        } else if let Some(content) = line.strip_prefix("| ").or((line == "|").then_some("")) {
            sections.entry(current).or_default().push(content);
        } else if !line.trim().is_empty() {
            let message = format!("`{}` begins neither with `= ` nor with `| `", shown(line));
            return Err(flaw(
                at + 1,
                message,
                "keep the script's output as it is: warnings belong to its error output",
            ));
        }
    }
    if !sections.contains_key("end") {
        let line = output.lines().count();
        return Err(flaw(
            line,
            "the output ends before its end".to_owned(),
            "run the script again: it was interrupted",
        ));
    }
    let output = Output { sections };
    let Some(name) = output.first("hostname").map(|name| name.split('.').next().unwrap_or(name).to_owned()) else {
        return Err(flaw(1, "the machine has no name".to_owned(), "give it one with `--name`"));
    };
    let when = output.first("time").and_then(|text| text.parse().ok()).and_then(|s| Timestamp::from_second(s).ok());
    Ok((name, output.facts(when), when))
}

struct Output<'a> {
    sections: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Output<'a> {
    fn lines(&self, name: &str) -> &[&'a str] {
        self.sections.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.lines(name).first().map(|line| line.trim()).filter(|line| !line.is_empty())
    }

    fn fields(&self, name: &str) -> impl Iterator<Item = Vec<&'a str>> {
        self.lines(name).iter().map(|line| line.split('\t').map(str::trim).collect())
    }

    fn pairs(&self, name: &str) -> HashMap<&'a str, &'a str> {
        self.fields(name).filter_map(|fields| Some((*fields.get(1)?, *fields.first()?))).collect()
    }

    fn facts(&self, now: Option<Timestamp>) -> Facts {
        let mut facts = Facts::default();
        self.os(&mut facts, now);
        self.system(&mut facts);
        self.block(&mut facts);
        self.volumes(&mut facts);
        self.network(&mut facts);
        self.devices(&mut facts);
        self.software(&mut facts);
        facts
    }

    fn os(&self, facts: &mut Facts, now: Option<Timestamp>) {
        let release: HashMap<&str, &str> = self
            .lines("os-release")
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, value.trim_matches(['"', '\''])))
            .collect();
        let os = &mut facts.os;
        os.family = Some(Fact::of(OsFamily::Linux));
        os.name = release.get("PRETTY_NAME").copied().or(self.first("redhat-release")).and_then(text);
        os.id = release.get("ID").and_then(text);
        os.version = release.get("VERSION_ID").and_then(text);
        os.kernel = self.lines("uname").get(1).and_then(text);
        os.architecture = self.lines("uname").get(2).and_then(text);
        os.host_name = self.first("hostname").and_then(text);
        os.domain = self.first("domain").filter(|name| *name != "(none)").and_then(text);
        os.language = self.first("language").and_then(|line| text(line.trim_start_matches("LANG=").trim_matches('"')));
        let zone = self.first("timezone").map(|zone| zone.rsplit_once("zoneinfo/").map_or(zone, |(_, name)| name));
        os.time_zone = zone.and_then(text);
        os.selinux = Some(Fact::of(self.first("selinux") == Some("1")));
        let up = self.first("uptime").and_then(|line| line.split(['.', ' ']).next()?.parse::<i64>().ok());
        os.started = now.zip(up).and_then(|(now, up)| Timestamp::from_second(now.as_second() - up).ok()).map(Fact::of);
    }

    fn system(&self, facts: &mut Facts) {
        let dmi: HashMap<&str, &str> = self
            .fields("dmi")
            .filter_map(|fields| Some((*fields.first()?, *fields.get(1)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let system = &mut facts.system;
        system.manufacturer = dmi.get("sys_vendor").and_then(text);
        system.model = dmi.get("product_name").and_then(text);
        system.serial = dmi.get("product_serial").and_then(text);
        system.uuid = dmi.get("product_uuid").and_then(uuid_of);
        system.firmware_version = dmi.get("bios_version").and_then(text);
        system.chassis = dmi.get("chassis_type").and_then(text);
        system.firmware =
            Some(Fact::of(if self.first("firmware") == Some("uefi") { Firmware::Uefi } else { Firmware::Bios }));
        system.secure_boot =
            self.first("secure-boot").map(|bytes| Fact::of(bytes.split_whitespace().last() == Some("1")));
        system.tpm = Some(Fact::of(self.first("tpm").is_some()));
        let total = self.lines("meminfo").iter().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        system.memory = Fact::maybe(kib.and_then(|kib| kib.checked_mul(1024)).map(ByteCount));
        let values = |key: &str| -> Vec<&str> {
            let of_key = |line: &&'a str| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == key).then(|| value.trim())
            };
            self.lines("cpuinfo").iter().filter_map(of_key).collect()
        };
        let processor = &mut system.processor;
        let count = values("processor").len();
        processor.count = u32::try_from(count).ok().filter(|count| *count > 0).map(Fact::of);
        let mut sockets = values("physical id");
        sockets.sort_unstable();
        sockets.dedup();
        let socket_count = u32::try_from(sockets.len().max(1)).unwrap_or(1);
        processor.sockets = Some(Fact::of(socket_count));
        let cores = values("cpu cores").first().and_then(|cores| cores.parse::<u32>().ok());
        processor.cores = Fact::maybe(cores.and_then(|cores| cores.checked_mul(socket_count)));
        processor.vendor = values("vendor_id").first().and_then(text);
        processor.model = values("model name").first().and_then(text);
        let base = self.first("cpu-mhz").and_then(|kilohertz| kilohertz.parse::<u64>().ok()?.checked_mul(1000));
        let now = values("cpu MHz").first().and_then(|mhz| Frequency::parse(&format!("{mhz}MHz")).ok());
        processor.frequency = base.map(Frequency).or(now).filter(|clock| clock.0 > 0).map(Fact::of);
        let platform = match dmi.get("sys_vendor").copied().unwrap_or_default() {
            vendor if vendor.contains("VMware") => Some("vmware"),
            vendor if vendor.contains("QEMU") || vendor.contains("Red Hat") => Some("kvm"),
            vendor if vendor.contains("Xen") => Some("xen"),
            vendor if vendor.contains("Microsoft") && dmi.get("product_name") == Some(&"Virtual Machine") => {
                Some("hyper-v")
            }
            _ if self.first("hypervisor").is_some() => Some("unknown"),
            _ => Some("none"),
        };
        facts.virtualisation.platform = platform.and_then(text);
    }
}

fn uuid_of(written: &&str) -> Option<Fact<String>> {
    uuid(written)
}

fn pci_id(vendor: &str, device: &str) -> Option<Fact<String>> {
    let digits = |text: &str| {
        let hex = text.trim_start_matches("0x");
        (hex.len() == 4 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hex.to_ascii_lowercase())
    };
    Some(Fact::of(format!("{}:{}", digits(vendor)?, digits(device)?)))
}
