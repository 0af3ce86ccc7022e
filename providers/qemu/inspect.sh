#!/bin/sh
# Boots the agent with disks that somebody wants to know about. Nothing is written to them: what the agent's kernel
# replays of a journal goes to a temporary file of QEMU's.
# usage: start.sh agent KERNEL INITRD CMDLINE; the disks stand in `disks`, a line each: FORMAT PATH
set -eu
cd "${0%/*}"
[ "${1:-}" = agent ] && [ $# -eq 4 ] || exit 64
kernel=$2 initrd=$3 words=$4
set --
number=0
while read -r format path; do
  # A comma in a file's name is doubled for QEMU.
  escaped=$(printf '%s' "$path" | sed 's/,/,,/g')
  set -- "$@" -drive "if=none,id=disk$number,format=$format,file=$escaped,snapshot=on,file.locking=off" \
    -device "virtio-blk-pci,drive=disk$number,serial=disk$number"
  number=$((number + 1))
done <disks
exec qemu-system-x86_64 -accel tcg,tb-size=256 -machine pc -m 768 -nodefaults -display none -daemonize -no-reboot \
  -pidfile qemu.pid -qmp unix:qmp.sock,server=on,wait=off \
  -chardev socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log -serial chardev:console \
  -kernel "$kernel" -initrd "$initrd" -append "$words" \
  -netdev user,id=agent,ipv6=off -device virtio-net-pci,netdev=agent,romfile= -device virtio-rng-pci "$@"
