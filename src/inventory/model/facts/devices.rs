//! Other hardware.

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;

words! {
    /// A kind of device.
    DeviceKind {
        /// A video adapter.
        Video = "video",
        /// A sound adapter.
        Audio = "audio",
        /// A USB device.
        Usb = "usb",
        /// A keyboard, mouse or other device for people.
        Input = "input",
        /// A serial port.
        Serial = "serial",
        /// A parallel port.
        Parallel = "parallel",
        /// An optical drive.
        Optical = "optical",
        /// A floppy drive.
        Floppy = "floppy",
        /// A tape drive or changer.
        Tape = "tape",
        /// IEEE 1394.
        Firewire = "firewire",
        /// A device of the host that the virtual machine uses directly.
        Passthrough = "passthrough",
        /// A key that software needs to run.
        Dongle = "dongle",
        /// A modem.
        Modem = "modem",
        /// A smart card reader.
        SmartCard = "smart-card",
        /// A management controller.
        Management = "management",
        /// Another one.
        Other = "other",
    }
}

section! {
    /// A device.
    Device as "device" by (name) {
        /// Its name or place.
        name / "name": Option<Fact<String>>,
        /// What it is.
        kind / "kind": Option<Fact<DeviceKind>>,
        /// Its maker and model.
        description / "description": Option<Fact<String>>,
        /// Vendor and device, `046d:c52b`.
        id / "id": Option<Fact<String>>,
        /// The driver it uses.
        driver / "driver": Option<Fact<String>>,
        /// Whether something is connected or inserted.
        connected / "connected": Option<Fact<bool>>,
    }
}

section! {
    /// A PCI device: what the agent needs a driver for.
    PciDevice as "pci" by (slot) {
        /// Its place: `0000:00:1f.2`.
        slot / "slot": Option<Fact<String>>,
        /// Vendor and device, `8086:2922`.
        id / "id": Option<Fact<String>>,
        /// Vendor and device of the subsystem.
        subsystem / "subsystem": Option<Fact<String>>,
        /// Class and subclass, four hexadecimal digits: `0106`.
        class / "class": Option<Fact<String>>,
        /// The driver it uses.
        driver / "driver": Option<Fact<String>>,
        /// Its name for people.
        description / "description": Option<Fact<String>>,
    }
}

section! {
    /// Other hardware.
    Hardware as "hardware" by () {
        /// Devices.
        devices / "device": Vec<Device>,
        /// PCI devices, all of them.
        pci / "pci": Vec<PciDevice>,
    }
}
