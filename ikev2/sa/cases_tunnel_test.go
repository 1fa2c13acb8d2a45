// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// subnet is a selector of all of a network of 256 addresses.
func subnet(first string) wire.Selector {
	a := netip.MustParseAddr(first)
	b := a.As4()
	b[3] = 255
	return wire.Selector{Type: wire.SelectorIPv4, EndPort: 65535, Start: a, End: netip.AddrFrom4(b)}
}

// tunnelOptions is a World whose ends connect two networks in tunnel mode.
func tunnelOptions() Options {
	a, b := []wire.Selector{subnet("10.1.0.0")}, []wire.Selector{subnet("10.2.0.0")}
	return Options{
		Both: func(c *sa.Connection) { c.Mode = sa.Tunnel },
		A:    func(c *sa.Connection) { c.Here, c.There = a, b },
		B:    func(c *sa.Connection) { c.Here, c.There = b, a },
	}
}

// narrowTS leaves the lower half of the message's TSi.
func narrowTS(m *Message) {
	for _, p := range m.Payloads {
		if ts, ok := p.(*wire.Selectors); ok && !ts.Responder {
			b := ts.List[0].End.As4()
			b[3] = 127
			ts.List[0].End = netip.AddrFrom4(b)
		}
	}
}
