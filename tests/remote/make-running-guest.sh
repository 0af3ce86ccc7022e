#!/bin/sh
# Builds a Debian that can be reached over ssh by one key. It runs from memory, or from a disk with volumes if it has one.
#
#   make-running-guest.sh OUTDIR      OUTDIR/vmlinuz, OUTDIR/initrd, OUTDIR/user_key, OUTDIR/host_key.pub,
#                                     OUTDIR/disk.raw and OUTDIR/volumes: its root and data on LVM, and where they lie
#
# The kernel's word `address=IP/BITS` gives its address on eth0, else it is 10.0.2.15/24.
# Needs root, mmdebstrap, cpio, zstd, lvm2, loop devices (no device-mapper) and the distribution's package mirror.
set -eu
PATH=$PATH:/usr/sbin:/sbin
[ $# -eq 1 ] || { echo "usage: make-running-guest.sh OUTDIR" >&2; exit 64; }
out=$1
mkdir -p "$out"
work=$(mktemp -d "$out/.making.XXXXXX")
loop=
cleanup() {
    [ -z "$loop" ] || losetup -d "$loop"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
rm -f "$out/user_key" "$out/user_key.pub"
ssh-keygen -q -t ed25519 -N '' -f "$out/user_key"
packages=systemd-sysv,udev,kmod,iproute2,dbus,openssh-server,kexec-tools,lvm2,netcat-openbsd,linux-image-cloud-amd64
# What comes from the mirror is kept.
tree=$out/tree-$(echo $packages | cksum | cut -d ' ' -f 1).tar
if [ ! -e "$tree" ]; then
    mmdebstrap --quiet --variant=minbase --mode=root \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
        --include=$packages bookworm "$work/tree.tar" >&2
    mv "$work/tree.tar" "$tree"
fi
root=$work/root
mkdir "$root"
tar -C "$root" -xpf "$tree"
mkdir -p "$root/root/.ssh"
chmod 700 "$root/root/.ssh"
cp "$out/user_key.pub" "$root/root/.ssh/authorized_keys"
cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$out/host_key.pub"
cat > "$root/etc/systemd/system/address.service" <<'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/take-address
[Install]
WantedBy=multi-user.target
UNIT
ln -s ../address.service "$root/etc/systemd/system/multi-user.target.wants/address.service"
cat > "$root/usr/local/sbin/take-address" <<'SCRIPT'
#!/bin/sh
address=10.0.2.15/24
for word in $(cat /proc/cmdline); do
    case $word in address=*) address=${word#address=} ;; esac
done
modprobe virtio_net
ip link set eth0 up
ip address add "$address" dev eth0
ip route add default via 10.0.2.2 || :
SCRIPT
chmod 755 "$root/usr/local/sbin/take-address"
# Two files that are equal, or the first is one ahead: whatever else is found was never on the disk at one time.
cat > "$root/usr/local/bin/write-pairs" <<'SCRIPT'
#!/bin/sh
number=100000
echo $$ > /run/write-pairs
while :; do
    number=$((number + 1))
    for file in /srv/first/number /srv/second/number; do
        echo $number | dd of=$file conv=notrunc,fdatasync status=none
    done
    echo $number > /srv/churn/$((number % 50)).new
    mv /srv/churn/$((number % 50)).new /srv/churn/$((number % 50))
    echo $number > /var/tmp/also
    sync -d /var/tmp/also
    sleep 0.2
done
SCRIPT
chmod 755 "$root/usr/local/bin/write-pairs"
cat > "$root/init" <<'SCRIPT'
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_blk ext4 dm_mod dm_snapshot; do modprobe $module; done
# The disk may take a moment to appear; a machine without one is not held up.
for _ in 1 2 3 4 5; do [ -b /dev/vda2 ] || sleep 0.3; done
if [ -b /dev/vda2 ] && lvm vgchange -ay --sysinit --noudevsync vg0; then
    lvm vgmknodes
    mount -o rw /dev/vg0/root /mnt
    mount /dev/vg0/data /mnt/srv
    for folder in dev sys proc; do mount --move /$folder /mnt/$folder; done
    exec switch_root /mnt /sbin/init
fi
umount /dev /sys /proc
exec /sbin/init
SCRIPT
chmod 755 "$root/init"
cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
rm -rf "${root:?}"/boot/* "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/perl
(cd "$root" && find . -xdev | cpio --quiet -o -H newc | zstd -q -1 -T0) > "$work/initrd"

# GPT: a file system that nobody writes, and a physical volume with root, data and room that is free.
disk=$work/disk.raw data=$work/data
truncate -s 1200M "$disk"
printf 'label: gpt\nsize=64MiB\ntype=lvm\n' | sfdisk -q "$disk"
mke2fs -q -t ext4 -F -E offset=$((1 << 20)) "$disk" 64M
mkdir -p "$data/first" "$data/second" "$data/churn"
head -c 60000000 /dev/urandom > "$data/noise"
for folder in first second; do echo 100000 > "$data/$folder/number"; done
start=$(sfdisk -J "$disk" | sed -n 's/.*"start": *\([0-9]*\).*/\1/p' | tail -n 1)
size=$(sfdisk -J "$disk" | sed -n 's/.*"size": *\([0-9]*\).*/\1/p' | tail -n 1)
loop=$(losetup -f --show -o $((start * 512)) --sizelimit $((size * 512)) "$disk")
volume() { # COMMAND...: without device-mapper, and with no other device
    lvm "$@" --devices "$loop" --driverloaded n >&2
}
volume pvcreate -q -y "$loop"
volume vgcreate -q vg0 "$loop"
volume lvcreate -q -an -Zn -Wn -y -L 512M -n root vg0
volume lvcreate -q -an -Zn -Wn -y -L 160M -n data vg0
losetup -d "$loop"
loop=
root_at=$((start * 512 + (1 << 20)))
data_at=$((root_at + (512 << 20)))
mke2fs -q -t ext4 -F -d "$root" -E offset=$root_at "$disk" 512M
mke2fs -q -t ext4 -F -d "$data" -E offset=$data_at "$disk" 160M
printf 'root %s\ndata %s\n' "$root_at" "$data_at" > "$out/volumes"
mv "$disk" "$out/disk.raw"
mv "$work/initrd" "$out/initrd"
