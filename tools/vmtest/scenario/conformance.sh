# SPDX-License-Identifier: Apache-2.0
#
# The conformance suite against FRR's nhrpd: as NHS, from where spoke1 is, and as client, from where
# the hub is. What FRR fails is no failure here: that the suite comes to its end is, and that its rows
# are those of the recorded results, which are in docs/nhrp-conformance.md. VMTEST_OUT/frr.json is what
# becomes cmd/internal/conformance/testdata/frr.json.

# revived NODE PAUSE: nhrpd crashes at some packets, and is started again after so many seconds, in
# which the suite notices.
revived() {
    while sleep 2; do
        in_node "$1" sh -c 'kill -0 "$(cat /run/frr/nhrpd.pid)"' 2>/dev/null && continue
        sleep "$2"
        say "nhrpd has crashed, and is started again"
        in_node "$1" $frr_dir/nhrpd -d -f /etc/frr/nhrpd.conf
    done
}

# stations NODE: addresses for the suite on NODE.
stations() {
    ip -n "$1" route add local 198.18.0.0/25 dev lo
    ip -n inet route replace 198.18.0.0/24 via "$(nbma "$1")"
}

# conforms ROLE NODE OPTION... runs the suite on NODE.
conforms() {
    local role=$1 n=$2
    shift 2
    in_node "$n" "$top/bin/dmvpn-lab" conformance -j --role "$role" --key "$gre_key" "$@" >"$OUT/frr-$role.json"
    [ $? -le 100 ]
}

rows() { jq -r ".[] | .id + \" \" + .role$2" "$1" | sort; }
as_recorded() { diff <(rows "$top/frr.json" "${1:-}") <(rows "$OUT/frr.json" "${1:-}"); }

# As an NHS that answers itself: without "shortcut" nhrpd answers no Resolution Request.
frr hub "holdtime 30" "registration no-unique" redirect shortcut
# nhrpd drops what comes from whom it does not route into its tunnel.
in_node hub ip route add 10.0.0.0/16 dev gre1
stations spoke1
revived hub 8 &
keeper=$!
check "the suite comes to its end with FRR as server" conforms nhs spoke1 --target "$(nbma hub)" --server-address 10.0.0.1/16 \
    --local 198.18.0.0/25 --behind 10.10.0.0/24 --wait 400ms --at-once 12
kill $keeper
wait $keeper 2>/dev/null
in_node hub ip route del 10.0.0.0/16 dev gre1
ip -n spoke1 route del local 198.18.0.0/25 dev lo
frr_end hub

# As client it has as many servers as cases run at once. Its renewals are what most cases wait for.
servers=8 options=() lines=("holdtime 12" shortcut)
for ((i = 1; i <= servers; i++)); do
    lines+=("nhs 10.0.0.$i nbma 198.18.0.$i")
    options+=(--local "198.18.0.$i" --routed "10.20.$i.0/24")
done
stations hub
frr spoke1 "${lines[@]}"
for ((i = 1; i <= servers; i++)); do
    in_node spoke1 ip route add "10.20.$i.0/24" via "10.0.0.$i" dev gre1 onlink
done
revived spoke1 20 &
keeper=$!
check "the suite comes to its end with FRR as client" conforms nhc hub --target "$(nbma spoke1)" --server-address 10.0.0.1/24 \
    --local 198.18.0.9 --behind 10.10.1.0/24 "${options[@]}"
sleep 25 # what it was asked last it may not have survived
kill $keeper
wait $keeper 2>/dev/null
ip -n hub route del local 198.18.0.0/25 dev lo
ip -n inet route del 198.18.0.0/24
frr_end spoke1

jq -s add "$OUT/frr-nhs.json" "$OUT/frr-nhc.json" >"$OUT/frr.json"
check "the rows are those that are recorded" as_recorded
as_recorded ' + " " + .verdict' || say "FRR did otherwise than recorded"
jq -r 'group_by([.role, .verdict])[] | "\(.[0].role): \(length) \(.[0].verdict)"' "$OUT/frr.json"
