//! What a hypervisor knows of a machine that is virtual already.

use jiff::Timestamp;

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;

words! {
    /// Whether a virtual machine runs.
    PowerState {
        /// It runs.
        On = "on",
        /// It is off.
        Off = "off",
        /// It is suspended: its memory lies in a file.
        Suspended = "suspended",
    }
}

section! {
    /// A snapshot.
    Snapshot as "snapshot" by (name) {
        /// Its name.
        name / "name": Option<Fact<String>>,
        /// When it was made.
        made / "made": Option<Fact<Timestamp>>,
    }
}

section! {
    /// What the hypervisor knows.
    Virtualisation as "virtualisation" by () {
        /// The hypervisor: `vmware`, `kvm`, `hyper-v`, `xen`; `none` on hardware.
        platform / "platform": Option<Fact<String>>,
        /// Its identity there.
        uuid / "uuid": Option<Fact<String>>,
        /// The version of the virtual hardware.
        hardware_version / "hardware_version": Option<Fact<String>>,
        /// The host it runs on.
        host / "host": Option<Fact<String>>,
        /// The cluster of that host.
        cluster / "cluster": Option<Fact<String>>,
        /// The data centre.
        datacenter / "datacenter": Option<Fact<String>>,
        /// The folder of its files.
        folder / "folder": Option<Fact<String>>,
        /// Whether it runs.
        power / "power": Option<Fact<PowerState>>,
        /// The guest tools: their version or state.
        tools / "tools": Option<Fact<String>>,
        /// What the hypervisor was told about the guest's operating system.
        guest_type / "guest_type": Option<Fact<String>>,
        /// Whether it is a template.
        template / "template": Option<Fact<bool>>,
        /// Whether memory is reserved for it, as passthrough needs.
        memory_locked / "memory_locked": Option<Fact<bool>>,
        /// Whether the virtual machine is encrypted.
        encrypted / "encrypted": Option<Fact<bool>>,
        /// How many snapshots there are.
        snapshot_count / "snapshot_count": Option<Fact<u32>>,
        /// Snapshots.
        snapshots / "snapshot": Vec<Snapshot>,
    }
}
