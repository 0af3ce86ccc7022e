//! Controllers, disks, partitions, volumes.

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;
use crate::units::ByteCount;

words! {
    /// How a disk is attached.
    Bus {
        /// Parallel ATA.
        Ide = "ide",
        /// Serial ATA.
        Sata = "sata",
        /// SCSI or SAS.
        Scsi = "scsi",
        /// NVM Express.
        Nvme = "nvme",
        /// virtio.
        Virtio = "virtio",
        /// USB.
        Usb = "usb",
        /// A RAID controller's logical disk.
        Raid = "raid",
        /// Fibre Channel.
        FibreChannel = "fibre-channel",
        /// iSCSI.
        Iscsi = "iscsi",
        /// SD or MMC.
        Mmc = "mmc",
        /// Floppy.
        Floppy = "floppy",
        /// Another one.
        Other = "other",
    }
}

words! {
    /// How a disk is divided.
    PartitionTable {
        /// Master boot record.
        Mbr = "mbr",
        /// GUID partition table.
        Gpt = "gpt",
        /// Not at all.
        None = "none",
    }
}

words! {
    /// What a hypervisor's snapshots do with a disk.
    DiskMode {
        /// They take it along.
        Persistent = "persistent",
        /// They leave it out; what is written stays.
        IndependentPersistent = "independent-persistent",
        /// They leave it out; what is written is lost at power-off.
        IndependentNonpersistent = "independent-nonpersistent",
    }
}

words! {
    /// How a volume is made.
    VolumeKind {
        /// A partition.
        Partition = "partition",
        /// A logical volume of LVM.
        Lvm = "lvm",
        /// Linux software RAID.
        Md = "md",
        /// A volume of dynamic disks of Windows.
        Ldm = "ldm",
        /// A volume of Storage Spaces.
        StorageSpaces = "storage-spaces",
        /// A whole disk.
        Disk = "disk",
        /// A device that decrypts another one.
        Crypt = "crypt",
        /// Several paths to one disk.
        Multipath = "multipath",
    }
}

words! {
    /// How content can be captured.
    CaptureMethod {
        /// Its used blocks alone.
        UsedBlocks = "used-blocks",
        /// Every block.
        Whole = "whole",
        /// Not at all.
        None = "none",
    }
}

section! {
    /// A storage controller.
    Controller as "controller" by (name) {
        /// Its name or place.
        name / "name": Option<Fact<String>>,
        /// How disks are attached to it.
        bus / "bus": Option<Fact<Bus>>,
        /// Its model.
        model / "model": Option<Fact<String>>,
        /// PCI vendor and device, `8086:2922`.
        pci_id / "pci_id": Option<Fact<String>>,
        /// The driver it uses.
        driver / "driver": Option<Fact<String>>,
        /// Whether virtual machines share its bus.
        shared_bus / "shared_bus": Option<Fact<bool>>,
    }
}

