//! Which Windows it is, as far as drivers and the registry differ.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A generation of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// NT 4.0.
    Nt4,
    /// 2000.
    Windows2000,
    /// XP.
    Xp,
    /// Server 2003, and XP x64.
    Server2003,
    /// Vista.
    Vista,
    /// Server 2008.
    Server2008,
    /// 7.
    Windows7,
    /// Server 2008 R2.
    Server2008R2,
    /// 8.
    Windows8,
    /// Server 2012.
    Server2012,
    /// 8.1.
    Windows81,
    /// Server 2012 R2.
    Server2012R2,
    /// 10.
    Windows10,
    /// Server 2016, and the semi-annual releases after it.
    Server2016,
    /// Server 2019.
    Server2019,
    /// Server 2022.
    Server2022,
    /// 11.
    Windows11,
    /// Server 2025.
    Server2025,
}

/// A processor architecture, as Windows names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 32-bit.
    X86,
    /// 64-bit.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// Its name in INF files and driver folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// From the value of `PROCESSOR_ARCHITECTURE`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::X86, Self::Amd64, Self::Arm64].into_iter().find(|own| own.name().eq_ignore_ascii_case(name))
    }

    /// From the header of a program.
    pub fn of_program(bytes: &[u8]) -> Option<Self> {
        let at = u32::from_le_bytes(bytes.get(0x3c..0x40)?.try_into().ok()?) as usize;
        let header = bytes.get(at..at.checked_add(6)?)?;
        match (&header[..4], u16::from_le_bytes([header[4], header[5]])) {
            (b"PE\0\0", 0x014c) => Some(Self::X86),
            (b"PE\0\0", 0x8664) => Some(Self::Amd64),
            (b"PE\0\0", 0xaa64) => Some(Self::Arm64),
            _ => None,
        }
    }
}

impl Generation {
    /// Every generation, oldest first.
    pub const ALL: [Self; 18] = [
        Self::Nt4,
        Self::Windows2000,
        Self::Xp,
        Self::Server2003,
        Self::Vista,
        Self::Server2008,
        Self::Windows7,
        Self::Server2008R2,
        Self::Windows8,
        Self::Server2012,
        Self::Windows81,
        Self::Server2012R2,
        Self::Windows10,
        Self::Server2016,
        Self::Server2019,
        Self::Server2022,
        Self::Windows11,
        Self::Server2025,
    ];

    /// From the registry's version, build and installation type.
    pub fn from_version(version: (u32, u32), build: u32, server: bool) -> Option<Self> {
        Some(match (version, server) {
            ((4, _), _) => Self::Nt4,
            ((5, 0), _) => Self::Windows2000,
            ((5, 1), _) => Self::Xp,
            ((5, 2), _) => Self::Server2003,
            ((6, 0), false) => Self::Vista,
            ((6, 0), true) => Self::Server2008,
            ((6, 1), false) => Self::Windows7,
            ((6, 1), true) => Self::Server2008R2,
            ((6, 2), false) => Self::Windows8,
            ((6, 2), true) => Self::Server2012,
            ((6, 3), false) => Self::Windows81,
            ((6, 3), true) => Self::Server2012R2,
            ((10.., _), false) if build >= 22000 => Self::Windows11,
            ((10.., _), false) => Self::Windows10,
            ((10.., _), true) if build >= 26100 => Self::Server2025,
            ((10.., _), true) if build >= 20348 => Self::Server2022,
            ((10.., _), true) if build >= 17763 => Self::Server2019,
            ((10.., _), true) => Self::Server2016,
            _ => return None,
        })
    }

    /// The kernel's version.
    pub fn kernel(self) -> (u32, u32) {
        match self {
            Self::Nt4 => (4, 0),
            Self::Windows2000 => (5, 0),
            Self::Xp => (5, 1),
            Self::Server2003 => (5, 2),
            Self::Vista | Self::Server2008 => (6, 0),
            Self::Windows7 | Self::Server2008R2 => (6, 1),
            Self::Windows8 | Self::Server2012 => (6, 2),
            Self::Windows81 | Self::Server2012R2 => (6, 3),
            _ => (10, 0),
        }
    }

