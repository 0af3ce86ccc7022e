#!/bin/sh
# Made by replant. Runs the scripts of the plan at the first start, says how they ended, and removes itself.
here=/var/lib/replant/firstboot
log=/var/log/replant-firstboot.log
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
failed=

tell() {
    echo "$1" >>"$log"
    echo "$1" >/var/lib/replant/verdict.txt
    for device in /dev/ttyS0 /dev/console; do
        if { printf '\n%s\n' "$1" >"$device"; } 2>/dev/null; then return; fi
    done
}

# A script that restarts the machine is run again, but not for ever.
tries=0
[ ! -f "$here/tries" ] || read -r tries <"$here/tries"
tries=$((tries + 1))
echo "$tries" >"$here/tries"

run() { # NAME SECONDS
    [ -f "$here/scripts/$1" ] || return 0
    if [ "$tries" -gt 5 ]; then
        failed="$failed; $1 did not end in five starts"
        return 0
    fi
    echo "== $1, start $tries" >>"$log"
    limit="timeout $2"
    command -v timeout >/dev/null 2>&1 || limit=
    if $limit "$here/scripts/$1" >>"$log" 2>&1 </dev/null; then
        echo "== $1 is done" >>"$log"
    else
        code=$?
        echo "== $1 ended with $code" >>"$log"
        failed="$failed; $1 ended with $code"
    fi
    rm -f "$here/scripts/$1"
}

