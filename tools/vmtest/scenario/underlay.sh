# SPDX-License-Identifier: Apache-2.0
#
# Everything goes through the tunnel, by a default route, but the outer packets:
# those of spoke1 have a VRF with its own table, those of spoke2 a mark and a rule.
modprobe vrf
in_node spoke1 ip link add wan type vrf table 100
in_node spoke1 ip link set wan up
in_node spoke1 ip link set eth0 master wan
in_node spoke1 ip route add default via 198.51.100.1 table 100
in_node spoke2 ip route del default
in_node spoke2 ip route add default via 203.0.113.1 table 100
in_node spoke2 ip rule add fwmark 100 lookup 100
in_node lanh ip address add 192.168.99.1/32 dev lo
in_node hub ip route add 192.168.99.1 via 10.10.0.100

ours hub
routes=0.0.0.0/0
underlay='{ device = "eth0", vrf = "wan" }' ours spoke1
underlay='{ device = "eth0", mark = 100 }' ours spoke2
routes=
within 60 "spoke1, in a VRF, is registered" shows "10\.0\.0\.11.*198\.51\.100\.11" cli hub nhrp
within 60 "spoke2, with a mark, is registered" shows "10\.0\.0\.12.*203\.0\.113\.22" cli hub nhrp
for n in spoke1 spoke2; do
    check "$n's default route is the tunnel" shows "default via 10\.0\.0\.1 dev dmvpn0 proto 54" in_node $n ip route
    check "$n reports no recursion" lacks recursion cli $n
    check "what is behind $n reaches the world behind the hub" all_arrive "$(lanhost $n)" 192.168.99.1 20
done
check "dmvpn names the VRF" shows "VRF wan" cli spoke1
check "lan1 and lan2: none lost while the way becomes shorter" all_arrive lan1 10.10.2.100 40
within 30 "spoke1 took the shortcut" shows "10\.10\.2\.0/24 via 10\.0\.0\.12 dev dmvpn0" in_node spoke1 ip route show proto 54
within 30 "spoke2 took the shortcut" shows "10\.10\.1\.0/24 via 10\.0\.0\.11 dev dmvpn0" in_node spoke2 ip route show proto 54
within 20 "the hub is out of the way" direct
check "TCP both ways on the shortcut" tcp_both lan1 lan2 10.10.2.100
for n in spoke1 spoke2 hub; do ours_end $n; done

in_node lanh ip address del 192.168.99.1/32 dev lo
in_node hub ip route del 192.168.99.1
in_node spoke2 ip rule del fwmark 100 lookup 100
in_node spoke2 ip route del default table 100
in_node spoke2 ip route add default via 203.0.113.1
in_node spoke1 ip link del wan
in_node spoke1 ip route add default via 198.51.100.1
check "spoke1 has its underlay back" reaches spoke1 192.0.2.2
check "spoke2 has its underlay back" reaches spoke2 192.0.2.2
