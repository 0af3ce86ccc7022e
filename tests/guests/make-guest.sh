#!/bin/sh
# Builds the disks of one source machine of the guest matrix: a real distribution, configured as installers of its time did,
# that boots on its own hardware and does not on the target's, or boots there without its network.
#
#   AGENT=DIR make-guest.sh NAME TREE.tar OUTDIR [KEY=VALUE...]
#     firmware=bios|uefi   layout=plain|lvm|raid|luks   fs=ext4|xfs|btrfs   loader=grub|extlinux
#     (luks: LUKS2 without a key file, its passphrase is `secret`)
#     net=ifupdown|networkd|netplan|networkmanager   filter=yes|no (an lvm.conf that goes by names of disks)
#
# OUTDIR/disk0.qcow2 (and disk1.qcow2 for layout=raid). AGENT is a folder that `replant agent build` made: volumes are
# assembled in its kernel, so the host needs no device-mapper, no RAID driver and no LVM of its own.
# Needs root, and loop devices for xfs, btrfs and extlinux.
set -eu
PATH=$PATH:/usr/sbin:/sbin
name=$1 tree=$2 out=$3
shift 3
firmware=bios layout=plain fs=ext4 loader=grub net=ifupdown initramfs=initramfs-tools filter=no serial=ttyS0
for option; do
    case $option in
        firmware=*|layout=*|fs=*|loader=*|net=*|initramfs=*|filter=*) eval "${option%%=*}=\${option#*=}" ;;
        *) echo "make-guest.sh: unknown option $option" >&2; exit 64 ;;
    esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.making.XXXXXX")
