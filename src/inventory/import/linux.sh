#!/bin/sh
# What is known of this Linux machine, for `replant inventory import`. Reads only; needs nothing but a shell and what
# every Linux has. Run it as root for serial numbers and all services: `sh THIS > web01.txt`, or through ssh:
# `ssh root@web01 sh -s < THIS > web01.txt`. Takes no passwords, no keys, no arguments of commands.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL PATH
set +e

section() { printf '= %s\n' "$1"; }
quoted() { sed 's/^/| /' 2>/dev/null; }
value() { if [ -r "$1" ]; then tr -d '\000' < "$1" 2>/dev/null | head -n 1 | tr -d '\n\t'; fi; }
link() { l=$(readlink "$1" 2>/dev/null) && printf '%s' "${l##*/}"; }
have() { command -v "$1" >/dev/null 2>&1; }

echo 'replant-linux-inventory 1'
section time; date -u +%s | quoted
section uname; { uname -s; uname -r; uname -m; } | quoted
section hostname; { if [ -r /proc/sys/kernel/hostname ]; then cat /proc/sys/kernel/hostname; else uname -n; fi; } | quoted
section domain; value /proc/sys/kernel/domainname | quoted; echo
section os-release; { cat /etc/os-release || cat /usr/lib/os-release; } 2>/dev/null | quoted
section redhat-release; head -n 1 /etc/redhat-release 2>/dev/null | quoted
section language; { cat /etc/default/locale /etc/locale.conf; } 2>/dev/null | grep '^LANG=' | quoted
section timezone; { cat /etc/timezone || readlink /etc/localtime; } 2>/dev/null | head -n 1 | quoted
section uptime; value /proc/uptime | quoted; echo
section selinux; value /sys/fs/selinux/enforce | quoted; echo
section cpuinfo
sed -n '/^processor/p;/^vendor_id/p;/^model name/p;/^physical id/p;/^cpu cores/p;/^cpu MHz/p' /proc/cpuinfo 2>/dev/null | quoted
section cpu-mhz; { value /sys/devices/system/cpu/cpu0/cpufreq/base_frequency || value /sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq; } | quoted; echo
section meminfo; sed -n '/^MemTotal/p;/^SwapTotal/p' /proc/meminfo 2>/dev/null | quoted
section hypervisor; { grep -q '^flags.* hypervisor' /proc/cpuinfo && echo flag; value /sys/hypervisor/type; } 2>/dev/null | quoted; echo
section dmi
for name in sys_vendor product_name product_version product_serial product_uuid bios_vendor bios_version chassis_type board_name; do
    printf '%s\t%s\n' "$name" "$(value "/sys/class/dmi/id/$name")"
done | quoted
section firmware; if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi | quoted
section secure-boot
for file in /sys/firmware/efi/efivars/SecureBoot-*; do
    if [ -r "$file" ]; then od -An -t u1 "$file" 2>/dev/null; fi
done | quoted
section tpm; ls /sys/class/tpm 2>/dev/null | quoted
section pci
for d in /sys/bus/pci/devices/*; do
    [ -d "$d" ] || continue
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "${d##*/}" "$(value "$d/vendor")" "$(value "$d/device")" \
        "$(value "$d/subsystem_vendor")" "$(value "$d/subsystem_device")" "$(value "$d/class")" "$(link "$d/driver")"
done | quoted
section usb
for d in /sys/bus/usb/devices/*; do
    [ -r "$d/idVendor" ] || continue
    classes=$(for i in "$d"/*:*; do value "$i/bInterfaceClass"; printf ','; value "$i/bInterfaceProtocol"; printf ' '; done)
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "${d##*/}" "$(value "$d/idVendor")" "$(value "$d/idProduct")" \
        "$(value "$d/bDeviceClass")" "$(value "$d/manufacturer")" "$(value "$d/product")" "$classes"
