// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// Address is ours in the overlay of an address's family, invalid if the tunnel has none.
func (t *Tunnel) Address(like netip.Addr) netip.Prefix {
	for _, p := range t.Addresses {
		if p.Addr().BitLen() == like.BitLen() {
			return p
		}
	}
	return netip.Prefix{}
}

// InCloud says whether an address is one of the overlay's own.
func (t *Tunnel) InCloud(a netip.Addr) bool { return t.Address(a).Contains(a) }

// overlaps gives the cloud that a prefix overlaps, invalid if it does none.
func (t *Tunnel) overlaps(p netip.Prefix) netip.Prefix {
	if cloud := t.Address(p.Addr()).Masked(); cloud.Overlaps(p) {
		return cloud
	}
	return netip.Prefix{}
}

// tunnelAddresses reads one address, or an array of one for each family.
func (t *table) tunnelAddresses() (list []netip.Prefix) {
	const remedy = `write our address in the tunnel with its prefix length, such as "10.0.0.11/24", "fd00::11/64" or an array of both`
	if _, ok := t.values["address"]; !ok {
		t.failMissing("address", remedy)
	}
	t.oneOrMore("address", remedy, func(path, s string) {
		p, ok := t.tunnelAddress(path, s, remedy)
		if !ok {
			return
		}
		for _, other := range list {
			if other.Addr().BitLen() == p.Addr().BitLen() {
				t.doc.failValue(path, fmt.Sprintf("%v and %v are of one family", other, p), "a tunnel has at most one address of IPv4 and one of IPv6")
				return
			}
		}
		list = append(list, p)
	})
	return list
}

func (t *table) tunnelAddress(path, s, remedy string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	a := p.Addr()
	switch {
	case err != nil:
		t.doc.failValue(path, fmt.Sprintf("%q is not an address with a prefix length", s), remedy)
	case a.Is4In6():
		t.doc.failValue(path, fmt.Sprintf("%q is IPv4 in IPv6's clothes", s), remedy)
	case p.Bits() > a.BitLen()-2 || p.Bits() < 1:
		t.doc.failValue(path, fmt.Sprintf("/%d leaves no room for peers or is everything", p.Bits()), remedy)
	case a == p.Masked().Addr():
		t.doc.failValue(path, fmt.Sprintf("%q is the network, not an address in it", s), remedy)
	case !unicast(a):
		t.doc.failValue(path, fmt.Sprintf("%q is not a unicast address", s), remedy)
	case a.IsLinkLocalUnicast() && a.Is6():
		t.doc.failValue(path, fmt.Sprintf("%q is a link-local address, which the tunnel has by itself", s), `write one that can be routed, such as "fd00::11/64"`)
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// protocols reads a server's addresses in the tunnel: one, an array of one for each family,
// or "dynamic".
func (t *table) protocols() (list []netip.Addr) {
	const remedy = `write the server's tunnel address, an array of one for each family, or "dynamic" to learn it`
	if v, given := t.values["protocol"]; given && v == "dynamic" {
		t.asked = append(t.asked, "protocol")
		return nil
	}
	t.oneOrMore("protocol", remedy, func(path, s string) {
		a, ok := t.parseOverlay(path, s, remedy)
		if !ok {
			return
		}
		for _, other := range list {
			if other.BitLen() == a.BitLen() {
				t.doc.failValue(path, fmt.Sprintf("%v and %v are of one family", other, a), "a server has one address of a family; write another server as its own")
				return
			}
		}
		list = append(list, a)
	})
	return list
}

// overlayAddress gives a unicast address of either family, invalid if it is absent or wrong.
func (t *table) overlayAddress(key, remedy string) netip.Addr {
	s := t.text(key, remedy)
	if s == "" {
		return netip.Addr{}
	}
	a, _ := t.parseOverlay(join(t.path, key), s, remedy)
	return a
}

func (t *table) parseOverlay(path, s, remedy string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		t.doc.failValue(path, fmt.Sprintf("%q is not an address", s), remedy)
	case a.Is4In6() || a.Zone() != "" || !unicast(a) || a.Is6() && a.IsLinkLocalUnicast():
		t.doc.failValue(path, fmt.Sprintf("%q is not a unicast address that can be routed", s), remedy)
	default:
		return a, true
	}
	return netip.Addr{}, false
}

// oneOrMore calls each with the path and content of a string, or of every element of an
// array of strings, which must not be empty.
func (t *table) oneOrMore(key, remedy string, each func(path, s string)) {
	v, given := t.values[key]
	if list, ok := v.([]any); ok {
		t.texts(key, remedy, each)
		if len(list) == 0 {
			t.doc.failValue(join(t.path, key), "an empty array", remedy)
		}
		return
	}
	if s := t.text(key, remedy); given && s != "" {
		each(join(t.path, key), s)
	}
}

// Serves says whether a server is registered with in an address's family.
func (n NHS) Serves(like netip.Addr) bool {
	return len(n.Protocols) == 0 || slices.ContainsFunc(n.Protocols, func(a netip.Addr) bool { return a.BitLen() == like.BitLen() })
}

// Protocol is a server's address of an address's family, invalid: to be learned from it.
func (n NHS) Protocol(like netip.Addr) netip.Addr {
	for _, a := range n.Protocols {
		if a.BitLen() == like.BitLen() {
			return a
		}
	}
	return netip.Addr{}
}