mounted=
loop=
clean() {
    [ -z "$mounted" ] || umount "$mounted" || :
    [ -z "$loop" ] || losetup -d "$loop" || :
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM
root=$work/root
mkdir "$root"
tar -C "$root" --numeric-owner -xf "$tree" --exclude=./dev/*
kernel=$(cd "$root/lib/modules" && echo *)

# --- what the machine is configured as --------------------------------------------------------------------------------
ROOT_UUID=11111111-aaaa-4bbb-8ccc-0123456789ab
BOOT_UUID=22222222-aaaa-4bbb-8ccc-0123456789ab
ARRAY_UUID=33333333:aaaa4bbb:8ccc0123:456789ab
NIC=ens3
echo "$name" > "$root/etc/hostname"
separate_boot=no
options=ro
case $layout in
    plain) rootdev=/dev/sda1 ;;
    lvm) rootdev=/dev/mapper/vg0-root separate_boot=yes ;;
    raid) rootdev=/dev/md0 ;;
    luks) rootdev=/dev/mapper/cryptroot separate_boot=yes ;;
esac
mountopts=defaults
if [ "$fs" = btrfs ]; then
    mountopts=subvol=@
    options="ro rootflags=subvol=@"
fi
bootdev=/dev/sda1
[ "$firmware" = bios ] || bootdev=/dev/sda2
{
    echo "# /etc/fstab: as the installer wrote it"
    echo "$rootdev / $fs $mountopts 0 1"
    [ $separate_boot = no ] || echo "$bootdev /boot ext4 defaults 0 2"
    [ "$firmware" = bios ] || echo "/dev/sda1 /boot/efi vfat umask=0077 0 1"
} > "$root/etc/fstab"
[ $separate_boot = no ] || mkdir -p "$root/boot"
case $layout in
    lvm)
        # Nothing but the source's disk may hold volumes: a filter as administrators write them.
        [ "$filter" = no ] || sed -i 's,^devices {,devices {\n\tfilter = [ "a|^/dev/sd[a-z]|"\, "r|.*|" ],' "$root/etc/lvm/lvm.conf" ;;
    raid)
        cat > "$root/etc/mdadm/mdadm.conf" <<EOF_MDADM
DEVICE /dev/sda1 /dev/sdb1
HOMEHOST <ignore>
ARRAY /dev/md0 metadata=1.0 UUID=$ARRAY_UUID devices=/dev/sda1,/dev/sdb1
EOF_MDADM
        ;;
esac
enable() { chroot "$root" systemctl enable "$@" >/dev/null 2>&1; }
case $net in
    ifupdown)
        cat > "$root/etc/network/interfaces" <<EOF_NET
auto lo
iface lo inet loopback

auto $NIC
iface $NIC inet static
    address 10.0.9.15
    netmask 255.255.255.0
    gateway 10.0.9.2
EOF_NET
        enable networking.service ;;
    networkd)
        printf '[Match]\nName=%s\n\n[Network]\nAddress=10.0.9.15/24\nGateway=10.0.9.2\nDNS=10.0.9.3\n' "$NIC" \
            > "$root/etc/systemd/network/20-lan.network"
        enable systemd-networkd.service systemd-networkd-wait-online.service ;;
    netplan)
        mkdir -p "$root/etc/netplan"
        cat > "$root/etc/netplan/01-lan.yaml" <<EOF_NET
network:
  version: 2
  renderer: networkd
  ethernets:
    $NIC:
      addresses: [10.0.9.15/24]
      routes:
        - to: default
          via: 10.0.9.2
EOF_NET
        chmod 600 "$root/etc/netplan/01-lan.yaml"
        enable systemd-networkd.service systemd-networkd-wait-online.service ;;
    networkmanager)
        mkdir -p "$root/etc/NetworkManager/system-connections"
        connection=$root/etc/NetworkManager/system-connections/lan.nmconnection
        cat > "$connection" <<EOF_NET
[connection]
id=lan
uuid=7b1f3c2d-4e51-4a0f-8c1e-0d6b4e0c9c0e
type=ethernet
interface-name=$NIC

[ipv4]
method=manual
address1=10.0.9.15/24,10.0.9.2
EOF_NET
        chmod 600 "$connection"
        enable NetworkManager.service NetworkManager-wait-online.service ;;
esac
# rootdelay and rd.timeout: a missing root is given up after that many seconds. no_timer_check: an emulated machine on
# a busy host may get its timer interrupts too late for the kernel's check of them.
words="root=$rootdev $options console=tty0 console=$serial quiet panic=5 mitigations=off rootdelay=4 rd.timeout=45 rd.shell=0 net.ifnames=1 no_timer_check"
if [ "$layout" = plain ] && [ "$initramfs" = initramfs-tools ] && [ "$fs" = ext4 ]; then
    :
elif [ "$initramfs" = initramfs-tools ]; then
    # The initramfs has copies of the configuration above.
    if [ "$layout" = luks ]; then
        printf '# as the installer wrote it\ncryptroot /dev/sda2 none luks,initramfs\n' > "$root/etc/crypttab"
        # What its tool sees on a machine that has the container open.
        printf '%s\n' aes_generic ecb xts sha256_generic algif_skcipher >> "$root/etc/initramfs-tools/modules"
    fi
    chroot "$root" mkinitramfs -o "/boot/initrd.img-$kernel" "$kernel" >/dev/null 2>"$work/mkinitramfs.log" \
        || { cat "$work/mkinitramfs.log" >&2; exit 1; }
fi

# --- boot loader ------------------------------------------------------------------------------------------------------
boot=/boot
[ $separate_boot = no ] || boot=
subvolume=
[ "$fs" = btrfs ] && [ $separate_boot = no ] && subvolume=/@
loader_uuid=$ROOT_UUID
[ $separate_boot = no ] || loader_uuid=$BOOT_UUID
mkdir -p "$root/boot/grub"
cat > "$root/boot/grub/grub.cfg" <<EOF_GRUB
serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
menuentry 'Debian GNU/Linux' {
	linux	$subvolume$boot/vmlinuz-$kernel $words
	initrd	$subvolume$boot/initrd.img-$kernel
}
EOF_GRUB
cat > "$work/early.cfg" <<EOF_GRUB
search.fs_uuid $loader_uuid root
set prefix=(\$root)$subvolume$boot/grub
configfile \$prefix/grub.cfg
EOF_GRUB
modules="part_msdos part_gpt ext2 xfs btrfs lvm mdraid1x search search_fs_uuid serial terminal normal configfile linux minicmd"
mkdir -p "$root/etc/default"
printf 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="console=tty0 console=%s"\n' "$serial" \
    > "$root/etc/default/grub"
if [ "$loader" = extlinux ]; then
    rm -rf "$root/boot/grub" "$root/etc/default/grub"
    mkdir -p "$root/boot/extlinux"
    cat > "$root/boot/extlinux/extlinux.conf" <<EOF_EXTLINUX
SERIAL 0 115200
DEFAULT linux
PROMPT 0
TIMEOUT 1
LABEL linux
 LINUX $boot/vmlinuz-$kernel
 INITRD $boot/initrd.img-$kernel
 APPEND $words
EOF_EXTLINUX
fi

# --- file systems -----------------------------------------------------------------------------------------------------
mount_image() { # FILE
    mkdir -p "$work/mnt"
    loop=$(losetup -f --show "$1")
    mount "$loop" "$work/mnt"
    mounted=$work/mnt
}
unmount_image() {
    umount "$work/mnt"
    mounted=
    losetup -d "$loop"
    loop=
}
if [ "$firmware" = uefi ]; then
    mkdir -p "$root/boot/efi"
    truncate -s 40M "$work/esp.img"
    mkfs.vfat -F 32 -i ABCD1234 -n ESP "$work/esp.img" >/dev/null
    # shellcheck disable=SC2086 # a list of words
    grub-mkimage -O x86_64-efi -c "$work/early.cfg" -p /EFI/debian -o "$work/grubx64.efi" fat $modules
    # The vendor's path only, as distributions install it: an entry in NVRAM leads there.
    mmd -i "$work/esp.img" ::/EFI ::/EFI/debian
    mcopy -i "$work/esp.img" "$work/grubx64.efi" ::/EFI/debian/grubx64.efi
    printf 'search.fs_uuid %s root\nset prefix=($root)%s/grub\nconfigfile $prefix/grub.cfg\n' "$loader_uuid" "$boot" > "$work/stub.cfg"
    mcopy -i "$work/esp.img" "$work/stub.cfg" ::/EFI/debian/grub.cfg
fi
if [ $separate_boot = yes ]; then
    mkdir "$work/boot"
    (cd "$root/boot" && find . -mindepth 1 -maxdepth 1 ! -name efi -exec mv {} "$work/boot/" \;)
    mkdir -p "$work/boot/efi"
    truncate -s 160M "$work/boot.img"
    mke2fs -q -t ext4 -U $BOOT_UUID -d "$work/boot" "$work/boot.img" >/dev/null
fi
size=$(($(du -sm "$root" | cut -f1) * 5 / 4 + 160))
truncate -s "${size}M" "$work/root.img"
case $fs in
    ext4) mke2fs -q -t ext4 -U $ROOT_UUID -d "$root" "$work/root.img" >/dev/null ;;
    xfs)
        mkfs.xfs -q -m uuid=$ROOT_UUID "$work/root.img"
        mount_image "$work/root.img"
        cp -a "$root/." "$work/mnt/"
        unmount_image ;;
    btrfs)
        mkfs.btrfs -q -U $ROOT_UUID "$work/root.img"
        mount_image "$work/root.img"
        btrfs subvolume create "$work/mnt/@" >/dev/null
        cp -a "$root/." "$work/mnt/@/"
        unmount_image ;;
esac

# --- disks ------------------------------------------------------------------------------------------------------------
# start MiB and size MiB of: ESP, /boot, the rest
start=1
layout_lines=
place() { # MiB TYPE -> sets $at
    at=$start
    layout_lines="${layout_lines}start=$((start * 2048)), size=$(($1 * 2048)), type=$2
"
    start=$((start + $1))
}
volume=$((size + 12))
[ "$firmware" = bios ] || { place 40 U; esp_at=$at; }
[ $separate_boot = no ] || { place 160 L; boot_at=$at; }
case $layout in
    lvm) place $((volume + 8)) V ;;
    raid) place "$volume" R ;;
    luks) place $((volume + 16)) L ;;
    *) place "$volume" L ;;
esac
root_at=$at
disk() { # FILE
    truncate -s $((start + 1))M "$1"
    if [ "$firmware" = uefi ]; then label=gpt; else label=dos; fi
    printf 'label: %s\n%s' "$label" "$layout_lines" | sfdisk -q "$1"
    if [ "$firmware" = uefi ]; then
        dd if="$work/esp.img" of="$1" bs=1M seek="$esp_at" conv=notrunc,sparse status=none
    elif [ "$loader" = extlinux ]; then
        dd if=/usr/lib/syslinux/mbr/mbr.bin of="$1" bs=440 count=1 conv=notrunc status=none
        sfdisk -q --activate "$1" 1
    else
        # shellcheck disable=SC2086 # a list of words
        grub-mkimage -O i386-pc -c "$work/early.cfg" -p /boot/grub -o "$work/core.img" biosdisk $modules
        dd if=/usr/lib/grub/i386-pc/boot.img of="$1" bs=440 count=1 conv=notrunc status=none
        dd if="$work/core.img" of="$1" bs=512 seek=1 conv=notrunc status=none
    fi
    [ $separate_boot = no ] || dd if="$work/boot.img" of="$1" bs=1M seek="$boot_at" conv=notrunc,sparse status=none
}
if [ "$loader" = extlinux ]; then
    mount_image "$work/root.img"
    # extlinux reads no file with holes.
    for file in "vmlinuz-$kernel" "initrd.img-$kernel"; do
        cp --sparse=never "$work/mnt/boot/$file" "$work/mnt/boot/.whole"
        mv "$work/mnt/boot/.whole" "$work/mnt/boot/$file"
    done
    extlinux --install "$work/mnt/boot/extlinux" >/dev/null 2>&1
    unmount_image
fi
disk "$work/disk0"
disks=disk0
if [ "$layout" = raid ]; then
    disk "$work/disk1"
    disks="disk0 disk1"
fi
part=1
[ "$firmware" = bios ] || part=$((part + 1))
[ $separate_boot = no ] || part=$((part + 1))
if [ "$layout" = plain ]; then
    dd if="$work/root.img" of="$work/disk0" bs=1M seek="$root_at" conv=notrunc,sparse status=none
else
    # The volumes are made in the agent's kernel: the last disk holds what goes onto them.
    mkdir "$work/overlay"
    cat > "$work/overlay/init" <<EOF_INIT
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
while read -r m; do insmod /lib/modules/\$m 2>/dev/null; done < /etc/modules.order
while read -r m; do insmod /lib/modules/\$m 2>/dev/null; done < /etc/modules.volumes
set -e
trap 'echo MAKING-FAILED; poweroff -f' EXIT
case $layout in
    lvm)
        from=/dev/vdb to=/dev/mapper/vg0-root
        lvm pvcreate -ff -y /dev/vda$part; lvm vgcreate vg0 /dev/vda$part
        lvm lvcreate -y -Wn -Zn -L ${size}M -n root vg0; lvm vgmknodes ;;
    raid)
        from=/dev/vdc to=/dev/md0
        mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --metadata=1.0 --uuid=$ARRAY_UUID \
            --homehost=any /dev/vda$part /dev/vdb$part ;;
    luks)
        from=/dev/vdb to=/dev/mapper/cryptroot
        printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
            --uuid 44444444-aaaa-4bbb-8ccc-0123456789ab --key-file - /dev/vda$part
        printf secret | cryptsetup open --key-file - /dev/vda$part cryptroot ;;
esac
dd if=\$from of=\$to bs=1M
sync
case $layout in
    lvm) lvm vgchange -an ;;
    raid) mdadm --stop /dev/md0 ;;
    luks) cryptsetup close cryptroot ;;
esac
sync
trap - EXIT
echo MAKING-DONE
poweroff -f
EOF_INIT
    chmod +x "$work/overlay/init"
    cp "$AGENT/agent.img" "$work/agent.img"
    truncate -s %4 "$work/agent.img"
    (cd "$work/overlay" && echo init | cpio -o -H newc -R 0:0 --quiet) >> "$work/agent.img"
    set --
    number=0
    for file in $disks root.img; do
        set -- "$@" -drive "if=none,id=d$number,format=raw,file=$work/$file,cache=unsafe" -device "virtio-blk-pci,drive=d$number"
        number=$((number + 1))
    done
    timeout 300 qemu-system-x86_64 -accel tcg,tb-size=256 -machine pc -m 512 -nodefaults -display none -no-reboot \
        -serial stdio -kernel "$AGENT/vmlinuz" -initrd "$work/agent.img" -append "console=ttyS0 quiet panic=5" "$@" \
        > "$work/console" </dev/null || :
    grep -q MAKING-DONE "$work/console" || { echo "make-guest.sh: volumes of $name could not be made:" >&2; tail -20 "$work/console" >&2; exit 1; }
fi
for file in $disks; do
    qemu-img convert -q -f raw -O qcow2 "$work/$file" "$work/$file.qcow2"
done
for file in $disks; do mv "$work/$file.qcow2" "$out/"; done
