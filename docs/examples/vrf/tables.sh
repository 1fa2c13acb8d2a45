#!/bin/sh
# The same without VRFs: outer packets, which bear the mark 10, have table 10, red 101 and blue
# 102. What comes from a customer bears its table's number, and what this machine says to it, too.
# GATEWAY is the uplink's, LAN both customers' network here, LAN6 the one of IPv6, if they have any.
set -e
ip route add table 10 default via "$GATEWAY"
ip rule add fwmark 10 lookup 10
sysctl -q -w net.ipv4.fwmark_reflect=1 net.ipv4.tcp_fwmark_accept=1 net.ipv6.fwmark_reflect=1
customer() {
    for family in 4 6; do
        ip -$family rule add fwmark "$2" lookup "$2"
        ip -$family route add table "$2" unreachable default metric 4278198272
    done
    ip route add table "$2" "$LAN" dev "$1"
    [ -z "$LAN6" ] || ip route add table "$2" "$LAN6" dev "$1"
}
customer lan 101
customer lan-blue 102
nft -f - <<N
table inet customers {
    chain prerouting {
        type filter hook prerouting priority mangle;
        iifname { "lan", "red0" } meta mark set 101
        iifname { "lan-blue", "blue0" } meta mark set 102
    }
}
N
