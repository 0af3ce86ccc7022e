//! Every editor of a configuration file at once, on guests made of arbitrary lines: what is not ours survives byte by byte and
//! in its order, a second conversion changes nothing, and nothing panics.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use replant::guest::linux::network::{AddressMap, TargetNic};
use replant::guest::{
    ConvertOptions, FileSystem, FsKind, FsState, GuestTree, Partition, RestoredDisk, SkipList, SystemDisks, plan,
};

/// The files that editors know, with lines that concern them.
const FILES: [(&str, &[&str]); 22] = [
    (
        "etc/fstab",
        &["/dev/sda1 / ext4 defaults 0 1", "/dev/hda2\tnone swap sw", "UUID=x /srv xfs", "/dev/sdz9 /x ext4"],
    ),
    ("etc/crypttab", &["data /dev/sda3 none luks", "swap /dev/sda2 /dev/urandom swap"]),
    ("etc/mdadm/mdadm.conf", &["DEVICE /dev/sda1 /dev/sdb1", "ARRAY /dev/md0 UUID=1:2:3:4 devices=/dev/sda1"]),
    (
        "etc/lvm/lvm.conf",
        &["devices {", "filter = [ \"a|/dev/sda|\", \"r|.*|\" ]", "}", "global_filter=[\"a|^/dev/sd|\"]"],
    ),
    (
        "boot/grub/grub.cfg",
        &["\tlinux /vmlinuz root=/dev/sda1 ro quiet", "kernel /v root=/dev/hda1 resume=/dev/sda2", "menuentry 'x' {"],
    ),
    ("boot/grub/menu.lst", &["kernel /vmlinuz ro root=/dev/sda1", "title x", "# kopt=root=/dev/sda1 ro"]),
    ("boot/grub/device.map", &["(hd0) /dev/sda", "(hd1)\t/dev/disk/by-id/ata-X"]),
    (
        "etc/default/grub",
        &["GRUB_CMDLINE_LINUX=\"root=/dev/sda1\"", "GRUB_TERMINAL=console", "GRUB_CMDLINE_LINUX_DEFAULT='quiet'"],
    ),
    ("boot/extlinux/extlinux.conf", &["LABEL x", " APPEND root=/dev/sda1 ro", "append initrd=/i root=/dev/sdb1"]),
    ("boot/loader/entries/a.conf", &["options root=/dev/sda1 rw", "title x", "linux /vmlinuz"]),
    ("etc/initramfs-tools/conf.d/resume", &["RESUME=/dev/sda2", "RESUME=none"]),
    (
        "etc/network/interfaces",
        &["auto eth0", "iface eth0 inet static", "  address 10.0.0.5", "netmask 255.255.255.0", "gateway 10.0.0.1"],
    ),
    (
        "etc/sysconfig/network-scripts/ifcfg-eth0",
        &["DEVICE=eth0", "HWADDR=52:54:00:12:34:56", "IPADDR=10.0.0.5", "PREFIX=24", "BOOTPROTO=none"],
    ),
    (
        "etc/NetworkManager/system-connections/a.nmconnection",
        &["[ipv4]", "address1=10.0.0.5/24,10.0.0.1", "[connection]", "interface-name=eth0"],
    ),
    (
        "etc/netplan/a.yaml",
        &[
            "network:",
            "  ethernets:",
            "    eth0:",
            "      addresses: [10.0.0.5/24]",
            "      match: {macaddress: 52:54:00:12:34:56}",
        ],
    ),
    (
        "etc/systemd/network/a.network",
        &["[Match]", "Name=eth0", "[Network]", "Address=10.0.0.5/24", "Gateway=10.0.0.1"],
    ),
    ("etc/sysconfig/network/ifcfg-eth1", &["IPADDR='10.0.0.5/24'", "STARTMODE=auto", "NETMASK=255.255.255.0"]),
    (
        "etc/udev/rules.d/70-persistent-net.rules",
        &[
            "SUBSYSTEM==\"net\", DRIVERS==\"e1000\", ATTR{address}==\"52:54:00:12:34:56\", NAME=\"eth0\"",
            "SUBSYSTEM==\"net\", KERNELS==\"0000:02:01.0\", NAME=\"eth7\"",
        ],
    ),
    ("etc/modprobe.d/net.conf", &["alias eth0 e1000", "options e1000 debug=1", "alias scsi_hostadapter mptspi"]),
    ("etc/modprobe.conf", &["alias eth0 vmxnet", "install x /bin/true"]),
    ("etc/hosts", &["10.0.0.5 web01", "127.0.0.1 localhost", "110.0.0.50 other"]),
    ("etc/resolv.conf", &["nameserver 10.0.0.1", "search example.test"]),
];