    /// The folder names that driver collections use for it, best first.
    pub fn driver_folders(self) -> &'static [&'static str] {
        match self {
            Self::Nt4 => &["nt4"],
            Self::Windows2000 => &["2k", "2000"],
            Self::Xp => &["xp", "wxp"],
            Self::Server2003 => &["2k3", "wnet"],
            Self::Vista | Self::Server2008 => &["2k8", "wlh"],
            Self::Windows7 => &["w7", "2k8R2"],
            Self::Server2008R2 => &["2k8R2", "w7"],
            Self::Windows8 => &["w8", "2k12"],
            Self::Server2012 => &["2k12", "w8"],
            Self::Windows81 => &["w8.1", "2k12R2"],
            Self::Server2012R2 => &["2k12R2", "w8.1"],
            Self::Windows10 => &["w10", "2k16"],
            Self::Server2016 => &["2k16", "w10"],
            Self::Server2019 => &["2k19", "2k16", "w10"],
            Self::Server2022 => &["2k22", "2k19", "w10"],
            Self::Windows11 => &["w11", "w10"],
            Self::Server2025 => &["2k25", "2k22", "w11"],
        }
    }

    /// Whether the kernel matches devices with drivers by `DriverDatabase`; older ones by `CriticalDeviceDatabase`.
    pub fn has_driver_database(self) -> bool {
        self.kernel() >= (6, 2)
    }

    /// Whether `pnputil` and PowerShell are there.
    pub fn has_pnputil(self) -> bool {
        self.kernel() >= (6, 1)
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nt4 => "Windows NT 4.0",
            Self::Windows2000 => "Windows 2000",
            Self::Xp => "Windows XP",
            Self::Server2003 => "Windows Server 2003",
            Self::Vista => "Windows Vista",
            Self::Server2008 => "Windows Server 2008",
            Self::Windows7 => "Windows 7",
            Self::Server2008R2 => "Windows Server 2008 R2",
            Self::Windows8 => "Windows 8",
            Self::Server2012 => "Windows Server 2012",
            Self::Windows81 => "Windows 8.1",
            Self::Server2012R2 => "Windows Server 2012 R2",
            Self::Windows10 => "Windows 10",
            Self::Server2016 => "Windows Server 2016",
            Self::Server2019 => "Windows Server 2019",
            Self::Server2022 => "Windows Server 2022",
            Self::Windows11 => "Windows 11",
            Self::Server2025 => "Windows Server 2025",
        }
    }

    /// From a folder name of a driver collection, such as `2k19`, or its kebab-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| {
            own.driver_folders()[0].eq_ignore_ascii_case(name)
                || serde_json::to_value(own).is_ok_and(|text| text.as_str() == Some(name))
        })
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_told_apart() {
        let of = |version, build, server| Generation::from_version(version, build, server).unwrap();
        assert_eq!(of((6, 1), 7601, true), Generation::Server2008R2);
        assert_eq!(of((6, 3), 9600, true), Generation::Server2012R2);
        assert_eq!(of((10, 0), 14393, true), Generation::Server2016);
        assert_eq!(of((10, 0), 17763, true), Generation::Server2019);
        assert_eq!(of((10, 0), 20348, true), Generation::Server2022);
        assert_eq!(of((10, 0), 26100, true), Generation::Server2025);
        assert_eq!(of((10, 0), 22631, false), Generation::Windows11);
        assert_eq!(Generation::from_version((3, 51), 1, true), None);
        for generation in Generation::ALL {
            assert_eq!(
                Generation::parse(generation.driver_folders()[0]).map(Generation::kernel),
                Some(generation.kernel())
            );
        }
        assert_eq!(Generation::parse("server2019"), Some(Generation::Server2019));
    }

    #[test]
    fn a_program_says_what_it_runs_on() {
        let mut program = vec![0; 70];
        program[0x3c] = 64;
        program[64..70].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(Architecture::of_program(&program), Some(Architecture::Amd64));
        assert_eq!(Architecture::of_program(b"MZ"), None);
    }
}
