# SPDX-License-Identifier: Apache-2.0
#
# nodes.sh - sourced: our daemon, or FRR, as hub or spoke. Routes between the
# sites are static, so that NHRP is all that is tried.
frr_dir=/usr/lib/frr
declare -A daemon_of=()

# ours NODE [LINE...] starts dmvpnd on NODE; LINEs go into its [tunnel.dmvpn0]. The
# variables underlay, routes and holding stand for the usual ones where they are set.
ours() {
    local n=$1 conf=$L/$1/dmvpn.toml
    shift
    {
        echo '[tunnel.dmvpn0]'
        echo "address = \"$(overlay "$n")/24\""
        echo "key = $gre_key"
        echo 'protection = "none"'
        echo "underlay = ${underlay:-{ device = \"eth0\" \}}"
        echo "networks = [\"$(lan "$n").0/24\"]"
        echo "holding-time = \"${holding:-30s}\""
        echo 'idle = "12s"'
        echo 'idle-bytes = 200'
        printf '%s\n' "$@"
        if [ "$n" != hub ]; then
            echo '[[tunnel.dmvpn0.nhs]]'
            echo "nbma = \"$(nbma hub)\""
            [ "$n" = spoke2 ] || echo "protocol = \"$(overlay hub)\""
            echo "routes = [\"${routes:-10.10.0.0/16}\"]"
        fi
    } >"$conf"
    in_node "$n" mountpoint -q /sys/fs/bpf || in_node "$n" mount -t bpf bpf /sys/fs/bpf
    on_node "$n" "$top/bin/dmvpnd" -c "$conf" >>"$OUT/dmvpnd-$n.log" 2>&1 &
    daemon_of[$n]=$!
    within 60 "dmvpnd answers on $n" cli "$n"
}

# cli NODE ARGUMENT... is the dmvpn command on NODE.
cli() {
    local n=$1
    shift
    in_node "$n" "$top/bin/dmvpn" "$@"
}

# ours_end NODE tears down what ours made, and looks that nothing is left.
ours_end() {
    local n=$1
    check "dmvpn teardown on $n" cli "$n" teardown
    within 20 "dmvpnd has ended on $n" not kill -0 "${daemon_of[$n]}"
    unset "daemon_of[$n]"
    within 20 "dmvpn0 is gone from $n" not in_node "$n" ip link show dev dmvpn0
    check "no program is left on $n's underlay" lacks dmvpn in_node "$n" tc filter show dev eth0 ingress
    check "no pin is left on $n" not in_node "$n" ls /sys/fs/bpf/dmvpn/default
    check "no route of ours is left on $n" lacks . in_node "$n" ip route show proto 54
}

# attached NODE: the programs stand in clsact, which is what 6.1 has.
attached() {
    check "clsact holds the encapsulating program on $1" shows dmvpn_encap in_node "$1" tc filter show dev dmvpn0 egress
    check "clsact holds the decapsulating program on $1" shows dmvpn_decap in_node "$1" tc filter show dev eth0 ingress
    check "bpftool net names them both on $1" named "$1"
}

named() {
    shows 'dmvpn0\([0-9]+\) clsact/egress dmvpn_encap' in_node "$1" bpftool net show &&
        shows 'eth0\([0-9]+\) clsact/ingress dmvpn_decap' in_node "$1" bpftool net show
}

# killed NODE... ends dmvpnd as a crash does.
killed() {
    local n
    for n in "$@"; do
        kill -9 "${daemon_of[$n]}"
        wait "${daemon_of[$n]}" 2>/dev/null
    done
}

# of NODE are the ids and names of a node's peers, and how often its tunnel has lost
# its carrier.
of() {
    cli "$1" peer -j | jq -c '[.[] | [.id, .nbma, .protocol]]'
    in_node "$1" cat /sys/class/net/dmvpn0/carrier_down_count
}

