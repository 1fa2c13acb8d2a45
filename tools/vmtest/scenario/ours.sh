# SPDX-License-Identifier: Apache-2.0
#
# Our hub and our spokes on this kernel, with authentication, which FRR has not:
# sites are registered with their prefixes, so that no route is static, and a
# spoke with another word is refused. What was registered outlasts the time that the
# daemons are dead.
holding=300s
ours hub 'authentication = "sesame42"'
ours spoke1 'authentication = "sesame42"'
ours spoke2 'authentication = "wrong"'
within 60 "spoke1 is registered" shows "10\.0\.0\.11.*198\.51\.100\.11" cli hub nhrp
within 60 "the hub routes spoke1's site to it" shows "10\.10\.1\.0/24 via 10\.0\.0\.11 dev dmvpn0" in_node hub ip route show proto 54
sleep 5
check "spoke2 is not, its authentication is wrong" lacks "203\.0\.113\.22" cli hub nhrp
ours_end spoke2

ours spoke2 'authentication = "sesame42"'
within 60 "spoke2 is registered with the right one" shows "10\.0\.0\.12.*203\.0\.113\.22" cli hub nhrp
within 20 "lan1 reaches lan2" reaches lan1 10.10.2.100
check "lan1 and lan2: none lost while the way becomes shorter" all_arrive lan1 10.10.2.100 40
within 30 "spoke1 took the shortcut" shows "10\.10\.2\.0/24 via 10\.0\.0\.12 dev dmvpn0" in_node spoke1 ip route show proto 54
within 20 "the hub is out of the way" direct

# Killed daemons leave everything running, and adopt it when they come back.
crashed="hub spoke1 spoke2"
before=$(for n in $crashed; do of $n; done)
killed $crashed
check "lan1 and lan2 on the shortcut, no daemon running: none lost" all_arrive lan1 10.10.2.100 30
check "lanh and lan1, no daemon running: none lost" all_arrive lanh 10.10.1.100 30
check "the tunnel has its carrier" shows LOWER_UP in_node spoke1 ip link show dev dmvpn0

# In the place of each program that runs comes another, under traffic. all_arrive says
# something only of what is lost.
all_arrive lan1 10.10.2.100 400 >"$L/shortcut.log" &
shortcut=$!
all_arrive lanh 10.10.1.100 400 >"$L/hub.log" &
hub=$!
for n in $crashed; do ours $n 'authentication = "sesame42"'; done
check "there was traffic all the time" kill -0 $shortcut
wait $shortcut $hub
check "lan1 and lan2 while the daemons came back: none lost" lacks . cat "$L/shortcut.log"
check "lanh and lan1 while the daemons came back: none lost" lacks . cat "$L/hub.log"
check "lan1 and lan2 after the restart: none lost" all_arrive lan1 10.10.2.100 20
check "the same peers, and no carrier was lost" [ "$before" = "$(for n in $crashed; do of $n; done)" ]
check "the shortcut was adopted" shows "10\.10\.2\.0/24" cli spoke1 shortcut
for n in $crashed; do attached $n; done # last: it takes longer than an unused shortcut stands

within 90 "the unused shortcut of spoke1 expires" lacks "10\.10\.2\.0/24" in_node spoke1 ip route show proto 54
check "lan1 and lan2: none lost when the traffic comes back" all_arrive lan1 10.10.2.100 20
for n in spoke1 spoke2 hub; do ours_end $n; done
holding=
