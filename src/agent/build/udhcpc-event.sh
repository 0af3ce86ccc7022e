#!/bin/sh
# Called by udhcpc with the lease in its environment.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace "$ip/${mask:-24}" dev "$interface"
for router in $router; do
    ip route replace default via "$router" && break
done
echo "$ip" > /run/address
