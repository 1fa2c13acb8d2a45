#!/bin/sh
# The same without VRFs: outer packets, which bear the mark 10, have table 10, red 101 and blue
# 102. GATEWAY is the uplink's, LAN both customers' network here.
set -e
ip route add table 10 default via "$GATEWAY"
ip rule add fwmark 10 lookup 10
customer() {
    ip route add table "$2" "$LAN" dev "$1"
    ip route add table "$2" unreachable default metric 4278198272
    ip rule add iif "$1" lookup "$2"
}
customer lan 101
customer lan-blue 102
