#!/bin/sh
# Builds the quickstart's source machine: a real small Debian system on two disks that boots on its own hardware (a
# paravirtual SCSI controller, disks sda and sdb) and does NOT boot on virtio disks as it is: its fstab and its boot
# loader name /dev/sda1 and /dev/sdb1, and its initramfs holds no virtio driver.
#
#   make-source.sh OUTDIR [--name NAME]
#
# OUTDIR/NAME-sda.qcow2   MBR, GRUB, ext4 root                       (qcow2)
# OUTDIR/NAME-sdb.raw     MBR, ext4 data on /srv/data, and swap      (raw, sparse)
# OUTDIR/NAME.expected    the line that the machine prints when it is up, with the checksums of both disks' files
# OUTDIR/NAME.run         starts the machine on its source hardware with its console on the terminal (needs QEMU)
#
# The Debian tree is cached as a tar in $REPLANT_CACHE (default ~/.cache/replant), so a second run takes seconds.
# Needs root, for the tree's owners. No loop device, no mount, no KVM.
set -eu

out=
name=web01
while [ $# -gt 0 ]; do
    case $1 in
        --name) name=$2; shift 2 ;;
        -*) echo "make-source.sh: unknown option $1" >&2; exit 64 ;;
        *) out=$1; shift ;;
    esac
done
[ -n "$out" ] || { echo "usage: make-source.sh OUTDIR [--name NAME]" >&2; exit 64; }

PATH=$PATH:/usr/sbin:/sbin
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need mmdebstrap mmdebstrap
need mke2fs e2fsprogs
need sfdisk fdisk
need mkswap util-linux
need qemu-img qemu-utils
need grub-mkimage grub-common
[ -f /usr/lib/grub/i386-pc/boot.img ] || missing="$missing grub-pc-bin"
[ -z "$missing" ] || { echo "make-source.sh: install these Debian packages first:$missing" >&2; exit 69; }
[ "$(id -u)" = 0 ] || { echo "make-source.sh: must run as root (the tree has owners other than you)" >&2; exit 77; }

suite=bookworm
cache=${REPLANT_CACHE:-${HOME:-/root}/.cache/replant}
# The name changes with the recipe, so an old tree is never taken for a new one.
base=$cache/quickstart-$suite-$(cksum < "$0" | cut -d' ' -f1).tar
mkdir -p "$cache" "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.make-source.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# --- the tree -------------------------------------------------------------------------------------------------------
if [ ! -f "$base" ]; then
    cat > "$work/essential" <<'HOOK'
#!/bin/sh
# Before any other package: the initramfs is to hold the source's drivers and no others.
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d"
echo 'MODULES=list' > "$1/etc/initramfs-tools/conf.d/quickstart"
printf '%s\n' ext4 sd_mod ata_piix vmw_pvscsi > "$1/etc/initramfs-tools/modules"
HOOK
    cat > "$work/customize" <<'HOOK'
