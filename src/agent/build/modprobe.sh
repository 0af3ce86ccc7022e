#!/bin/sh
# The kernel asks for a module by one of its names: `modprobe -q -- fs-xfs`.
PATH=/bin
for name; do :; done
case $name in
    */* | .*) exit 1 ;;
    *-*) name=$(echo "$name" | tr - _) ;;
esac
[ -f "/etc/modules.asked/$name" ] || exit 1
while read -r module; do
    insmod "/lib/modules/$module" 2>/dev/null
done < "/etc/modules.asked/$name"
exit 0