done | quoted
section block
for d in /sys/block/*; do
    name=${d##*/}
    case $name in loop* | ram* | zram* | nbd*) continue ;; esac
    [ -r "$d/size" ] || continue
    slaves=$(for s in "$d"/slaves/*; do [ -e "$s" ] && printf '%s ' "${s##*/}"; done)
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$(value "$d/size")" "$(value "$d/removable")" \
        "$(value "$d/queue/rotational")" "$(value "$d/queue/logical_block_size")" "$(value "$d/device/vendor")" \
        "$(value "$d/device/model")" "$(value "$d/device/serial")$(value "$d/serial")" "$(readlink "$d" 2>/dev/null)" \
        "$(value "$d/dm/name")" "$(value "$d/dm/uuid")$(value "$d/md/level")" "$slaves"
    for p in "$d"/*; do
        [ -r "$p/partition" ] || continue
        printf '+%s\t%s\t%s\t%s\t%s\n' "${p##*/}" "$name" "$(value "$p/partition")" "$(value "$p/start")" "$(value "$p/size")"
    done
done | quoted
section wwn; ls -l /dev/disk/by-id 2>/dev/null | sed -n 's/.* \([^ ]*\) -> .*\/\([^/]*\)$/\1\t\2/p' | quoted
section uuid; ls -l /dev/disk/by-uuid 2>/dev/null | sed -n 's/.* \([^ ]*\) -> .*\/\([^/]*\)$/\1\t\2/p' | quoted
section label; ls -l /dev/disk/by-label 2>/dev/null | sed -n 's/.* \([^ ]*\) -> .*\/\([^/]*\)$/\1\t\2/p' | quoted
section blkid
if have lsblk; then lsblk -rno KNAME,FSTYPE,PTTYPE 2>/dev/null | tr ' ' '\t' | quoted; fi
section mounts; sed -n 's/^\(\/dev\/[^ ]*\) \([^ ]*\) \([^ ]*\) .*/\1\t\2\t\3/p' /proc/mounts 2>/dev/null | quoted
section swaps; sed -n 's/^\(\/dev\/[^ \t]*\).*/\1/p' /proc/swaps 2>/dev/null | quoted
section space
# A dead network file system must not hang this script.
if have timeout; then timeout 20 df -P -k -l; else df -P -k; fi 2>/dev/null | sed -n '/^\/dev\//p' | quoted
section net
for d in /sys/class/net/*; do
    n=${d##*/}
    [ "$n" != lo ] || continue
    [ -r "$d/address" ] || continue
    kind=
    if [ -d "$d/bonding" ]; then kind=bond; fi
    if [ -d "$d/bridge" ]; then kind=bridge; fi
    if [ -d "$d/wireless" ] || [ -d "$d/phy80211" ]; then kind=wireless; fi
    if [ -e "/proc/net/vlan/$n" ]; then kind=vlan; fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$n" "$(value "$d/address")" "$(value "$d/type")" \
        "$(value "$d/speed" 2>/dev/null)" "$(value "$d/operstate")" "$kind" "$(value "$d/device/vendor")" \
        "$(value "$d/device/device")" "$(link "$d/device/driver")" "$(value "$d/bonding/slaves" 2>/dev/null)"
done | quoted
section bond-address; for f in /proc/net/bonding/*; do [ -r "$f" ] && sed -n 's/^Slave Interface: /i /p;s/^Permanent HW addr: /a /p' "$f"; done | quoted
section addresses; if have ip; then ip -o addr show 2>/dev/null | quoted; fi
section routes; if have ip; then { ip -o route show default; ip -o -6 route show default; } 2>/dev/null | quoted; fi
section resolv; sed -n '/^nameserver/p' /etc/resolv.conf 2>/dev/null | quoted
section services
if have systemctl; then systemctl list-unit-files --type=service --no-legend --no-pager --full 2>/dev/null | quoted; fi
section running
if have systemctl; then systemctl list-units --type=service --state=running --no-legend --no-pager --full --plain 2>/dev/null | quoted; fi
section init; ls /etc/init.d 2>/dev/null | quoted
section modules; cut -d ' ' -f 1 /proc/modules 2>/dev/null | quoted
section cron; ls /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly 2>/dev/null | quoted
section packages
if have dpkg-query; then
    dpkg-query -W -f '${Package}\t${Version}\t${Status}\n' 2>/dev/null | grep 'ok installed$' | quoted
elif have rpm; then
    rpm -qa --qf '%{NAME}\t%{VERSION}-%{RELEASE}\t%{VENDOR}\n' 2>/dev/null | quoted
elif have apk; then
    apk info -v 2>/dev/null | quoted
fi
section end