#!/bin/sh
set -eu
r=$1
echo 'root:quickstart' | chroot "$r" chpasswd
printf '127.0.0.1 localhost\n' > "$r/etc/hosts"
cat > "$r/etc/fstab" <<'FSTAB'
# /etc/fstab: static file system information, as an installer of its time wrote it.
# <file system> <mount point> <type> <options> <dump> <pass>
/dev/sda1       /               ext4    errors=remount-ro       0       1
# the shop's files, on the second disk
/dev/sdb1       /srv/data       ext4    defaults,noatime        0       2
/dev/sdb2       none            swap    sw                      0       0
FSTAB
mkdir -p "$r/srv/data" "$r/etc/systemd/network" "$r/etc/systemd/system/multi-user.target.wants"
printf '[Match]\nName=ens3\n\n[Network]\nDHCP=yes\n' > "$r/etc/systemd/network/20-wired.network"
ln -sf /lib/systemd/system/systemd-networkd.service "$r/etc/systemd/system/multi-user.target.wants/"
cat > "$r/usr/local/sbin/quickstart-ready" <<'READY'
#!/bin/sh
# Says on the serial console that the machine is up, with checksums of the files on both disks.
sum() { (cd "$1" && find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-16; }
echo "QUICKSTART-READY host=$(hostname) root-sha256=$(sum /usr/share/quickstart) data-sha256=$(sum /srv/data/shop)"
echo "QUICKSTART-STATE root=$(findmnt -no SOURCE /) data=$(findmnt -no SOURCE /srv/data)" \
    "swap=$(awk 'NR==2{print $1}' /proc/swaps) nic=$(cd /sys/class/net && echo e*) kernel=$(uname -r)" \
    "failed=$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ,) up=$(cut -d' ' -f1 /proc/uptime)"
READY
chmod 755 "$r/usr/local/sbin/quickstart-ready"
cat > "$r/etc/systemd/system/quickstart-ready.service" <<'UNIT'
[Unit]
Description=Say on the serial console that the machine is up
After=local-fs.target swap.target systemd-networkd.service
# A login prompt hangs up its terminal when it starts, and what is being written there would be lost.
Before=serial-getty@ttyS0.service getty.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/quickstart-ready
StandardOutput=file:/dev/ttyS0
[Install]
WantedBy=multi-user.target
UNIT
ln -sf ../quickstart-ready.service "$r/etc/systemd/system/multi-user.target.wants/"
# Slow without hardware virtualisation, and of no use here.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service systemd-pstore.service systemd-timesyncd.service systemd-update-utmp.service \
    systemd-binfmt.service systemd-journal-flush.service getty@tty1.service; do
    ln -sf /dev/null "$r/etc/systemd/system/$unit"
done
rm -rf "$r"/var/lib/apt/lists/* "$r"/var/cache/apt/*.bin "$r"/usr/share/doc "$r"/usr/share/locale "$r"/boot/*.old
HOOK
    chmod +x "$work/essential" "$work/customize"
    echo "make-source.sh: building the Debian tree (once; it is kept in $cache)" >&2
    mmdebstrap --quiet --variant=minbase --mode=root \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-confold' --dpkgopt='force-unsafe-io' \
        --include=systemd-sysv,udev,kmod,initramfs-tools,linux-image-cloud-amd64,zstd,iproute2,dbus \
        --essential-hook="$work/essential" --customize-hook="$work/customize" \
        "$suite" "$work/base.tar" >&2
    mv "$work/base.tar" "$base"
fi

mkdir "$work/root" "$work/data"
tar -C "$work/root" --numeric-owner -xf "$base" --exclude=./dev/*
root=$work/root
kernel=$(cd "$root/lib/modules" && echo *)

# --- this machine's own files ----------------------------------------------------------------------------------------
echo "$name" > "$root/etc/hostname"
mkdir -p "$root/usr/share/quickstart" "$work/data/shop/orders"
head -c 4194304 /dev/urandom > "$root/usr/share/quickstart/catalogue.bin"
echo "the shop of $name" > "$root/usr/share/quickstart/about.txt"
head -c 12582912 /dev/urandom > "$work/data/shop/pictures.bin"
i=0
while [ $i -lt 40 ]; do
    echo "order $i of $name" > "$work/data/shop/orders/$i.txt"
    i=$((i + 1))
done
# A machine that was installed long ago has its identity and nothing left to bring up to date at its next boot.
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$root/etc/machine-id"
echo >> "$root/etc/machine-id"
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
sum() { (cd "$1" && find . -type f | sort | xargs sha256sum) | sha256sum | cut -c1-16; }
echo "QUICKSTART-READY host=$name root-sha256=$(sum "$root/usr/share/quickstart") data-sha256=$(sum "$work/data/shop")" \
    > "$out/$name.expected"

# --- boot loader: GRUB without grub-install, so no loop device is needed ----------------------------------------------
mkdir -p "$root/boot/grub/i386-pc"
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst "$root/boot/grub/i386-pc/"
cat > "$root/boot/grub/grub.cfg" <<EOF_GRUB
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
insmod part_msdos
insmod ext2
set root='hd0,msdos1'
menuentry 'Debian GNU/Linux' {
	linux	/boot/vmlinuz-$kernel root=/dev/sda1 ro console=ttyS0 quiet panic=5 mitigations=off
	initrd	/boot/initrd.img-$kernel
}
EOF_GRUB
printf '(hd0)\t/dev/sda\n(hd1)\t/dev/sdb\n' > "$root/boot/grub/device.map"
mkdir -p "$root/etc/default"
cat > "$root/etc/default/grub" <<'EOF_DEFAULT'
# Defaults of update-grub.
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="root=/dev/sda1 console=ttyS0"
GRUB_DISABLE_LINUX_UUID=true
EOF_DEFAULT

# --- disks ------------------------------------------------------------------------------------------------------------
mke2fs -q -t ext4 -L root -U 5a0f7c1e-0d6b-4e0c-9c0e-1b0f3c2d4e51 -d "$root" "$work/sda1" 600M >/dev/null
mke2fs -q -t ext4 -L data -U 5a0f7c1e-0d6b-4e0c-9c0e-1b0f3c2d4e52 -d "$work/data" "$work/sdb1" 96M >/dev/null
truncate -s 32M "$work/sdb2"
mkswap -q -U 5a0f7c1e-0d6b-4e0c-9c0e-1b0f3c2d4e53 "$work/sdb2" >/dev/null

truncate -s 602M "$work/sda"
printf 'label: dos\nlabel-id: 0x51c4a001\nstart=2048, size=1228800, type=83, bootable\n' | sfdisk -q "$work/sda"
dd if="$work/sda1" of="$work/sda" bs=1M seek=1 conv=notrunc,sparse status=none
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" \
    biosdisk part_msdos ext2 serial terminal normal configfile linux
dd if=/usr/lib/grub/i386-pc/boot.img of="$work/sda" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$work/sda" bs=512 seek=1 conv=notrunc status=none

truncate -s 130M "$work/sdb"
printf 'label: dos\nlabel-id: 0x51c4a002\nstart=2048, size=196608, type=83\nstart=198656, size=65536, type=82\n' \
    | sfdisk -q "$work/sdb"
dd if="$work/sdb1" of="$work/sdb" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/sdb2" of="$work/sdb" bs=1M seek=97 conv=notrunc,sparse status=none

qemu-img convert -q -f raw -O qcow2 "$work/sda" "$work/sda.qcow2"
cat > "$work/run" <<'EOF_RUN'
#!/bin/sh
# The machine on its source hardware: paravirtual SCSI disks sda and sdb, a vmxnet3 NIC. Nothing is written to the disks.
here=$(cd "$(dirname "$0")" && pwd)
exec qemu-system-x86_64 -accel tcg,tb-size=512 -M pc -m 512 -nographic -nodefaults -serial stdio -snapshot \
    -device pvscsi,id=scsi \
    -drive if=none,id=d0,file="$here/NAME-sda.qcow2",format=qcow2 -device scsi-hd,bus=scsi.0,drive=d0,bootindex=0 \
    -drive if=none,id=d1,file="$here/NAME-sdb.raw",format=raw -device scsi-hd,bus=scsi.0,drive=d1 \
    -netdev user,id=n0,restrict=on -device vmxnet3,netdev=n0,addr=3,romfile=,mac=52:54:00:12:34:56 "$@"
EOF_RUN
sed "s/NAME/$name/g" "$work/run" > "$out/$name.run"
chmod +x "$out/$name.run"
mv "$work/sda.qcow2" "$out/$name-sda.qcow2"
mv "$work/sdb" "$out/$name-sdb.raw"
echo "make-source.sh: $out/$name-sda.qcow2 and $out/$name-sdb.raw are ready" >&2
