#!/bin/sh
# What runs on a machine whose disk is captured while it works:
#   look DEVICE | volumes DEVICE | give WAY DEVICE... | freeze DEVICE SECONDS | hold TAG [GROUP VOLUME BYTES]... | drop TAG
# It needs a shell, dd, stat and the usual tools. Nothing is installed and no file is written there; `freeze` holds the
# writes of the disk's file systems back and lets them go again; `hold` takes LVM snapshots and removes them again.
set -eu
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
LVM_SUPPRESS_FD_WARNINGS=1
export LC_ALL LVM_SUPPRESS_FD_WARNINGS

refuse() {
    echo "$*" >&2
    exit 3
}

# The kernel's number of a block device.
number() { # DEVICE
    numbers=$(stat -L -c '%t %T' "$1")
    printf '%d:%d' "0x${numbers% *}" "0x${numbers#* }"
}

# The kernel's folder of a block device.
folder() { # DEVICE
    echo "/sys/dev/block/$(number "$1")"
}

# What block devices are used for, each as NUMBER TYPE POINT. Btrfs has numbers of its own, so its device is looked at.
uses() {
    while read -r _ _ number _ point rest; do
        rest=${rest##* - }
        type=${rest%% *}
        from=${rest#* }
        from=${from%% *}
        case $number:$type in
            0:*:btrfs) if [ -b "$from" ]; then number=$(number "$from"); else continue; fi ;;
            0:*) continue ;;
        esac
        echo "$number $type $point"
    done </proc/self/mountinfo
    while read -r from type _; do
        if [ "$type" = partition ] && [ -b "$from" ]; then echo "$(number "$from") swap swap"; fi
    done </proc/swaps
}

# Where file systems of the disk and of its partitions are mounted.
mounts() { # FOLDER
    numbers=
    for file in "$1/dev" "$1"/*/dev; do
        if [ -r "$file" ]; then numbers="$numbers $(cat "$file")"; fi
    done
    uses | while read -r number type point; do
        case " $numbers " in
            *" $number "*) [ "$type" = swap ] || echo "$point" ;;
        esac
    done | sort -u
}

look() { # DEVICE
    [ "$(uname -s)" = Linux ] || refuse "it runs $(uname -s), not Linux"
    [ -r "$1" ] || refuse "$1 is not there, or $(id -un) may not read it"
    echo "boot $(cat /proc/sys/kernel/random/boot_id)"
    if [ -b "$1" ]; then
        sys=$(folder "$1")
        echo "size $(($(cat "$sys/size") * 512))"
        # Sectors that were written since the device came up.
        read -r _ _ _ _ _ _ written _ <"$sys/stat"
        echo "written $written"
        mounts "$sys" | sed 's/^/mount /'
    elif [ -f "$1" ]; then
        echo "size $(stat -L -c %s "$1")"
        echo "written $(stat -L -c '%y %z' "$1")"
    else
        refuse "$1 is neither a block device nor a file"
    fi
    # Past the page cache: what lies there may be older than what file systems have written since.
    if dd if="$1" of=/dev/null iflag=direct bs=65536 count=1 2>/dev/null; then
        echo "way direct"
    else
        echo "way cached"
    fi
}

# A table of LVM without its indentation.
table() { # COMMAND FIELDS [WHICH]
    lvm "$1" --noheadings --separator '|' --units b --nosuffix -o "$2" ${3:+"$3"} | sed 's/^ *//'
}