# frr NODE [LINE...] starts zebra and nhrpd on NODE; LINEs take the place of what its NHRP
# has otherwise.
frr() {
    local n=$1 d=$L/$1/etc/frr other
    shift
    gre_up "$n"
    # "onlink": the device has a /32, as FRR wants it.
    if [ "$n" = hub ]; then
        for other in spoke1 spoke2; do
            in_node hub ip route add "$(overlay $other)" dev gre1
            in_node hub ip route add "$(lan $other).0/24" via "$(overlay $other)" dev gre1 onlink
        done
    else
        in_node "$n" ip route add "$(overlay hub)" dev gre1
        in_node "$n" ip route add 10.10.0.0/16 via "$(overlay hub)" dev gre1 onlink
        # nhrpd answers only whom it routes into the tunnel.
        in_node "$n" ip route add 10.0.0.0/24 via "$(overlay hub)" dev gre1 onlink
    fi
    printf 'hostname %s\nlog file %s\n' "$n" "$L/$n/log/zebra.log" >"$d/zebra.conf"
    {
        printf 'hostname %s\nlog file %s\ndebug nhrp all\n' "$n" "$L/$n/log/nhrpd.log"
        [ "$n" != hub ] || echo "nhrp nflog-group 1"
        echo "interface gre1"
        echo " ip nhrp network-id 1"
        if [ $# -gt 0 ]; then
            printf ' ip nhrp %s\n' "$@"
        else
            printf ' ip nhrp %s\n' "holdtime 30" "registration no-unique"
            case $n in
            hub) echo " ip nhrp redirect" ;;
            spoke1) printf ' ip nhrp %s\n' shortcut "nhs $(overlay hub) nbma $(nbma hub)" ;;
            spoke2) printf ' ip nhrp %s\n' shortcut "nhs dynamic nbma $(nbma hub)" ;;
            esac
        fi
        echo " tunnel source eth0"
    } >"$d/nhrpd.conf"
    : >"$d/vtysh.conf"
    chown -R frr:frr "$d"
    [ "$n" != hub ] || frr_redirects
    in_node "$n" $frr_dir/zebra -d -f /etc/frr/zebra.conf 2>/dev/null
    in_node "$n" $frr_dir/nhrpd -d -f /etc/frr/nhrpd.conf
    say "FRR started on $n"
}

# frr_redirects: nhrpd sends a Traffic Indication for what netfilter logs to it.
frr_redirects() {
    in_node hub nft -f - <<'N'
table ip dmvpn {
    set seen { type ipv4_addr . ipv4_addr; flags dynamic; timeout 60s; }
    chain forward {
        type filter hook forward priority filter;
        iifname "gre1" oifname "gre1" update @seen { ip saddr . ip daddr limit rate 10/minute burst 1 packets } log group 1 snaplen 128 queue-threshold 1
    }
}
N
}

# frr_end NODE ends FRR on NODE, the orderly way if it can, and removes its device.
frr_end() {
    local n=$1 d pid tries
    for d in nhrpd zebra; do
        pid=$(in_node "$n" cat /run/frr/$d.pid 2>/dev/null) || continue
        kill "$pid"
        for ((tries = 0; tries < 50; tries++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        cat "$L/$n/log/$d.log" >>"$OUT/$d-$n.log" 2>/dev/null
        : >"$L/$n/log/$d.log"
    done
    in_node "$n" nft delete table ip dmvpn 2>/dev/null
    ip -n "$n" tunnel del gre1
    say "FRR ended on $n"
}

# vty NODE COMMAND... runs a command in FRR's vtysh.
vty() {
    local n=$1
    shift
    in_node "$n" vtysh -c "$*"
}

# nodes_end ends what a failed scenario may have left.
nodes_end() {
    local n
    for n in "${!daemon_of[@]}"; do kill "${daemon_of[$n]}" 2>/dev/null; done
    for n in hub spoke1 spoke2; do
        cat "$L/$n"/log/nhrpd.log >>"$OUT/nhrpd-$n.log" 2>/dev/null
    done
    return 0
}
