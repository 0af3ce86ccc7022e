#!/bin/sh
# What `replant agent kexec` runs on a machine over ssh, a step at a time: probe | put NAME SHA256 | load | go.
# Files lie in memory (/dev/shm or /run), never on a disk of the machine.
set -eu
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

refuse() {
    echo "$*" >&2
    exit 3
}

folder() {
    for base in /dev/shm /run; do
        if [ -d "$base" ] && [ -w "$base" ]; then
            echo "$base/replant-kexec"
            return
        fi
    done
    refuse "neither /dev/shm nor /run can be written"
}

probe() {
    [ "$(uname -s)" = Linux ] || refuse "it runs $(uname -s), not Linux"
    [ "$(uname -m)" = x86_64 ] || refuse "it is $(uname -m), and the agent is x86_64"
    [ "$(id -u)" = 0 ] || refuse "$(id -un) is not root there: log in as root"
    command -v kexec >/dev/null || refuse "it has no kexec: install the package kexec-tools there"
    disabled=$(cat /proc/sys/kernel/kexec_load_disabled 2>/dev/null || echo absent)
    [ "$disabled" = 0 ] || refuse "its kernel does not allow kexec (kernel.kexec_load_disabled: $disabled)"
    case $(cat /sys/kernel/security/lockdown 2>/dev/null || echo none) in
        *'[integrity]'* | *'[confidentiality]'*) refuse "its kernel is locked down (Secure Boot): boot the agent another way" ;;
    esac
    free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    [ "$free" -ge 160 ] || refuse "it has $free MiB of free memory, and the agent's files and kernel need 160"
    echo "kernel: $(uname -r)"
    if [ -d /run/systemd/system ]; then echo "way: systemd"; else echo "way: plain"; fi
}

put() {
    dir=$(folder)
    umask 077
    mkdir -p "$dir"
    cat >"$dir/$1"
    found=$(sha256sum "$dir/$1" | cut -d' ' -f1)
    [ "$found" = "$2" ] || refuse "$1 arrived damaged: sha256 $found instead of $2"
}

load() {
    dir=$(folder)
    line=$(cat)
    kexec -l "$dir/vmlinuz" --initrd="$dir/agent.img" --command-line="$line" >/dev/null ||
        refuse "its kernel did not take the agent: kexec -l failed"
    rm -f "$dir/vmlinuz" "$dir/agent.img"
    rmdir "$dir" 2>/dev/null || true
    [ "$(cat /sys/kernel/kexec_loaded 2>/dev/null || echo 1)" = 1 ] || refuse "its kernel did not keep the agent"
}

go() {
    # After this connection is gone: services end and file systems are unmounted where systemd does it, else all is
    # written out and made read-only first.
    if [ -d /run/systemd/system ]; then
        (sleep 1; systemctl kexec) >/dev/null 2>&1 </dev/null &
    else
        (sleep 1; sync; echo s >/proc/sysrq-trigger; echo u >/proc/sysrq-trigger; sleep 1; kexec -e) >/dev/null 2>&1 </dev/null &
    fi
}

"$@"
