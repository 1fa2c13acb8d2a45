# SPDX-License-Identifier: Apache-2.0
#
# The conformance suite against FRR's nhrpd as NHS, from where spoke1 is. What FRR fails is no
# failure here: that the suite comes to its end is, and that its rows are those of the recorded
# results, which are in docs/nhrp-conformance.md. VMTEST_OUT/conformance-frr.json is what
# cmd/internal/conformance/testdata/frr.json is made of.
frr hub
# As an NHS that answers itself: without "shortcut" nhrpd answers no Resolution Request.
sed -i 's/^ ip nhrp redirect$/&\n ip nhrp shortcut/' "$L/hub/etc/frr/nhrpd.conf"
in_node hub vtysh -c "configure terminal" -c "interface gre1" -c "ip nhrp shortcut" >/dev/null
# nhrpd drops what comes from whom it does not route into its tunnel.
in_node hub ip route add 10.0.0.0/16 dev gre1
# Addresses for the stations, on the way to spoke1.
ip -n spoke1 route add local 198.18.0.0/25 dev lo
ip -n inet route add 198.18.0.0/24 via 198.51.100.11
# nhrpd crashes at some packets: it is started again, after the suite has noticed.
(
    while sleep 2; do
        in_node hub sh -c 'kill -0 "$(cat /run/frr/nhrpd.pid)"' 2>/dev/null && continue
        sleep 8
        say "nhrpd has crashed, and is started again"
        in_node hub $frr_dir/nhrpd -d -f /etc/frr/nhrpd.conf
    done
) &
keeper=$!
conforms() {
    in_node spoke1 "$top/bin/dmvpn-lab" conformance -j --target "$(nbma hub)" --server-address 10.0.0.1/16 --key "$gre_key" \
        --local 198.18.0.0/25 --behind 10.10.0.0/24 --wait 400ms --at-once 12 >"$OUT/conformance-frr.json"
    [ $? -le 100 ]
}
check "the suite comes to its end with FRR" conforms
kill $keeper
wait $keeper 2>/dev/null
rows() { jq -r ".[] | .id + \" \" + .role$2" "$1" | sort; }
as_recorded() { diff <(rows "$top/frr.json" "${1:-}") <(rows "$OUT/conformance-frr.json" "${1:-}"); }
check "its rows are those that are recorded" as_recorded
as_recorded ' + " " + .verdict' || say "FRR did otherwise than recorded"
jq -r 'group_by(.verdict)[] | "\(length) \(.[0].verdict)"' "$OUT/conformance-frr.json"
in_node hub ip route del 10.0.0.0/16 dev gre1
frr_end hub
