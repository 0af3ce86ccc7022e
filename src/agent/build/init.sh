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
# What is there, by PCI and by ACPI, and the drivers that have been waiting for it.
there=$(sed -n 's/^pci:\(v.\{8\}d.\{8\}\).*/\1/p' /sys/bus/pci/devices/*/modalias 2>/dev/null
    cat /sys/bus/acpi/devices/*/hid 2>/dev/null)
found=" $(grep -wF "$there" /etc/modules.devices | cut -d ' ' -f 2 | tr '\n' ' ') "
while read -r module waits; do
    if [ -n "$waits" ]; then
        case $found in *" $module "*) ;; *) continue ;; esac
    fi
    insmod "/lib/modules/$module" 2>/dev/null
done < /etc/modules.order

# The adapter that the machine has booted from, if it is known; the others in the kernel's order.
booted=
shell=
for word in $(cat /proc/cmdline); do
    case $word in
        BOOTIF=*) booted=$(echo "${word#BOOTIF=01-}" | tr - :) ;;
        replant.shell) shell=yes ;;
    esac
done
adapters() {
    first=
    rest=
    for path in /sys/class/net/*; do
        name=${path##*/}
        [ "$name" = lo ] && continue
        if [ "$(cat "$path/address")" = "$booted" ]; then first="$name $first"; else rest="$rest $name"; fi
    done
    echo "$first$rest"
}

ip link set lo up
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    nics=$(adapters)
    [ -n "$nics" ] && break
    sleep 0.2
done
address=
for nic in $nics; do
    ip link set "$nic" up
done
for nic in $nics; do
    # It stays to renew the lease: an agent may work for days.
    if udhcpc -n -t 10 -T 1 -i "$nic" -s /bin/udhcpc-event >/dev/null 2>&1; then
        address=$(cat /run/address 2>/dev/null)
        break
    fi
    say "no DHCP answer on $nic"
done
if [ -n "$nics" ]; then
    [ -n "$address" ] || nic=${nics%% *}
    say "machine $(cat /sys/class/dmi/id/product_uuid 2>/dev/null) nic $nic $(cat "/sys/class/net/$nic/address") address $address"
else
    say "no network adapter has a driver here"
fi

replant agent run 2>&1
code=$?
sync
if [ $code -eq 0 ]; then
    say "done, power off"
elif [ $code -eq 76 ]; then
    say "restart"
    busybox reboot -f
else
    say "FAILED (exit $code), see the last error above"
    # Only a boot order that allows it opens a shell: whoever stands before the machine has its disks in it.
    if [ -n "$shell" ]; then
        say "a shell, because the plan allows one; \`poweroff -f\` ends it"
        exec setsid sh -c 'exec sh </dev/console >/dev/console 2>&1'
    fi
    say "power off in 30 seconds"
    sleep 30
fi
poweroff -f
