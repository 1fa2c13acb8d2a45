# SPDX-License-Identifier: Apache-2.0
#
# Our hub serves two spokes that run FRR: they register with it, it forwards
# between their sites, tells them of the shorter way, and forwards their
# resolution requests to each other. FRR 8.4 has no authentication and no
# purge, and its spokes register their host address alone: the hub has static
# routes to their sites.
ours hub
attached hub
in_node hub ip route add 10.10.1.0/24 via 10.0.0.11 dev dmvpn0 onlink
in_node hub ip route add 10.10.2.0/24 via 10.0.0.12 dev dmvpn0 onlink
frr spoke1
frr spoke2
within 60 "spoke1 (FRR, static NHS) is registered" shows "10\.0\.0\.11.*198\.51\.100\.11" cli hub nhrp
within 60 "spoke2 (FRR, dynamic NHS) is registered" shows "10\.0\.0\.12.*203\.0\.113\.22" cli hub nhrp
within 30 "FRR calls us its NHS" shows "nhs +10\.0\.0\.1 +192\.0\.2\.2" vty spoke1 show ip nhrp
within 30 "FRR has learned its NHS's address from us" shows "nhs +10\.0\.0\.1 +192\.0\.2\.2" vty spoke2 show ip nhrp
check "bpftool prints the tunnel's fields" shows "underlay_ifindex" in_node hub bpftool map dump pinned /sys/fs/bpf/dmvpn/default/dmvpn_tunnel

# To the hub's own site nothing is ever shorter.
within 20 "lanh reaches lan1" reaches lanh 10.10.1.100
check "lanh and lan1: 20 pings, none lost" all_arrive lanh 10.10.1.100 20
check "lan1 and lanh: 1,300 octets, none lost" all_arrive lan1 10.10.0.100 10 -s 1300
check "TCP both ways with FRR's GRE on the other side" tcp_both lanh lan1 10.10.1.100

# The first packets between the spokes cross the hub, and start the resolution.
check "lan1 and lan2: none lost while the way becomes shorter" all_arrive lan1 10.10.2.100 40
within 30 "FRR on spoke1 took the shortcut" shows "10\.10\.2\.0/24.*nhrp" in_node spoke1 ip route
within 30 "FRR on spoke2 took the shortcut" shows "10\.10\.1\.0/24.*nhrp" in_node spoke2 ip route
within 20 "the hub is out of the way" direct
check "traceroute shows two spokes and no hub" hops lan1 10.10.2.100 3

# Unused, the shortcuts of FRR end with their holding time, 30 s.
within 90 "FRR's shortcut expires" lacks "10\.10\.2\.0/24.*nhrp" in_node spoke1 ip route
check "lan1 reaches lan2 without it" reaches lan1 10.10.2.100

# A spoke that is gone without a word is forgotten when its holding time is over.
pid=$(in_node spoke2 cat /run/frr/nhrpd.pid)
kill -9 "$pid"
within 90 "the hub forgets a spoke that does not renew" lacks "10\.0\.0\.12.*203\.0\.113\.22" cli hub nhrp
check "spoke1 is still registered" shows "10\.0\.0\.11.*198\.51\.100\.11" cli hub nhrp
check "the hub has dropped nothing for want of a peer" lacks no-nexthop cli hub drops
check "nobody is 10.0.0.99" not reaches lanh 10.0.0.99
within 10 "the hub counts what it dropped, by its reason" shows no-nexthop cli hub drops
frr_end spoke1
frr_end spoke2
ours_end hub
