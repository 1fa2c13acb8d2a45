#!/bin/sh
# The VRFs of a router with one uplink, eth0, and two customers. GATEWAY is the uplink's.
set -e
modprobe vrf
sysctl -q -w net.ipv6.conf.all.keep_addr_on_down=1 # a device that comes into a VRF is down for a moment
vrf() {
    ip link add "$1" type vrf table "$2"
    ip link set "$1" up
    ip route add table "$2" unreachable default metric 4278198272
    ip -6 route add table "$2" unreachable default metric 4278198272
}
vrf wan 10
vrf red 101
vrf blue 102
ip link set eth0 master wan
ip link set lan master red
ip link set lan-blue master blue
ip route add table 10 default via "$GATEWAY"