# The partitions of a disk, what is written to them and to volumes, what they are used for, and what LVM has there.
volumes() { # DEVICE
    [ -b "$1" ] || return 0
    sys=$(folder "$1")
    echo "part $(cat "$sys/dev") 0 $(cat "$sys/size") $1"
    for file in "$sys"/*/partition; do
        [ -r "$file" ] || continue
        part=${file%/partition}
        echo "part $(cat "$part/dev") $(cat "$part/start") $(cat "$part/size") /dev/${part##*/}"
    done
    for part in "$sys" "$sys"/* /sys/block/dm-*; do
        if [ -r "$part/dev" ] && [ -r "$part/stat" ]; then
            read -r _ _ _ _ _ _ written _ <"$part/stat"
            echo "writes $(cat "$part/dev") $written"
        fi
    done
    uses | sed 's/^/use /'
    if ! command -v lvm >/dev/null; then
        echo "lvm it has no LVM tools (package lvm2)"
        return 0
    fi
    table pvs vg_name,pv_name,pe_start,vg_extent_size,pv_pe_count,vg_free | while IFS='|' read -r group pv rest; do
        if [ -n "$group" ] && [ -b "$pv" ]; then echo "pv $(number "$pv")|$group|$pv|$rest"; fi
    done
    fields=vg_name,lv_name,lv_attr,lv_tags,lv_size,segtype,seg_start,seg_size,seg_pe_ranges,lv_kernel_major,lv_kernel_minor,snap_percent
    table lvs "$fields" --segments | sed 's/^/seg /'
}

# Answers each line "NUMBER SKIP COUNT RECORDS SIZE", in blocks of SIZE, with bytes of that device; RECORDS is what dd says
# of them.
give() { # WAY DEVICE...
    flags=
    [ "$1" = cached ] || flags=iflag=direct
    shift
    exec 3>&1
    while read -r number skip count records size; do
        eval "device=\${$number}"
        # shellcheck disable=SC2154 # the line before has set it
        [ -r "$device" ] || refuse "$device is not there, or $(id -un) may not read it"
        # shellcheck disable=SC2086 # no flags are no word
        said=$(dd if="$device" bs="$size" skip="$skip" count="$count" $flags 2>&1 >&3) || refuse "$said"
        case $said in
            "$records records in"*) ;;
            *) refuse "$device gave less than there was: $said" ;;
        esac
    done
}

# Removes the snapshots that carry a tag of ours, and says which.
drop() { # TAG
    command -v lvm >/dev/null || return 0
    table lvs vg_name,lv_name,lv_attr "@$1" | while IFS='|' read -r group name attributes; do
        case $name:$attributes in
            replant_*:[sS]*) ;;
            *) continue ;;
        esac
        tries=0
        # Somebody may look at it for a moment, such as udev.
        until said=$(lvm lvremove --autobackup n --quiet --force "$group/$name" 2>&1); do
            tries=$((tries + 1))
            [ $tries -lt 10 ] || refuse "the snapshot $group/$name cannot be removed: $said"
            sleep 1 >/dev/null 2>&1
        done
        echo "removed $group $name"
    done
}

unhold() {
    trap - EXIT
    [ -z "$watch" ] || kill "$watch" 2>/dev/null || :
    drop "$tag" >/dev/null || exit 3
}

# Takes snapshots, says "held", and removes them when the connection ends. Says from time to time how full they are.
hold() { # TAG [GROUP VOLUME BYTES]...
    tag=$1 watch=
    shift
    exec 3<&0
    trap unhold EXIT
    trap 'exit 0' HUP INT TERM PIPE
    while [ $# -gt 0 ]; do
        said=$(lvm lvcreate --yes --quiet --autobackup n --snapshot --permission r --addtag "$tag" --size "$3b" \
            --name "replant_$2" "$1/$2" 2>&1 3<&-) || refuse "no snapshot of $1/$2 can be taken: $said"
        [ -b "/dev/$1/replant_$2" ] || refuse "the snapshot of $1/$2 did not appear at /dev/$1/replant_$2"
        shift 3
    done
    echo held
    # A connection that is dead is noticed by what is sent over it.
    while sleep 10 >/dev/null 2>&1; do table lvs vg_name,lv_name,snap_percent "@$tag"; done 3<&- &
    watch=$!
    cat <&3 >/dev/null &
    wait $! || :
}

release() {
    trap - EXIT
    for point in $frozen; do
        fsfreeze -u "$point" || echo "$point stays frozen: fsfreeze -u $point" >&2
    done
    frozen=
}

# Says "frozen" and lets go when the connection ends, or after so many seconds.
freeze() { # DEVICE SECONDS
    command -v fsfreeze >/dev/null || refuse "it has no fsfreeze (package util-linux)"
    [ -b "$1" ] || refuse "$1 is a file: its file systems cannot be frozen"
    frozen=
    points=$(mounts "$(folder "$1")")
    for point in $points; do
        case $point in
            / | /usr | /usr/* | /var | /var/log | /var/tmp | /etc | /tmp | /run | /run/* | /home | /root | *\\*)
                refuse "$point is on $1, and a running machine cannot do without writing it"
                ;;
        esac
    done
    exec 3<&0
    trap release EXIT
    trap 'exit 0' HUP INT TERM
    # Whatever happens to the connection.
    (sleep "$2" && kill $$) >/dev/null 2>&1 </dev/null 3<&- &
    timer=$!
    for point in $points; do
        fsfreeze -f "$point" || refuse "$point cannot be frozen"
        frozen="$point $frozen"
    done
    echo frozen
    cat <&3 >/dev/null &
    wait $! || :
    kill "$timer" 2>/dev/null || :
}

"$@"
