// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestFramesOfOthers: what is for another station or of a VLAN is not ours,
// whatever is inside. The packets that are count; nothing else does.
func TestFramesOfOthers(t *testing.T) {
	w := newWorld(t)
	tag := func(vid byte) []byte {
		return append(append(bytes.Clone(w.linkTo[:12]), 0x81, 0, 0, vid), 8, 0)
	}
	station := bytes.Clone(w.linkTo)
	station[5] ^= 1
	group := append([]byte{1, 0, 0x5e, 0, 0, 5}, w.linkTo[6:]...)
	for _, c := range []struct {
		name   string
		header []byte
		ours   bool
	}{
		{"for this device", w.linkTo, true},
		{"with a priority, which is VLAN 0", tag(0), true},
		{"of VLAN 100", tag(100), false},
		{"for another station", station, false},
		{"for a group of stations", group, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.enter(t)
			w.fresh(t, packetCase{})
			packet, last := fromSpoke(20), fromSpoke(21)
			must(t, write(w.wire, append(bytes.Clone(c.header), received(packet)...)))
			must(t, write(w.wire, append(bytes.Clone(w.linkTo), received(last)...)))
			var want, got []string
			if c.ours {
				want = append(want, dump(packet))
			}
			want = append(want, dump(last))
			for range want {
				got = append(got, dump(read(w.inside, patience)))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("received (-want +got)\n%s", d)
			}
			var r result
			w.observe(t, &r)
			if n := r.Rx[spoke].Packets; n != uint64(len(want)) {
				t.Errorf("%d packets counted, want %d", n, len(want))
			}
			if len(r.Drops) > 0 {
				t.Errorf("dropped: %v", r.Drops)
			}
		})
	}
}

// TestGatewaysOfIPv6: routes of IPv4 may lead by a gateway of IPv6 (RFC 8950), in
// the underlay and in the tunnel.
func TestGatewaysOfIPv6(t *testing.T) {
	w := newWorld(t)
	for _, device := range []string{"u0", "dmvpn0"} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/disable_ipv6", []byte("0"), 0))
	}
	const underlayGateway, overlayGateway, mac = "fe80::fe", "fe80::2", "02:00:00:00:00:f6"
	for _, r := range []struct {
		to, via string
		device  int
	}{
		{"192.168.55.0/24", underlayGateway, w.underlay},
		{"10.10.55.0/24", overlayGateway, w.tunnel},
	} {
		must(t, netlink.RouteAdd(&netlink.Route{Dst: prefix(t, r.to), LinkIndex: r.device, Flags: int(netlink.FLAG_ONLINK),
			Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP(r.via)}}))
	}
	neighbour(t, w.underlay, underlayGateway, mac)
	v := DmvpnPeer{TunnelIfindex: uint32(w.tunnel), Flags: flagUp}
	v.Nbma.Octet, v.Protocol.Octet = addr("192.168.55.5"), addr(overlayGateway)
	w.fresh(t, packetCase{tunnel: noFallback})
	must(t, w.maps["dmvpn_peer"].Put(uint32(lastPeer), v))
	must(t, w.maps["dmvpn_nexthop"].Put(DmvpnNexthopKey{Nexthop: v.Protocol, TunnelIfindex: uint32(w.tunnel)}, uint32(lastPeer)))
	packet := udp(lan, "10.10.55.5", 20)
	must(t, w.into(t, packet, packetCase{}.ethertype()))
	want := wrap(outer(local, "192.168.55.5"), gre(key), packet)
	for end := time.Now().Add(patience); ; {
		got := read(w.wire, time.Until(end))
		if got == nil {
			t.Fatalf("nothing came out of the wire; dropped %v", dropsOf(t, w.maps["dmvpn_drop"]))
		}
		if !bytes.Equal(got[12:14], []byte{8, 0}) {
			continue // IPv6's own
		}
		hw, err := net.ParseMAC(mac)
		must(t, err)
		if d := cmp.Diff(dump(append(bytes.Clone(hw), want...)), dump(append(bytes.Clone(got[:6]), got[14:]...))); d != "" {
			t.Errorf("station and packet (-want +got)\n%s", d)
		}
		return
	}
}