fn disks() -> SystemDisks {
    let content =
        |kind, uuid: &str| Some(FileSystem { kind, uuid: Some(uuid.into()), label: None, state: FsState::Usable });
    let partition =
        |number: u32, content| Partition { number, device: format!("/dev/vda{number}").into(), size: 1 << 30, content };
    let partitions = vec![
        partition(1, content(FsKind::Ext4, "aaaa-1")),
        partition(2, content(FsKind::Swap, "aaaa-2")),
        partition(3, content(FsKind::Luks, "aaaa-3")),
    ];
    let disk = RestoredDisk { index: 0, device: PathBuf::from("/dev/vda"), size: 4 << 30, whole: None, partitions };
    SystemDisks { disks: vec![disk], volumes: Vec::new() }
}

/// A line of a file: one that an editor may know, or one that none does.
#[derive(Clone, Debug)]
enum Line {
    Known(usize),
    Foreign(Vec<u8>),
}

fn line() -> impl Strategy<Value = Line> {
    // Any byte but the end of a line; a sign in front that no editor's words begin with.
    let bytes = prop::collection::vec(any::<u8>().prop_filter("a line", |byte| !b"\n\r".contains(byte)), 0..24);
    prop_oneof![
        (0usize..8).prop_map(Line::Known),
        bytes.prop_map(|rest| Line::Foreign([&b"# ~"[..], rest.as_slice()].concat())),
        Just(Line::Foreign(Vec::new())),
        "[ \t]{0,3}~[a-z ]{0,12}".prop_map(|text| Line::Foreign(text.into_bytes())),
    ]
}

fn foreign(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    lines.filter(|line| line.contains(&b'~')).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn what_is_not_ours_survives_and_twice_is_once(
        contents in prop::collection::vec((prop::collection::vec(line(), 0..10), any::<bool>(), any::<bool>()), FILES.len()),
        serial_console: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut before = Vec::new();
        for ((path, known), (lines, dos, ended)) in FILES.iter().zip(&contents) {
            let end: &[u8] = if *dos { b"\r\n" } else { b"\n" };
            let mut bytes = Vec::new();
            for line in lines {
                match line {
                    Line::Known(index) => bytes.extend_from_slice(known[index % known.len()].as_bytes()),
                    Line::Foreign(line) => bytes.extend_from_slice(line),
                }
                bytes.extend_from_slice(end);
            }
            if !ended {
                bytes.truncate(bytes.len().saturating_sub(end.len()));
            }
            let at = folder.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, &bytes).unwrap();
            before.push(bytes);
        }
        let tree = GuestTree::new(folder.path());
        let options = ConvertOptions {
            serial_console,
            nics: vec![TargetNic { mac: "52:54:00:12:34:56".into(), name: Some("eth0".into()) }],
            addresses: AddressMap::parse(["10.0.0.5/24 192.168.7.9/22", "10.0.0.1 192.168.4.1"]).unwrap(),
            skip: SkipList::new(["initramfs".to_owned()]),
            ..ConvertOptions::default()
        };
        let conversion = plan(&tree, &disks(), &options).unwrap();
        for change in &conversion.changes {
            tree.write(change).unwrap();
        }
        for ((path, _), before) in FILES.iter().zip(&before) {
            let after = fs::read(folder.path().join(path)).unwrap_or_default();
            prop_assert_eq!(foreign(before), foreign(&after), "lines of {} that are not ours", path);
        }
        let again = plan(&tree, &disks(), &options).unwrap();
        prop_assert!(again.changes.is_empty(), "a second conversion changes {:?}", again.changes);
    }
}
