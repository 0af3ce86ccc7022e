#!/bin/sh
# What runs on a machine whose disk is captured while it works: look DEVICE | read DEVICE WAY | freeze DEVICE SECONDS.
# It needs a shell, dd, stat and the usual tools. Nothing is installed and no file is written there; `freeze` holds the
# writes of the disk's file systems back and lets them go again.
set -eu
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export LC_ALL

refuse() {
    echo "$*" >&2
    exit 3
}

# The kernel's folder of a block device.
folder() { # DEVICE
    numbers=$(stat -L -c '%t %T' "$1")
    echo "/sys/dev/block/$(printf '%d:%d' "0x${numbers% *}" "0x${numbers#* }")"
}

# Where file systems of the disk and of its partitions are mounted.
mounts() { # FOLDER
    numbers=
    for file in "$1/dev" "$1"/*/dev; do
        if [ -r "$file" ]; then numbers="$numbers $(cat "$file")"; fi
    done
    while read -r _ _ number _ point _; do
        case " $numbers " in
            *" $number "*) echo "$point" ;;
        esac
    done </proc/self/mountinfo | sort -u
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

# Answers each line "SKIP COUNT RECORDS", in blocks of 64 KiB, with the bytes; RECORDS is what dd says of them.
give() { # DEVICE WAY
    flags=
    [ "$2" = cached ] || flags=iflag=direct
    exec 3>&1
    while read -r skip count records; do
        # shellcheck disable=SC2086 # no flags are no word
        said=$(dd if="$1" bs=65536 skip="$skip" count="$count" $flags 2>&1 >&3) || refuse "$said"
        case $said in
            "$records records in"*) ;;
            *) refuse "$1 gave less than there was: $said" ;;
        esac
    done
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
