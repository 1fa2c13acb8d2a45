// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"dmvpn/nhrpd/wire"
)

// redirect tells whoever sent a packet by the tunnel that leaves by the tunnel
// again that there is a shorter way: a Traffic Indication with the packet's
// beginning (draft-detienne-dmvpn, laid out as an Error Indication of code 0).
// It goes to the next hop of the packet's source.
func (m *Machine) redirect(in Redirect) {
	if !m.cfg.Redirect {
		return
	}
	source, destination, ok := innerAddresses(in.Data)
	if !ok || !validDestination(source) || !validDestination(destination) || icmpError(in.Data) {
		m.count("redirect-unfit")
		return
	}
	if source == m.own() || destination == m.own() || m.cfg.Address.Contains(destination) && !m.inCloud(destination) {
		m.count("redirect-unfit")
		return
	}
	from, ok := m.onward(source)
	if !ok {
		m.count("redirect-of-unknown-source")
		return
	}
	if to, ok := m.onward(destination); !ok || to.Is(from) {
		m.count("redirect-unfit")
		return
	}
	if !m.limits.redirect(source, destination, m.now) {
		m.count("redirect-suppressed")
		return
	}
	p := m.plain(wire.TrafficIndication, source, from)
	p.Contents = in.Data[:min(len(in.Data), indicationOctets)]
	m.send(from, p)
}
