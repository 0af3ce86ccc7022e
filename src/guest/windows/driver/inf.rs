//! INF files: sections of lines, `%strings%`, and the models that a package serves.

use std::collections::BTreeMap;

use super::super::Architecture;

/// Largest INF that is read.
const LARGEST: usize = 8 << 20;

/// Why a file is no INF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfError {
    /// It is too large.
    #[error("it has {0} bytes, and no INF file has")]
    TooLarge(usize),
    /// It lacks `[Version]` with a known signature.
    #[error("it has no `[Version]` section with `Signature=\"$Windows NT$\"` or `\"$CHICAGO$\"`")]
    NoVersion,
}

/// A parsed INF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inf {
    sections: BTreeMap<String, Vec<Line>>,
    strings: BTreeMap<String, String>,
}

/// A line: `key = value, value`, or values alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    key: Option<String>,
    values: Vec<String>,
}

/// A device that a package serves, on an architecture, from a version of Windows on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    /// The device: `PCI\VEN_1AF4&DEV_1001...`.
    pub hardware_id: String,
    /// The section that installs it.
    pub install: String,
    /// The architecture.
    pub architecture: Architecture,
    /// The least version: major, minor, build.
    pub since: (u32, u32, u32),
}

impl Inf {
    /// Reads a file in any of the encodings that INF files have.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfError> {
        if bytes.len() > LARGEST {
            return Err(InfError::TooLarge(bytes.len()));
        }
        let mut inf = Self::default();
        let mut section = String::new();
        for line in logical_lines(&decode(bytes)) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.split(']').next().unwrap_or_default().trim().trim_matches('"').to_uppercase();
                inf.sections.entry(section.clone()).or_default();
            } else if !section.is_empty() {
                inf.sections.entry(section.clone()).or_default().push(parse_line(&line));
            }
        }
        // A string section of a language comes after the neutral one, which wins.
        for name in inf.sections.keys().filter(|name| name.as_str() == "STRINGS" || name.starts_with("STRINGS.")) {
            for line in &inf.sections[name] {
                if let (Some(key), Some(value)) = (&line.key, line.values.first()) {
                    inf.strings.entry(key.to_uppercase()).or_insert_with(|| value.clone());
                }
            }
        }
        let signature = inf.version("Signature").unwrap_or_default();
        let known = ["$WINDOWS NT$", "$CHICAGO$", "$WINDOWS 95$"].contains(&signature.to_uppercase().as_str());
        if known { Ok(inf) } else { Err(InfError::NoVersion) }
    }

    /// An entry of `[Version]`, such as `Class` or `CatalogFile`.
    pub fn version(&self, key: &str) -> Option<String> {
        self.entry("Version", key).and_then(|values| values.into_iter().next())
    }

    /// Every catalog file that `[Version]` names.
    pub fn catalogs(&self) -> Vec<String> {
        let lines = self.sections.get("VERSION").map(Vec::as_slice).unwrap_or_default();
        let of = lines
            .iter()
            .filter(|line| line.key.as_ref().is_some_and(|key| key.to_uppercase().starts_with("CATALOGFILE")));
        let mut names: Vec<String> = of.filter_map(|line| line.values.first()).map(|name| self.expand(name)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The values of `key` in a section, with strings put in.
    pub fn entry(&self, section: &str, key: &str) -> Option<Vec<String>> {
        self.lines(section).find(|(own, _)| own.eq_ignore_ascii_case(key)).map(|(_, values)| values)
    }

    /// Every line of a section that has a key.
    pub fn lines(&self, section: &str) -> impl Iterator<Item = (String, Vec<String>)> {
        let lines = self.sections.get(&section.to_uppercase()).map(Vec::as_slice).unwrap_or_default();
        lines.iter().filter_map(|line| Some((self.expand(line.key.as_ref()?), self.expanded(&line.values))))
    }

    /// Every line of a section that has none.
    pub fn bare(&self, section: &str) -> impl Iterator<Item = Vec<String>> {
        let lines = self.sections.get(&section.to_uppercase()).map(Vec::as_slice).unwrap_or_default();
        lines.iter().filter(|line| line.key.is_none()).map(|line| self.expanded(&line.values))
    }

    /// Whether there is such a section.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.contains_key(&section.to_uppercase())
    }

    /// Every device that it serves.
    pub fn models(&self) -> Vec<Model> {
        let mut models = Vec::new();
        for (_, values) in self.lines("Manufacturer") {
            let Some((base, targets)) = values.split_first() else { continue };
            let mut sections: Vec<(String, Target)> = targets
                .iter()
                .filter_map(|target| Some((format!("{base}.{target}"), Target::parse(target)?)))
                .collect();
            // Without a decoration it is 32-bit Windows.
            sections.push((base.clone(), Target { architecture: Some(Architecture::X86), since: (0, 0, 0) }));
            for (section, target) in sections {
                for (_, values) in self.lines(&section) {
                    let Some((install, ids)) = values.split_first() else { continue };
                    for id in ids.iter().filter(|id| !id.is_empty()) {
                        let known = [Architecture::X86, Architecture::Amd64, Architecture::Arm64].into_iter();
                        models.extend(known.filter(|own| target.architecture.is_none_or(|wanted| wanted == *own)).map(
                            |architecture| Model {
                                hardware_id: id.to_uppercase(),
                                install: install.clone(),
                                architecture,
                                since: target.since,
                            },
                        ));
                    }
                }
            }
        }
        models.sort();
        models.dedup();
        models
    }

    /// The install section of a model: the one with the most specific decoration that there is.
    pub fn install_section(&self, install: &str, architecture: Architecture) -> Option<String> {
        [format!("{install}.NT{}", architecture.name()), format!("{install}.NT"), install.to_owned()]
            .into_iter()
            .find(|section| self.has_section(section))
    }

    fn expanded(&self, values: &[String]) -> Vec<String> {
        values.iter().map(|value| self.expand(value)).collect()
    }

    /// Puts `%strings%` in; what is not defined stays, as numbers of folders do.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let Some(len) = rest[at + 1..].find('%') else { break };
            let name = &rest[at + 1..at + 1 + len];
            out.push_str(&rest[..at]);
            match self.strings.get(&name.to_uppercase()) {
                Some(value) => out.push_str(value),
                None if name.is_empty() => out.push('%'),
                None => out.push_str(&rest[at..at + len + 2]),
            }
            rest = &rest[at + len + 2..];
        }
        out.push_str(rest);
        out
    }
}

