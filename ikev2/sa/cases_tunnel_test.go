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

// networks is a World whose ends, in tunnel mode, connect two networks of A with one of B,
// and which has no Child SA yet.
func networks(change func(c *sa.Connection)) Options {
	a := []wire.Selector{subnet("10.1.0.0"), subnet("10.1.1.0")}
	b := []wire.Selector{subnet("10.2.0.0")}
	return Options{
		Alone: true, Either: true,
		Both: func(c *sa.Connection) {
			c.Mode, c.Childless = sa.Tunnel, true
			change(c)
		},
		A: func(c *sa.Connection) { c.Here, c.There = a, b },
		B: func(c *sa.Connection) { c.Here, c.There = b, a },
	}
}

// twoNetworks connects them, each network by a Child SA of its own: A makes the first,
// B the second.
func twoNetworks(w *World) {
	a, b := w.Began().Name, w.Waited().Name
	w.Began().Connect(w.Waited())
	w.Deliver(a+" INIT→", b+" INIT←", a+" AUTH→", b+" AUTH←")
	w.Waited().Create()
	only := func(i int) func(m *Message) {
		return func(m *Message) {
			for _, p := range m.Payloads {
				if ts, ok := p.(*wire.Selectors); ok && len(ts.List) > 1 {
					ts.List = ts.List[i : i+1]
				}
			}
		}
	}
	w.Bend("A C→", only(0))
	w.Bend("B C→", only(1))
	w.Deliver("A C←", "B C←")
	w.Calm()
	w.Begin()
}
