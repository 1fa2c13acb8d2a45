// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// copied says whether a next hop gets multicast: one that is a server's or a client's that
// wants it, where that is enough; one that the operator lists, whatever it is.
func (m *Machine) copied(hop netip.Addr, to Endpoint, wants bool) bool {
	c := m.cfg.Multicast
	return c.Dynamic && wants || slices.Contains(c.Addresses, hop) || slices.Contains(c.Addresses, to.NBMA)
}

// sayMulticast puts into a registration of ours that we want no multicast. Systems that do
// not know our extension go on to send it: as with a router's, silence means that it is wanted.
func (m *Machine) sayMulticast(p *wire.Packet) {
	if !m.cfg.Multicast.Unwanted {
		return
	}
	own, _ := p.Private()
	if own.NoMulticast = true; p.SetPrivate(own) != nil {
		m.count("encode-failed")
	}
}

// wantsNoMulticast says whether a registration says so.
func wantsNoMulticast(p *wire.Packet) bool {
	own, _ := p.Private()
	return own.NoMulticast
}