/// `NTamd64.10.0...17763`: what a model section is for.
struct Target {
    architecture: Option<Architecture>,
    since: (u32, u32, u32),
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.get(..2).filter(|nt| nt.eq_ignore_ascii_case("NT")).map(|_| &text[2..])?;
        let mut fields = rest.split('.');
        let architecture = match fields.next() {
            Some("") | None => None,
            Some(name) => Some(Architecture::parse(name)?),
        };
        let mut number = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
        let (major, minor) = (number(), number());
        let (_product, _suite) = (number(), number());
        Some(Self { architecture, since: (major, minor, number()) })
    }
}

fn decode(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [_, 0, _, 0, ..] => wide(bytes, u16::from_le_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // An old code page: what matters is ASCII.
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
    }
}

/// Lines without comments and empty ones; a `\` at the end goes on.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let line = without_comment(line).trim();
        if let Some(begun) = line.strip_suffix('\\').filter(|_| !line.starts_with('[')) {
            open.push_str(begun);
            open.push(' ');
            continue;
        }
        open.push_str(line);
        if !open.trim().is_empty() {
            lines.push(open.trim().to_owned());
        }
        open.clear();
    }
    lines.extend(Some(open.trim().to_owned()).filter(|line| !line.is_empty()));
    lines
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

fn parse_line(line: &str) -> Line {
    match split_once_unquoted(line, '=') {
        Some((key, rest)) => Line { key: Some(unquote(key)), values: values(rest) },
        None => Line { key: None, values: values(line) },
    }
}

fn values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((value, more)) = split_once_unquoted(rest, ',') {
        values.push(unquote(value));
        rest = more;
    }
    values.push(unquote(rest));
    values
}

fn split_once_unquoted(text: &str, at: char) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (index, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            c if c == at && !quoted => return Some((&text[..index], &text[index + c.len_utf8()..])),
            _ => {}
        }
    }
    None
}

/// Without the quotes around it; a doubled quote within is one.
fn unquote(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest).replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As driver packages for virtio disks are written.
    pub(crate) const STORAGE: &str = r#"
; a comment
[Version]
Signature="$Windows NT$"
Class=SCSIAdapter
ClassGUID={4D36E97B-E325-11CE-BFC1-08002BE10318}
Provider=%VENDOR%
DriverVer=03/12/2024,100.95.104.26200 ; a comment
CatalogFile=viostor.cat

