#!/bin/sh
# Builds a Debian that runs from memory and can be reached over ssh by one key: kernel, initrd with the whole system, key.
#
#   make-running-guest.sh OUTDIR      OUTDIR/vmlinuz, OUTDIR/initrd, OUTDIR/user_key
#
# Needs root, mmdebstrap, cpio and zstd, and the distribution's package mirror.
set -eu
[ $# -eq 1 ] || { echo "usage: make-running-guest.sh OUTDIR" >&2; exit 64; }
out=$1
mkdir -p "$out"
work=$(mktemp -d "$out/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
rm -f "$out/user_key" "$out/user_key.pub"
ssh-keygen -q -t ed25519 -N '' -f "$out/user_key"
mmdebstrap --quiet --variant=minbase --mode=root \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
    --include=systemd-sysv,udev,kmod,iproute2,dbus,openssh-server,kexec-tools,linux-image-cloud-amd64 \
    bookworm "$work/root" >&2
root=$work/root
mkdir -p "$root/root/.ssh"
chmod 700 "$root/root/.ssh"
cp "$out/user_key.pub" "$root/root/.ssh/authorized_keys"
cat > "$root/etc/systemd/system/address.service" <<'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'modprobe virtio_net; ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2'
[Install]
WantedBy=multi-user.target
UNIT
ln -s ../address.service "$root/etc/systemd/system/multi-user.target.wants/address.service"
ln -s sbin/init "$root/init"
cp "$root"/boot/vmlinuz-* "$out/vmlinuz"
rm -rf "$root"/boot/* "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/perl
(cd "$root" && find . -xdev | cpio --quiet -o -H newc | zstd -q -1 -T0) > "$work/initrd"
mv "$work/initrd" "$out/initrd"
