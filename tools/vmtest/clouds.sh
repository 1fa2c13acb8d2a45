# SPDX-License-Identifier: Apache-2.0
#
# clouds.sh - sourced: two customers' clouds on one underlay address, with the same addresses
# and prefixes inside. What is run is what docs/examples/vrf says. To each lan there is a second
# one, of blue:
#
#   blueh, blue1, blue2: 10.10.N.100, as lanh, lan1, lan2, behind lan-blue of hub, spoke1, spoke2
blue_of() { case $1 in hub) echo blueh ;; spoke1) echo blue1 ;; spoke2) echo blue2 ;; esac; }
uplink() { case $1 in hub) echo 192.0.2.1 ;; spoke1) echo 198.51.100.1 ;; spoke2) echo 203.0.113.1 ;; esac; }
members="hub spoke1 spoke2"

# blue_up makes the second lans.
blue_up() {
    local n b
    for n in $members; do
        b=$(blue_of $n)
        [ -e "/run/netns/$b" ] || node_add "$b"
        wire $n lan-blue "$(lan $n).1/24" "$b" eth0 "$(lan $n).100/24"
        ip -n "$b" route add default via "$(lan $n).1"
    done
}

# both NODE KIND [EDIT] starts our daemon with docs/examples/vrf; KIND is "" or "-tables", EDIT for sed.
both() {
    local n=$1 role=spoke conf=$L/$1/dmvpn.toml
    [ "$n" != hub ] || role=hub
    sed -e "s/10\.0\.0\.11/$(overlay "$n")/; s/10\.10\.1\.0/$(lan "$n").0/; s/spoke1\./$n./" -e "s|/etc/dmvpn|$L|" \
        -e '/^key = /a holding-time = "60s"\nidle = "20s"\nidle-bytes = 400' -e "$3" "$top/docs/examples/vrf/$role$2.toml" |
        sed -e "${4:-}" >"$conf"
    in_node "$n" mountpoint -q /sys/fs/bpf || in_node "$n" mount -t bpf bpf /sys/fs/bpf
    on_node "$n" "$top/bin/dmvpnd" -c "$conf" >>"$OUT/dmvpnd-$n.log" 2>&1 &
    daemon_of[$n]=$!
    within 60 "dmvpnd answers on $n" cli "$n"
}

# apart: what a host of one cloud sends arrives in its own and not in the other, whose hosts have
# the same addresses. Lengths tell the pings apart.
apart() {
    local status=0
    rm -f $L/pcap/apart-*
    capture apart-red lan2 eth0 icmp || return 1
    capture apart-blue blue2 eth0 icmp || return 1
    all_arrive lan1 10.10.2.100 5 -s 100 || status=1
    all_arrive blue1 10.10.2.100 5 -s 200 || status=1
    capture_end >/dev/null 2>&1
    for c in red blue; do
        local own=128 other=228 said
        [ $c = red ] || own=228 other=128
        said=$(tcpdump -nr "$L/pcap/apart-$c.pcap" "ip[2:2] = $own and icmp[0] = 8" 2>/dev/null | wc -l)
        [ "$said" = 5 ] || { echo "$c got $said of its own 5"; status=1; }
        said=$(tcpdump -nr "$L/pcap/apart-$c.pcap" "ip[2:2] = $other" 2>/dev/null | wc -l)
        [ "$said" = 0 ] || { echo "$c got $said of the other's"; status=1; }
    done
    return $status
}

# holds_nothing FILE: the capture has no packet.
holds_nothing() {
    local said
    said=$(tcpdump -nr "$1" 2>"$L/pcap/read.log") || { cat "$L/pcap/read.log"; return 1; }
    [ -z "$said" ] || { head -n 5 <<<"$said"; return 1; }
}

# taken TUNNEL ROUTES: spoke1's shortcut stands among those routes.
taken() { shows "10\.10\.2\.0/24 via 10\.0\.0\.12 dev $1" in_node spoke1 ip route show $2; }