section! {
    /// A disk.
    Disk as "disk" by (name, serial, file) {
        /// The name it has on the machine: `sda`, `PHYSICALDRIVE0`, `Hard disk 1`.
        name / "name": Option<Fact<String>>,
        /// Its serial number.
        serial / "serial": Option<Fact<String>>,
        /// Its model.
        model / "model": Option<Fact<String>>,
        /// How it is attached.
        bus / "bus": Option<Fact<Bus>>,
        /// The controller it is attached to.
        controller / "controller": Option<Fact<String>>,
        /// Bytes the machine sees.
        size / "size": Option<Fact<ByteCount>>,
        /// Bytes that file systems on it use.
        used / "used": Option<Fact<ByteCount>>,
        /// Bytes that the file of a virtual disk takes.
        allocated / "allocated": Option<Fact<ByteCount>>,
        /// Bytes of a logical sector.
        sector / "sector": Option<Fact<ByteCount>>,
        /// How it is divided.
        partition_table / "partition_table": Option<Fact<PartitionTable>>,
        /// Whether it is the one that the machine starts from.
        boot / "boot": Option<Fact<bool>>,
        /// Whether it is a dynamic disk (LDM) of Windows.
        dynamic / "dynamic": Option<Fact<bool>>,
        /// Whether it can be taken out.
        removable / "removable": Option<Fact<bool>>,
        /// Whether it lies on a storage network.
        san / "san": Option<Fact<bool>>,
        /// Whether other machines use it at the same time.
        shared / "shared": Option<Fact<bool>>,
        /// Whether its content is encrypted.
        encrypted / "encrypted": Option<Fact<bool>>,
        /// Whether it spins.
        rotational / "rotational": Option<Fact<bool>>,
        /// The file of a virtual disk.
        file / "file": Option<Fact<String>>,
        /// The format of that file.
        format / "format": Option<Fact<String>>,
        /// Whether the file of a virtual disk grows.
        thin / "thin": Option<Fact<bool>>,
        /// What snapshots do with a virtual disk.
        mode / "mode": Option<Fact<DiskMode>>,
        /// Whether a virtual disk stands for a logical unit of a storage network (raw device mapping).
        raw_device_mapping / "raw_device_mapping": Option<Fact<bool>>,
        /// How it can be captured.
        capture / "capture": Option<Fact<CaptureMethod>>,
    }
}

section! {
    /// A partition.
    Partition as "partition" by (name) {
        /// Its name: `sda1`, `disk0p1`, `Disk #0, Partition #0`.
        name / "name": Option<Fact<String>>,
        /// The disk it is on.
        disk / "disk": Option<Fact<String>>,
        /// Its number.
        number / "number": Option<Fact<u32>>,
        /// Its first byte.
        start / "start": Option<Fact<ByteCount>>,
        /// Its length.
        size / "size": Option<Fact<ByteCount>>,
        /// What its table says it is.
        kind / "kind": Option<Fact<String>>,
        /// Whether the machine starts from it.
        active / "active": Option<Fact<bool>>,
    }
}

section! {
    /// A volume: what holds a file system.
    Volume as "volume" by (name) {
        /// Its name: `sda1`, `vg0/root`, `C:`.
        name / "name": Option<Fact<String>>,
        /// How it is made.
        kind / "kind": Option<Fact<VolumeKind>>,
        /// The partitions or disks it is made of.
        parts / "part": Vec<Fact<String>>,
        /// Its file system: `ext4`, `ntfs`.
        file_system / "file_system": Option<Fact<String>>,
        /// Its label.
        label / "label": Option<Fact<String>>,
        /// Its UUID or serial number.
        uuid / "uuid": Option<Fact<String>>,
        /// Where it is mounted.
        mounted_at / "mounted_at": Option<Fact<String>>,
        /// Its size.
        size / "size": Option<Fact<ByteCount>>,
        /// Bytes in use.
        used / "used": Option<Fact<ByteCount>>,
        /// Whether its content is encrypted.
        encrypted / "encrypted": Option<Fact<bool>>,
        /// Whether it waits for a check: marked as damaged, or as dirty by Windows.
        damaged / "damaged": Option<Fact<bool>>,
        /// Whether the operating system lies on it.
        hosts_os / "hosts_os": Option<Fact<bool>>,
        /// Whether other machines use it at the same time.
        clustered / "clustered": Option<Fact<bool>>,
        /// How it can be captured.
        capture / "capture": Option<Fact<CaptureMethod>>,
        /// Why not by its used blocks.
        capture_reason / "capture_reason": Option<Fact<String>>,
    }
}

section! {
    /// Controllers, disks, partitions and volumes.
    Storage as "storage" by () {
        /// Controllers.
        controllers / "controller": Vec<Controller>,
        /// Disks, in the machine's order.
        disks / "disk": Vec<Disk>,
        /// Partitions.
        partitions / "partition": Vec<Partition>,
        /// Volumes.
        volumes / "volume": Vec<Volume>,
    }
}
