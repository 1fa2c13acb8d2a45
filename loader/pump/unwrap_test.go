// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"net/netip"
	"testing"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
)

// What stands around GRE in ESP must be what the mode says, between the right addresses, and
// congestion marks go inwards (RFC 6040, section 4.2).
func TestWhatStandsAroundGRE(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.11")
	own, peers := must(esp.NewTunnel(here, there, protocolGRE))(t), must(esp.NewTunnel(there, here, protocolGRE))(t)
	here6, there6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::1")
	own6, peers6 := must(esp.NewTunnel(here6, there6, protocolGRE))(t), must(esp.NewTunnel(there6, here6, protocolGRE))(t)
	gre := []byte{0, 0, 8, 0, 1, 2, 3, 4}
	wrapped := func(x *esp.Tunnel, tos uint8) []byte { return append(x.Append(nil, tos, len(gre)), gre...) }
	for _, c := range []struct {
		name       string
		tunnel     *esp.Tunnel
		next       uint8
		b          []byte
		outer, tos uint8
		reason     tables.Reason
	}{
		{"transport mode", nil, protocolGRE, gre, 0xb9, 0xb9, tables.DropNone},
		{"transport mode, an IP packet", nil, esp.NextIPv4, wrapped(peers, 0), 0, 0, tables.DropInnerProtocol},
		{"transport mode, UDP", nil, protocolUDP, gre, 0, 0, tables.DropInnerProtocol},
		{"tunnel mode", own, esp.NextIPv4, wrapped(peers, 0xb8), 0xb8, 0xb8, tables.DropNone},
		{"tunnel mode, GRE without an inner header", own, protocolGRE, gre, 0, 0, tables.DropInnerProtocol},
		{"tunnel mode, padded", own, esp.NextIPv4, append(wrapped(peers, 0), make([]byte, 100)...), 0, 0, tables.DropNone},
		{"tunnel mode, another DSCP outside", own, esp.NextIPv4, wrapped(peers, 0xb8), 0x20, 0xb8, tables.DropNone},
		{"tunnel mode, ECT(0) marked on the way", own, esp.NextIPv4, wrapped(peers, 0x02), 0x03, 0x03, tables.DropNone},
		{"tunnel mode, not ECT, and marked", own, esp.NextIPv4, wrapped(peers, 0x00), 0x03, 0, tables.DropECN},
		{"tunnel mode, our own addresses the wrong way round", own, esp.NextIPv4, wrapped(own, 0), 0, 0, tables.DropSpoofed},
		{"tunnel mode of IPv6", own6, esp.NextIPv6, wrapped(peers6, 0xb9), 0xb9, 0xb9, tables.DropNone},
		{"tunnel mode of IPv6, ECT(0) marked on the way", own6, esp.NextIPv6, wrapped(peers6, 0x02), 0x03, 0x03, tables.DropNone},
		{"tunnel mode of IPv6, IPv4 inside", own6, esp.NextIPv4, wrapped(peers, 0), 0, 0, tables.DropInnerProtocol},
		{"tunnel mode of IPv6, addresses the wrong way round", own6, esp.NextIPv6, wrapped(own6, 0), 0, 0, tables.DropSpoofed},
		{"tunnel mode, IPv6 inside", own, esp.NextIPv6, wrapped(peers6, 0), 0, 0, tables.DropInnerProtocol},
		{"tunnel mode, cut", own, esp.NextIPv4, wrapped(peers, 0)[:27], 0, 0, tables.DropInnerHeader},
	} {
		got, tos, reason := unwrap(&esp.Association{Tunnel: c.tunnel}, c.next, bytes.Clone(c.b), c.outer)
		if reason != c.reason || reason == tables.DropNone && (!bytes.Equal(got, gre) || tos != c.tos) {
			t.Errorf("%s: %x, TOS %#x, %s", c.name, got, tos, reason)
		}
	}
}
