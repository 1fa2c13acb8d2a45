// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/ikev2/wire"
)

// TestTunnelModeIsForGREBetweenTwoAddresses whatever the packet was that made the peer negotiate.
func TestTunnelModeIsForGREBetweenTwoAddresses(t *testing.T) {
	selector := func(address string, protocol uint8, start, end uint16) wire.Selector {
		a := netip.MustParseAddr(address)
		return wire.Selector{Type: wire.SelectorIPv4, Protocol: protocol, StartPort: start, EndPort: end, Start: a, End: a}
	}
	us, them := selector("192.0.2.1", 47, 0, 65535), selector("198.51.100.11", 47, 0, 65535)
	several := us
	several.End = several.End.Next()
	for _, c := range []struct {
		name        string
		here, there []wire.Selector
		ok          bool
	}{
		{"GRE between two addresses", []wire.Selector{us}, []wire.Selector{them}, true},
		{"the packet's own selector, and all of GRE", []wire.Selector{selector("192.0.2.1", 47, 42, 42), us}, []wire.Selector{them}, true},
		{"two addresses at one end", []wire.Selector{us, selector("192.0.2.2", 47, 0, 65535)}, []wire.Selector{them}, false},
		{"a range of addresses", []wire.Selector{several}, []wire.Selector{them}, false},
		{"another protocol", []wire.Selector{us}, []wire.Selector{selector("198.51.100.11", 6, 0, 65535)}, false},
		{"any protocol beside GRE", []wire.Selector{us, selector("192.0.2.1", 0, 0, 65535)}, []wire.Selector{them}, false},
	} {
		if _, err := tunnelMode(c.here, c.there); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
