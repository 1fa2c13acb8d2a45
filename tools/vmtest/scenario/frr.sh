# SPDX-License-Identifier: Apache-2.0
#
# FRR alone, with the same static routes: what fails here is the lab's fault.
for n in hub spoke1 spoke2; do frr $n; done
within 60 "spoke1 is registered" shows "10.0.0.11 .*198.51.100.11" vty hub show ip nhrp
within 60 "spoke2 is registered" shows "10.0.0.12 .*203.0.113.22" vty hub show ip nhrp
within 30 "lan1 reaches lan2" reaches lan1 10.10.2.100
within 30 "spoke1 has the shortcut" shows "10.10.2.0/24.*nhrp" in_node spoke1 ip route
within 30 "spoke2 has the shortcut" shows "10.10.1.0/24.*nhrp" in_node spoke2 ip route
within 20 "the hub is out of the way" direct
vty spoke1 show ip nhrp
vty spoke1 show ip nhrp shortcut
in_node spoke1 ip route
within 90 "the shortcut of spoke1 expires" lacks "10.10.2.0/24.*nhrp" in_node spoke1 ip route
check "lan1 reaches lan2 without it" reaches lan1 10.10.2.100
for n in spoke1 spoke2 hub; do frr_end $n; done
