//! What is known about a Windows that is off.

use serde::{Deserialize, Serialize};

use super::{Architecture, BootFacts, Generation};

/// A Windows on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowsFacts {
    /// Its own name: `Windows Server 2019 Standard`.
    pub product: String,
    /// Its edition: `ServerStandard`.
    pub edition: Option<String>,
    /// Which Windows it is.
    pub generation: Generation,
    /// Its build.
    pub build: u32,
    /// Its service pack, if it names one.
    pub service_pack: Option<String>,
    /// What it runs on.
    pub architecture: Architecture,
    /// Its name in the network.
    pub host_name: Option<String>,
    /// Its folder: `\Windows`.
    pub root: String,
    /// The control set that it starts with: `ControlSet001`.
    pub control_set: String,
    /// The hardware abstraction layer, of a classic Windows.
    pub hal: Option<String>,
    /// Whether a start keeps the kernel of the session before: Windows calls it fast startup.
    pub fast_startup: bool,
    /// Whether the clock of the machine shows UTC.
    pub clock_is_utc: bool,
    /// Whether a TPM has been in use.
    pub tpm: bool,
    /// How it is started, of Vista and later; the store may lie on another partition.
    #[serde(default)]
    pub boot: Option<BootFacts>,
    /// Services and drivers, by name.
    pub services: Vec<ServiceFact>,
    /// Hypervisor tools that are installed.
    pub tools: Vec<InstalledTool>,
    /// Software that may get in the way of new drivers, such as virus scanners.
    pub obstacles: Vec<String>,
    /// Programs that start by themselves.
    pub auto_run: Vec<String>,
    /// Network adapters with their settings.
    pub adapters: Vec<AdapterFact>,
    /// What keeps it from being converted.
    pub hazards: Vec<Hazard>,
}

impl WindowsFacts {
    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceFact> {
        self.services.iter().find(|service| service.name.eq_ignore_ascii_case(name))
    }
}

/// When a service or driver starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// By the boot loader.
    Boot,
    /// While the kernel starts.
    System,
    /// After the kernel has started.
    Auto,
    /// When it is asked for.
    Manual,
    /// Never.
    Disabled,
}

impl StartMode {
    const ALL: [Self; 5] = [Self::Boot, Self::System, Self::Auto, Self::Manual, Self::Disabled];

    /// The value of `Start`.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::System => "system",
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::Disabled => "disabled",
        }
    }

    /// From its name in tables.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// From the value of `Start`.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.number() == number)
    }
}

/// A service or driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFact {
    /// Its name.
    pub name: String,
    /// When it starts.
    pub start: StartMode,
    /// Whether it is a driver.
    pub driver: bool,
    /// Its program.
    pub image: Option<String>,
}

/// Tools of a hypervisor that are installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledTool {
    /// Whose they are: `vmware`, `xen`, ...
    pub vendor: String,
    /// As Windows lists them.
    pub name: String,
    /// Their version.
    pub version: Option<String>,
    /// The command that removes them without asking.
    pub remove: Option<String>,
}

/// A network adapter, with what Windows has set for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterFact {
    /// The interface's identifier, with braces.
    pub guid: String,
    /// Its name: `Ethernet`.
    pub name: String,
    /// The device.
    pub device: Option<String>,
    /// Its MAC address, where Windows has written it down: `52:54:00:12:34:56`.
    pub mac: Option<String>,
    /// Whether it asks for its address.
    pub dhcp: bool,
    /// Fixed addresses, each with its mask.
    pub addresses: Vec<(String, String)>,
    /// Gateways.
    pub gateways: Vec<String>,
    /// Name servers that are set by hand.
    pub dns: Vec<String>,
}

/// Something that keeps a Windows from being converted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hazard", rename_all = "kebab-case")]
pub enum Hazard {
    /// It sleeps.
    Hibernated,
    /// It was shut down with fast startup.
    FastStartup,
    /// A volume is encrypted.
    BitLocker {
        /// The volume in plan words.
        volume: String,
    },
    /// A volume wants to be checked.
    DirtyVolume {
        /// The volume in plan words.
        volume: String,
    },
    /// A disk is dynamic.
    DynamicDisk {
        /// The disk in plan words.
        disk: String,
    },
    /// A hive waits for what is in its log.
    DirtyRegistry {
        /// The hive.
        hive: String,
    },
    /// An installation or upgrade has not ended.
    SetupUnfinished,
}

impl std::fmt::Display for Hazard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hibernated => f.write_str(
                "Windows is hibernated: its disks are not in the state that its memory believes in. Start the source, \
                 run `powercfg /h off`, shut it down with `shutdown /s /t 0`, and capture it again",
            ),
            Self::FastStartup => f.write_str(
                "Windows was shut down with fast startup, which is a hibernation. Start the source, run \
                 `powercfg /h off`, shut it down with `shutdown /s /t 0`, and capture it again",
            ),
            Self::BitLocker { volume } => write!(
                f,
                "{volume} is encrypted with BitLocker. In the source run `manage-bde -off C:` (for each encrypted \
                 drive), wait until `manage-bde -status` says that it is decrypted, and capture it again"
            ),
            Self::DirtyVolume { volume } => write!(
                f,
                "the NTFS volume {volume} is marked dirty. Start the source, run `chkdsk C: /f` and let it check at \
                 the next start, shut it down with `shutdown /s /t 0`, and capture it again"
            ),
            Self::DynamicDisk { disk } => write!(
                f,
                "{disk} is a dynamic disk (LDM), whose volumes only Windows can assemble. Move its data to a basic \
                 disk, or leave the operating system unconverted with `guest: {{ convert: none }}`"
            ),
            Self::DirtyRegistry { hive } => write!(
                f,
                "the registry hive {hive} has changes that are still in its log. Start the source, shut it down with \
                 `shutdown /s /t 0`, and capture it again"
            ),
            Self::SetupUnfinished => f.write_str(
                "an installation or upgrade of Windows has not ended. Start the source, let it end, shut it down, and \
                 capture it again",
            ),
        }
    }
}
