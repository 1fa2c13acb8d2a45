// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"

	"dmvpn/nhrpd/wire"
)

// locals are our addresses on the underlay, one of each family; invalid: none. Which of
// them is ours to a peer follows from the peer's.
type locals struct{ IPv4, IPv6 netip.Addr }

// newLocals sorts addresses by their family.
func newLocals(all ...netip.Addr) (l locals) {
	for _, a := range all {
		if a = a.Unmap(); a.Is4() {
			l.IPv4 = a
		} else if a.IsValid() {
			l.IPv6 = a
		}
	}
	return l
}

// any is one of them, invalid if there is none.
func (l locals) any() netip.Addr {
	if l.IPv4.IsValid() {
		return l.IPv4
	}
	return l.IPv6
}

// orElse is those, and of a family that has none what it was before.
func (l locals) orElse(before locals) locals {
	if !l.IPv4.IsValid() {
		l.IPv4 = before.IPv4
	}
	if !l.IPv6.IsValid() {
		l.IPv6 = before.IPv6
	}
	return l
}

func (l locals) exist() bool { return l.any().IsValid() }

// of is that of an NHRP address family.
func (l locals) of(family uint16) netip.Addr {
	switch family {
	case wire.FamilyIPv4:
		return l.IPv4
	case wire.FamilyIPv6:
		return l.IPv6
	}
	return netip.Addr{}
}

// to is ours to a peer.
func (l locals) to(peer netip.Addr) netip.Addr { return l.of(wire.FamilyOf(peer)) }

// is says whether an address is one of them.
func (l locals) is(a netip.Addr) bool { return a.IsValid() && (a == l.IPv4 || a == l.IPv6) }

// in says whether a prefix holds one of them.
func (l locals) in(p netip.Prefix) bool { return p.Contains(l.IPv4) || p.Contains(l.IPv6) }

// offered is our NBMA address as we name it in answers of a family, invalid if there is
// none: what a server is told of, or anybody can reach. A private address of the other
// family leads nowhere from behind another NAT.
func (m *Machine) offered(family uint16) netip.Addr {
	a := m.local.of(family)
	if !a.IsPrivate() || len(m.servers) == 0 || !m.local.IPv4.IsValid() || !m.local.IPv6.IsValid() {
		return a
	}
	for _, s := range m.ranked() {
		if wire.FamilyOf(s.Bound.NBMA) == family {
			return a
		}
	}
	return netip.Addr{}
}

// familyName is an NHRP address family to an operator.
func familyName(family uint16) string {
	if family == wire.FamilyIPv6 {
		return "IPv6"
	}
	return "IPv4"
}
