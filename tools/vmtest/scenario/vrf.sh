# SPDX-License-Identifier: Apache-2.0
#
# Two clouds with the same addresses on one underlay address, encrypted, each in a VRF, the
# underlay in a third.
blue_up
kind='' edit=''
for c in red blue; do
    head -c 32 /dev/urandom | base64 -w0 >$L/$c.psk
    chmod 600 $L/$c.psk
done
for n in hub spoke1 spoke2; do
    GATEWAY=$(uplink $n) in_node $n sh "$top/docs/examples/vrf/vrf.sh"
    in_node $n ip route del default 2>/dev/null
done
for n in hub sp1 sp2; do capture clear-$n inet $n 'not arp and not port 500 and not port 4500'; done
for n in $members; do both $n "$kind" "$edit"; done
check "dmvpn names the VRF" shows 'red0: hub, 10\.0\.0\.1/24, up, in VRF red' cli hub
within 60 "the hub reaches spoke1 in red" in_node hub ping -I red -c 1 -W 3 10.0.0.11
clouds "vrf red" "vrf blue"
capture_end >/dev/null 2>&1
for n in hub sp1 sp2; do check "nothing was in clear on the wire of $n" holds_nothing $L/pcap/clear-$n.pcap; done
for n in spoke1 spoke2 hub; do
    both_end $n
    for vrf in wan red blue; do in_node $n ip link del $vrf; done
    for t in 10 101 102; do in_node $n ip route flush table $t; done
    in_node $n ip route add default via "$(uplink $n)"
    ip -n $n link del lan-blue
done
check "spoke1 has its underlay back" reaches spoke1 192.0.2.2
