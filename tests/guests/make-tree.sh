#!/bin/sh
# Builds the root file system of a test guest as a tar: a real distribution with a kernel, every network stack and every
# storage tool that the matrix needs, and an initramfs that holds the drivers of the SOURCE hardware only.
#
#   make-tree.sh SUITE KERNEL INITRAMFS OUT.tar     SUITE: bullseye bookworm trixie, noble of Ubuntu;
#                                                   KERNEL: cloud generic, cloud-grub with GRUB's packages,
#                                                   cloud-crypt with those of encrypted roots;
#                                                   INITRAMFS: initramfs-tools dracut
#
# Needs root (the tree has owners other than you), mmdebstrap and the distribution's package mirror.
set -eu
[ $# -eq 4 ] || { echo "usage: make-tree.sh SUITE cloud|cloud-grub|cloud-crypt|generic initramfs-tools|dracut OUT.tar" >&2; exit 64; }
suite=$1 kernel=$2 initramfs=$3 out=$4
case $kernel in
    cloud) image=linux-image-cloud-amd64 ;;
    cloud-grub) image=linux-image-cloud-amd64,grub2-common,grub-common,grub-pc-bin,grub-efi-amd64-bin ;;
    cloud-crypt) image=linux-image-cloud-amd64,cryptsetup-initramfs ;;
    generic) image=linux-image-amd64 ;;
    *) echo "make-tree.sh: no kernel flavour $kernel" >&2; exit 64 ;;
esac
# What the source machine's disks hang on, and nothing of the target's.
drivers="ext4 xfs btrfs dm-mod raid1 sd_mod ata_piix ahci vmw_pvscsi"
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

case $suite in
    noble)
        image=linux-image-virtual
        mirror=http://archive.ubuntu.com/ubuntu
        # Ubuntu's keys, from a package that Debian has signed; apt reads them as a user of its own.
        chmod 755 "$work"
        mmdebstrap --quiet --variant=extract --include=ubuntu-archive-keyring trixie "$work/keys" >&2
        set -- --components=main,universe --keyring="$work/keys/usr/share/keyrings/ubuntu-archive-keyring.gpg" ;;
    bullseye)
        # The point release as it was: the archive of later changes lists kernels that it no longer has.
        mirror='deb http://deb.debian.org/debian bullseye main'
        set -- ;;
    *)
        mirror=
        set -- ;;
esac

cat > "$work/essential" <<EOF_HOOK
#!/bin/sh
# Before any other package is configured: what the initramfs is to hold.
set -eu
mkdir -p "\$1/etc/initramfs-tools/conf.d" "\$1/etc/dracut.conf.d"
echo 'MODULES=list' > "\$1/etc/initramfs-tools/conf.d/source"
printf '%s\n' $drivers > "\$1/etc/initramfs-tools/modules"
# The package's own hook must not build an image with every driver; the one below builds it.
printf 'hostonly=no\nomit_drivers+=" virtio virtio_blk virtio_pci virtio_scsi virtio_net virtio_ring "\n' > "\$1/etc/dracut.conf.d/source.conf"
EOF_HOOK
cat > "$work/customize" <<'EOF_HOOK'
#!/bin/sh
set -eu
r=$1
echo 'root:guest' | chroot "$r" chpasswd
printf '127.0.0.1 localhost\n' > "$r/etc/hosts"
# Only the image built above lacks the target's drivers; the configuration stays as a distribution delivers it.
rm -f "$r/etc/dracut.conf.d/source.conf"
cat > "$r/usr/local/sbin/guest-ready" <<'READY'
#!/bin/sh
# Says on the serial console that the machine is up and what it looks like, and answers on port 80.
mkdir -p /run/www && hostname > /run/www/index.html
busybox httpd -p 80 -h /run/www
nics=$(cd /sys/class/net && echo e*)
echo "GUEST-READY host=$(hostname) root=$(findmnt -no SOURCE /) fs=$(findmnt -no FSTYPE /) nics=$nics" \
    "address=$(ip -4 -o addr show scope global | awk '{ print $2 "=" $4 }' | tr '\n' ,)" \
    "gateway=$(ip route show default | awk '{ print $3 }' | head -1) kernel=$(uname -r)" \
    "swap=$(awk 'NR == 2 { print $1 }' /proc/swaps) boot=$(findmnt -no SOURCE /boot)" \
    "failed=$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ,)" \
    "cmdline=$(cat /proc/cmdline)"
READY
chmod 755 "$r/usr/local/sbin/guest-ready"
mkdir -p "$r/etc/systemd/system/multi-user.target.wants"
cat > "$r/etc/systemd/system/guest-ready.service" <<'UNIT'
[Unit]
Description=Say on the serial console that the machine is up
After=local-fs.target swap.target network-online.target
Wants=network-online.target
Before=serial-getty@ttyS0.service getty.target
[Service]
Type=forking
ExecStart=/usr/local/sbin/guest-ready
StandardOutput=file:/dev/ttyS0
[Install]
WantedBy=multi-user.target
UNIT
ln -sf ../guest-ready.service "$r/etc/systemd/system/multi-user.target.wants/"
# The network stacks are all installed and none is on: each guest switches on its own.
for unit in networking.service ifupdown-pre.service ifup@.service systemd-networkd.service systemd-networkd.socket \
    systemd-networkd-wait-online.service NetworkManager.service NetworkManager-wait-online.service \
    NetworkManager-dispatcher.service systemd-resolved.service; do
    for folder in "$r/etc/systemd/system"/*.wants; do rm -f "$folder/$unit"; done
done
# Slow without hardware virtualisation, and of no use here.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service systemd-pstore.service systemd-timesyncd.service systemd-update-utmp.service \
    systemd-binfmt.service systemd-journal-flush.service getty@tty1.service ModemManager.service \
    wpa_supplicant.service polkit.service mdcheck_start.timer mdcheck_continue.timer mdmonitor-oneshot.timer \
    mdmonitor.service blk-availability.service lvm2-monitor.service console-setup.service keyboard-setup.service \
    systemd-random-seed.service systemd-hwdb-update.service ldconfig.service systemd-sysusers.service; do
    ln -sf /dev/null "$r/etc/systemd/system/$unit"
done
rm -rf "$r"/var/lib/apt/lists/* "$r"/var/cache/apt/*.bin "$r"/usr/share/doc "$r"/usr/share/locale "$r"/boot/*.old \
    "$r"/usr/share/perl "$r"/usr/share/i18n "$r"/usr/lib/python3/dist-packages/docutils
# A machine that was installed long ago has its identity and nothing left to bring up to date at its next boot.
echo 0123456789abcdef0123456789abcdef > "$r/etc/machine-id"
touch -r "$r/usr" "$r/etc/.updated" "$r/var/.updated"
EOF_HOOK
chmod +x "$work/essential" "$work/customize"
packages=systemd-sysv,udev,kmod,$image,zstd,iproute2,dbus,ifupdown,netplan.io,network-manager,lvm2,mdadm,xfsprogs
packages=$packages,btrfs-progs,e2fsprogs,busybox-static,$initramfs
[ "$suite" = bullseye ] || packages=$packages,systemd-resolved
mmdebstrap --quiet "$@" --variant=minbase --mode=root \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-confold' --dpkgopt='force-unsafe-io' \
    --include="$packages" --essential-hook="$work/essential" --customize-hook="$work/customize" \
    "$suite" "$work/tree.tar" ${mirror:+"$mirror"} >&2
mv "$work/tree.tar" "$out"
