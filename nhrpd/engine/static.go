// SPDX-License-Identifier: Apache-2.0

package engine

import "net/netip"

// A Map is a peer that the operator wrote down: it need not register, nothing that comes
// over the network changes it, and it never ends.
type Map struct {
	Protocol netip.Addr // overlay address
	NBMA     netip.Addr
}

// mapped is where a next hop is by the configuration.
func (m *Machine) mapped(hop netip.Addr) (Endpoint, bool) {
	for _, x := range m.cfg.Maps {
		if x.Protocol == hop {
			return Endpoint{NBMA: x.NBMA}, true
		}
	}
	return Endpoint{}, false
}

// settleMaps binds what is mapped, as soon as there is an address to send from.
func (m *Machine) settleMaps() {
	for _, x := range m.cfg.Maps {
		if m.local.to(x.NBMA).IsValid() {
			m.settleHop(x.Protocol, "configured")
		}
	}
}

// mappedElsewhere says that a client may not have its address from an endpoint.
func (m *Machine) mappedElsewhere(protocol netip.Addr, from Endpoint) bool {
	to, ok := m.mapped(protocol)
	return ok && !to.Is(from)
}

// fromMapped says whether an endpoint is that of a map.
func (m *Machine) fromMapped(e Endpoint) bool {
	for _, x := range m.cfg.Maps {
		if to := (Endpoint{NBMA: x.NBMA}); to.Is(e) {
			return true
		}
	}
	return false
}
