#!/bin/sh
# The agent's first process: drivers, network, then `replant agent run` as the boot order says, then power off.
export PATH=/bin
export HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run
say() { echo "replant-agent: $*"; }

say "$(cat /etc/replant-agent), kernel $(uname -r)"
while read -r module; do
    insmod "/lib/modules/$module" 2>/dev/null
done < /etc/modules.order

ip link set lo up
nic=
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for path in /sys/class/net/*; do
        case ${path##*/} in lo) ;; *) nic=${path##*/}; break ;; esac
    done
    [ -n "$nic" ] && break
    sleep 0.2
done
if [ -n "$nic" ]; then
    ip link set "$nic" up
    udhcpc -q -n -f -t 10 -T 1 -i "$nic" -s /bin/udhcpc-event >/dev/null 2>&1 || say "no DHCP answer on $nic"
    say "machine $(cat /sys/class/dmi/id/product_uuid 2>/dev/null) nic $nic $(cat "/sys/class/net/$nic/address") address $(cat /run/address 2>/dev/null)"
else
    say "no network adapter has a driver here"
fi

replant agent run 2>&1
code=$?
sync
if [ $code -eq 0 ]; then
    say "done, power off"
elif [ $code -eq 76 ]; then
    say "released, restart"
    busybox reboot -f
else
    say "FAILED (exit $code), see the last error above; power off"
fi
for word in $(cat /proc/cmdline); do
    [ "$word" = replant.hold ] && { say "replant.hold: a shell instead"; exec setsid sh -c 'exec sh </dev/console >/dev/console 2>&1'; }
done
poweroff -f