[SourceDisksNames]
1 = %DiskId1%,,,""
[SourceDisksFiles]
viostor.sys = 1,,
[DestinationDirs]
VirtioStor_Files_Driver = 12

[Manufacturer]
%VENDOR% = VirtioStor,NTamd64.10.0...17763

[VirtioStor.NTamd64.10.0...17763]
%Virtio.DeviceDesc% = VirtioStor_Inst, PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00, \
    PCI\VEN_1AF4&DEV_1001
%Virtio.DeviceDesc% = VirtioStor_Inst, PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01

[VirtioStor_Files_Driver]
viostor.sys,,,2
[VirtioStor_Inst]
CopyFiles=VirtioStor_Files_Driver
[VirtioStor_Inst.Services]
AddService = viostor, 0x00000002, VirtioStor_Service, Msft_Miniport_EventLog_Inst
[VirtioStor_Service]
DisplayName    = %Virtio.Service%
ServiceType    = 1
StartType      = 0
ErrorControl   = 1
ServiceBinary  = %12%\viostor.sys
LoadOrderGroup = SCSI Miniport
AddReg         = VirtioStor_Parameters
[VirtioStor_Parameters]
HKR, "Parameters\PnpInterface", "5", 0x00010001, 0x00000001
HKR, "Parameters", "BusType", 0x00010001, 0x00000001

[Strings]
VENDOR = "Example; Inc."
Virtio.DeviceDesc = "VirtIO SCSI controller"
Virtio.Service = "VirtIO storage"
DiskId1 = "Disk"
"#;

    #[test]
    fn models_have_architecture_and_version() {
        let inf = Inf::parse(STORAGE.as_bytes()).unwrap();
        assert_eq!(inf.version("Provider").as_deref(), Some("Example; Inc."));
        assert_eq!(inf.catalogs(), ["viostor.cat"]);
        let models = inf.models();
        assert_eq!(models.len(), 3);
        assert!(models.iter().all(|model| model.architecture == Architecture::Amd64 && model.since == (10, 0, 17763)));
        assert!(models.iter().any(|model| model.hardware_id == "PCI\\VEN_1AF4&DEV_1001"));
        let install = inf.install_section("VirtioStor_Inst", Architecture::Amd64).unwrap();
        assert_eq!(inf.entry(&install, "CopyFiles").unwrap(), ["VirtioStor_Files_Driver"]);
        assert_eq!(inf.bare("VirtioStor_Files_Driver").next().unwrap()[0], "viostor.sys");
        let binary = inf.entry("VirtioStor_Service", "ServiceBinary").unwrap();
        assert_eq!(binary, ["%12%\\viostor.sys"]);
    }

    #[test]
    fn the_same_file_in_every_encoding_is_the_same() {
        let wide: Vec<u8> = [0xfeff].into_iter().chain(STORAGE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xef\xbb\xbf", STORAGE.as_bytes()].concat();
        let plain = Inf::parse(STORAGE.as_bytes()).unwrap();
        assert_eq!(Inf::parse(&wide).unwrap(), plain);
        assert_eq!(Inf::parse(&wide[2..]).unwrap(), plain);
        assert_eq!(Inf::parse(&marked).unwrap(), plain);
        assert_eq!(Inf::parse(STORAGE.replace('\n', "\r\n").as_bytes()).unwrap(), plain);
    }

    #[test]
    fn other_files_are_refused() {
        for other in ["", "[autorun]\nopen=x", "[Version]\nSignature=$none$"] {
            assert_eq!(Inf::parse(other.as_bytes()), Err(InfError::NoVersion));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(0u8.., 0..400)) {
            let _ = Inf::parse(&bytes).map(|inf| inf.models());
        }

        #[test]
        fn any_text_is_survived(text in "(\\[(Version|Manufacturer|M|M\\.NTamd64|Strings)\\]\n|[a-zA-Z%\",;=\\\\.é ]{0,20}\n){0,12}") {
            let text = format!("[Version]\nSignature=\"$CHICAGO$\"\n[Manufacturer]\n%a%=M,NTamd64,NTé,NT\n{text}");
            if let Ok(inf) = Inf::parse(text.as_bytes()) {
                for model in inf.models() {
                    let _ = inf.install_section(&model.install, model.architecture);
                }
            }
        }
    }
}
