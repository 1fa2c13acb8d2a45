// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
)

// validNBMA says whether an address can be a peer's on the underlay.
func validNBMA(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && a != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// validDestination says whether an address is one that can be asked for.
func validDestination(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && a != broadcast &&
		(!a.Is4() || a.As4()[0] != 0)
}

// inCloud says whether an address is a station's in the overlay: in its prefix,
// and neither its network nor its broadcast address, nor all its routers' (RFC 4291,
// section 2.6.1), which a prefix for two stations does not have (RFC 6164).
func (m *Machine) inCloud(a netip.Addr) bool {
	cloud := m.cfg.Address
	if !cloud.Contains(a) {
		return false
	}
	if cloud.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != cloud.Masked().Addr() && (a.Is6() || a != last(cloud))
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// tooWide says that no site can be all of a prefix.
func tooWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < shortestPrefix
	}
	return p.Bits() < shortestIPv6
}

// holdsUnderlay says that a prefix holds an address of the underlay: routed
// into the tunnel it would run in itself.
func (m *Machine) holdsUnderlay(p netip.Prefix, peer Endpoint) bool {
	if peer.NBMA.IsValid() && p.Contains(peer.NBMA) || m.local.in(p) {
		return true
	}
	for _, s := range m.servers {
		if slices.ContainsFunc(s.Addresses, p.Contains) {
			return true
		}
	}
	return false
}

// underlay says that an address is our own, or an NHS's, on the underlay: a
// shortcut to it would run in itself.
func (m *Machine) underlay(a netip.Addr) bool { return m.holdsUnderlay(host(a), Endpoint{}) }

// innerAddresses reads source and destination of an IP packet's beginning.
func innerAddresses(b []byte) (source, destination netip.Addr, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		source, _ = netip.AddrFromSlice(b[12:16])
		destination, _ = netip.AddrFromSlice(b[16:20])
	case len(b) >= 40 && b[0]>>4 == 6:
		source, _ = netip.AddrFromSlice(b[8:24])
		destination, _ = netip.AddrFromSlice(b[24:40])
	default:
		return source, destination, false
	}
	return source, destination, true
}

// icmpError says that a packet is an ICMP error, about which nothing is told.
func icmpError(b []byte) bool {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == 1:
		if at := int(b[0]&0x0F) * 4; len(b) > at {
			t := b[at]
			return t == 3 || t == 4 || t == 5 || t == 11 || t == 12
		}
	case len(b) > 40 && b[0]>>4 == 6 && b[6] == 58:
		return b[40] < 128
	}
	return false
}
