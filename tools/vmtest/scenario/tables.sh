# SPDX-License-Identifier: Apache-2.0
#
# Two clouds with the same addresses on one underlay address, in clear, each with a table, the
# underlay by a mark.
blue_up
kind=-tables edit='s/^key = .*/&\nprotection = "none"/;/^\[tunnel\..*\.ipsec\]/,/^$/d'
for n in $members; do
    LAN=$(lan $n).0/24 GATEWAY=$(uplink $n) in_node $n sh "$top/docs/examples/vrf/tables.sh"
done
for n in $members; do both $n "$kind" "$edit"; done
check "dmvpn names the table" shows 'red0: hub, 10\.0\.0\.1/24, up, routes in table 101' cli hub
clouds "table 101" "table 102"
for n in spoke1 spoke2 hub; do
    both_end $n
    in_node $n ip rule del fwmark 10
    in_node $n ip rule del iif lan
    in_node $n ip rule del iif lan-blue
    for t in 10 101 102; do in_node $n ip route flush table $t; done
    ip -n $n link del lan-blue
done
check "spoke1 has its underlay back" reaches spoke1 192.0.2.2
