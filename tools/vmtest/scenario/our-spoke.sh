# SPDX-License-Identifier: Apache-2.0
#
# Our spoke1 in a cloud of FRR: hub and spoke2. It registers, is told of the
# shorter way, resolves it, answers FRR's resolution request for its own site,
# and drops an unused shortcut.
frr hub
frr spoke2
ours spoke1
attached spoke1
within 60 "our spoke is registered with FRR" shows "10\.0\.0\.11 .*198\.51\.100\.11" vty hub show ip nhrp
within 60 "spoke2 is registered" shows "10\.0\.0\.12 .*203\.0\.113\.22" vty hub show ip nhrp
within 30 "our spoke says so" shows "192\.0\.2\.2 +10\.0\.0\.1 +0 +up" cli spoke1 nhs
check "the NHS's prefix is routed by the tunnel" shows "10\.10\.0\.0/16 via 10\.0\.0\.1 dev dmvpn0 proto 54" in_node spoke1 ip route

within 20 "lan1 reaches the hub's site" reaches lan1 10.10.0.100
check "the hub's site reaches lan1: 20 pings, none lost" all_arrive lanh 10.10.1.100 20
check "lan1 and lan2: none lost while the way becomes shorter" all_arrive lan1 10.10.2.100 40
within 30 "our spoke took the shortcut" shows "10\.10\.2\.0/24 via 10\.0\.0\.12 dev dmvpn0 proto 54" in_node spoke1 ip route
within 30 "FRR on spoke2 took the shortcut that we answered" shows "10\.10\.1\.0/24.*nhrp" in_node spoke2 ip route
within 20 "the hub is out of the way" direct
check "traceroute shows two spokes and no hub" hops lan1 10.10.2.100 3
check "dmvpn lists the shortcut" shows "10\.10\.2\.0/24" cli spoke1 shortcut
check "TCP both ways with FRR's GRE on the other side" tcp_both lan1 lan2 10.10.2.100
check "100 pings with 1,300 octets on the shortcut" all_arrive lan1 10.10.2.100 100 -s 1300

# Idle for 12 s it goes, and what comes then crosses the hub without loss.
within 90 "the unused shortcut expires" lacks "10\.10\.2\.0/24" in_node spoke1 ip route show proto 54
check "lan1 and lan2: none lost when the traffic comes back" all_arrive lan1 10.10.2.100 20

# The hub's holding time runs from the last registration: ours renews it.
sleep 15
check "our spoke is still registered" shows "10\.0\.0\.11 .*198\.51\.100\.11" vty hub show ip nhrp
ours_end spoke1
frr_end spoke2
frr_end hub
