//! Every fact there is, group by group.

mod devices;
mod network;
mod software;
mod storage;
mod system;
mod utilisation;
mod virtualisation;

pub use devices::{Device, DeviceKind, Hardware, PciDevice};
pub use network::{Addressing, Network, Nic, NicKind};
pub use software::{Application, AutoRun, Driver, Service, Software, StartMode, SystemFile, Update};
pub use storage::{
    Bus, CaptureMethod, Controller, Disk, DiskMode, Partition, PartitionTable, Storage, Volume, VolumeKind,
};
pub use system::{OperatingSystem, OsFamily, Processor, System};
pub use utilisation::{DiskLoadFacts, Distribution, LoadWord, NicLoad, PeakWord, Series, UtilisationFacts};
pub use virtualisation::{PowerState, Snapshot, Virtualisation};

use super::section::section;

section! {
    /// Everything that is known of a machine.
    Facts as "machine" by () {
        /// Its operating system.
        os / "os": Box<OperatingSystem>,
        /// Its board: firmware, processors, memory.
        system / "system": Box<System>,
        /// Its controllers, disks, partitions and volumes.
        storage / "storage": Box<Storage>,
        /// Its network adapters.
        network / "network": Box<Network>,
        /// Its other devices.
        hardware / "hardware": Box<Hardware>,
        /// What is installed on it.
        software / "software": Box<Software>,
        /// If it is a virtual machine already: what its hypervisor knows of it.
        virtualisation / "virtualisation": Box<Virtualisation>,
        /// What it uses, as measured.
        utilisation / "utilisation": Box<UtilisationFacts>,
    }
}