# clouds RED BLUE: the way of both clouds; how `ip route show` names their routes.
clouds() {
    local n t
    for n in spoke1 spoke2; do
        for t in red0 blue0; do
            within 60 "$n is registered by $t" shows "^$t .*$(overlay $n) .*$(nbma $n)" cli hub nhrp
        done
    done
    within 20 "lan1 reaches lan2" reaches lan1 10.10.2.100
    check "red: none lost while the way becomes shorter" all_arrive lan1 10.10.2.100 20
    within 30 "spoke1 took the shortcut in red" taken red0 "$1"
    check "traceroute of red shows two spokes and no hub" hops lan1 10.10.2.100 3
    check "blue has none" not taken blue0 "$2"
    check "dmvpn shows it by its tunnel" shows '^red0 +10\.10\.2\.0/24' cli spoke1 shortcut
    check "dmvpn shows none of blue" lacks '^blue0 +10\.10\.2' cli spoke1 shortcut
    within 20 "blue1 reaches blue2" reaches blue1 10.10.2.100
    check "blue: none lost while the way becomes shorter" all_arrive blue1 10.10.2.100 20
    within 30 "spoke1 took the shortcut in blue" taken blue0 "$2"
    check "no packet of the one arrives in the other" apart
    check "traceroute of blue shows two spokes and no hub" hops blue1 10.10.2.100 3
    check "no route of a tunnel is in the main table" lacks 'red0|blue0' in_node spoke1 ip route show

    # Dead daemons lose nothing, but for what is encrypted: that waits for the next one.
    killed spoke1
    [ "$kind" = "" ] || check "no daemon on spoke1: none lost, and none in the other" apart
    both spoke1 "$kind" "$edit"
    within 60 "red's lan1 reaches lan2 after the crash" reaches lan1 10.10.2.100
    within 60 "blue1 reaches blue2 after the crash" reaches blue1 10.10.2.100
    check "no packet of the one arrives in the other after the crash" apart

    # Idle in red alone: blue is used.
    all_arrive blue1 10.10.2.100 300 -s 200 >"$L/blue.log" &
    local blue=$!
    within 60 "red's unused shortcut expires" not taken red0 "$1"
    check "blue's, in use, stands" taken blue0 "$2"
    check "there was traffic in blue all the time" kill -0 $blue
    wait $blue
    check "blue: none lost meanwhile" lacks . cat "$L/blue.log"
    end_red "$1" "$2"
}

# end_red ends red on spoke1, under traffic in blue.
end_red() {
    all_arrive blue1 10.10.2.100 100 >"$L/blue.log" &
    local blue=$!
    kill "${daemon_of[spoke1]}"
    within 20 "dmvpnd has ended on spoke1" not kill -0 "${daemon_of[spoke1]}"
    wait "${daemon_of[spoke1]}" 2>/dev/null
    both spoke1 "$kind" "$edit" "/^\[tunnel.red0\]/,/^\[tunnel.blue0\]/{/^\[tunnel.blue0\]/!d}"
    within 20 "red0 is gone from spoke1" not in_node spoke1 ip link show dev red0
    check "no route of red0 is left" lacks 'red0' in_node spoke1 ip route show table all
    check "no rule of red0 is left" lacks 'red0' in_node spoke1 ip rule show
    check "dmvpn knows red0 no more" lacks red0 cli spoke1
    wait $blue
    check "blue: none lost while red ended" lacks . cat "$L/blue.log"
    check "red is gone for lan1" not reaches lan1 10.10.2.100
    check "blue1 reaches blue2" reaches blue1 10.10.2.100
}

# both_end NODE is ours_end for two tunnels.
both_end() {
    check "dmvpn teardown on $1" cli "$1" teardown --release
    within 20 "dmvpnd has ended on $1" not kill -0 "${daemon_of[$1]}"
    unset "daemon_of[$1]"
    check "no device is left on $1" lacks 'red0|blue0' in_node "$1" ip link
    check "no rule of ours is left on $1" lacks 'red0|blue0' in_node "$1" ip rule show
    check "no route of ours is left on $1" lacks . in_node "$1" ip route show table all proto 54
    check "no pin is left on $1" not in_node "$1" ls /sys/fs/bpf/dmvpn/default
}
