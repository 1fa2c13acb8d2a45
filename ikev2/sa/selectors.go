// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"

	"dmvpn/ikev2/wire"
)

const protocolGRE = 47

// host selects one IP protocol of one address.
func host(a netip.Addr, protocol uint8) wire.Selector {
	a = a.Unmap()
	t := wire.SelectorIPv4
	if a.Is6() {
		t = wire.SelectorIPv6
	}
	return wire.Selector{Type: t, Protocol: protocol, EndPort: 65535, Start: a, End: a}
}

// policy is what a connection carries between the SA's two ends.
func (m *Machine) policy(s *ikeSA) (here, there []wire.Selector) {
	c := m.connection(s)
	here, there = c.Here, c.There
	if len(here) == 0 {
		here = []wire.Selector{host(s.Local.Addr(), protocolGRE)}
	}
	if len(there) == 0 {
		there = []wire.Selector{host(s.Remote.Addr(), protocolGRE)}
	}
	return here, there
}

// hidden is the policy of tunnel mode where a NAT is on the way, and none is configured. Unlike
// transport mode's (section 2.23.1), its headers go through as they are: the end that is behind the
// NAT may name itself by its own address or by the one that others see, each just one.
func (m *Machine) hidden(s *ikeSA, here, there, mine, theirs []wire.Selector) ([]wire.Selector, []wire.Selector) {
	c := m.connection(s)
	if s.NATLocal && len(c.Here) == 0 {
		here = append(here, greOf(mine)...)
	}
	if s.NATRemote && len(c.There) == 0 {
		there = append(there, greOf(theirs)...)
	}
	return here, there
}

// greOf gives of an offer the GRE of single addresses.
func greOf(offer []wire.Selector) (all []wire.Selector) {
	for _, o := range offer {
		if o.Other == nil && o.Start == o.End && (o.Protocol == 0 || o.Protocol == protocolGRE) {
			all = append(all, host(o.Start, protocolGRE))
		}
	}
	return all
}

// intersect gives what two selectors have in common.
func intersect(a, b wire.Selector) (wire.Selector, bool) {
	if a.Type != b.Type || a.Other != nil || b.Other != nil {
		return wire.Selector{}, false
	}
	r := a
	switch {
	case a.Protocol == 0:
		r.Protocol = b.Protocol
	case b.Protocol != 0 && a.Protocol != b.Protocol:
		return wire.Selector{}, false
	}
	if a.Opaque() || b.Opaque() {
		if a.Opaque() != b.Opaque() && !anyPort(a) && !anyPort(b) {
			return wire.Selector{}, false
		}
		if a.Opaque() || b.Opaque() && anyPort(a) {
			r.StartPort, r.EndPort = 65535, 0
		}
	} else {
		r.StartPort, r.EndPort = max(a.StartPort, b.StartPort), min(a.EndPort, b.EndPort)
		if r.StartPort > r.EndPort {
			return wire.Selector{}, false
		}
	}
	if b.Start.Compare(r.Start) > 0 {
		r.Start = b.Start
	}
	if b.End.Compare(r.End) < 0 {
		r.End = b.End
	}
	return r, r.Start.Compare(r.End) <= 0
}

func anyPort(s wire.Selector) bool { return s.StartPort == 0 && s.EndPort == 65535 }

// narrow gives the part of an offer that a policy allows (section 2.9), in the order
// of the offer.
func narrow(offer, policy []wire.Selector) []wire.Selector {
	var out []wire.Selector
	for _, o := range offer {
		for _, p := range policy {
			if r, ok := intersect(o, p); ok && !within(r, out) {
				out = append(out, r)
			}
		}
	}
	return out
}

// within says whether one of all covers s.
func within(s wire.Selector, all []wire.Selector) bool {
	for _, a := range all {
		if r, ok := intersect(s, a); ok && same(r, s) {
			return true
		}
	}
	return false
}

func same(a, b wire.Selector) bool {
	return a.Type == b.Type && a.Protocol == b.Protocol && a.StartPort == b.StartPort && a.EndPort == b.EndPort && a.Start == b.Start && a.End == b.End
}

// covers says whether every one of parts lies within all.
func covers(all, parts []wire.Selector) bool {
	for _, p := range parts {
		if !within(p, all) {
			return false
		}
	}
	return true
}

// substitute replaces the address of transport mode's selectors, of which each has
// just one, by the one that this end knows (section 2.23.1). Others are left out.
func substitute(list []wire.Selector, a netip.Addr) []wire.Selector {
	var out []wire.Selector
	for _, s := range list {
		if s.Other == nil && s.Start == s.End {
			h := host(a, s.Protocol)
			h.StartPort, h.EndPort = s.StartPort, s.EndPort
			out = append(out, h)
		}
	}
	return out
}
