// SPDX-License-Identifier: Apache-2.0

package world

import (
	"net/netip"
	"slices"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Forge lets an end get a datagram that anybody may have made: local is where it arrives,
// remote where it seems to come from. An answer goes onto the wire.
func (w *World) Forge(to *End, local, remote netip.AddrPort, data []byte) {
	m := &Message{From: &End{Name: "somebody"}, Local: remote, Remote: local, Packets: [][]byte{data}}
	m.Header, _, _ = wire.ParseHeader(data)
	if msg, err := wire.Parse(data); err == nil {
		m.Payloads = msg.Payloads
	}
	m.kind = letters[m.Exchange]
	w.log("%s gets a forgery from %s: %s", to.Name, remote, m)
	m.unbent, to.cause = m, m
	to.Input(&sa.Datagram{Local: local, Remote: remote, Data: slices.Clone(data)})
	to.cause = nil
}

// Copy lets the receiver of a message get it once more, from somewhere else.
func (w *World) Copy(m *Message, from netip.AddrPort) {
	to, local := w.route(m.source, m.Remote)
	if w.Storm() || to == nil || to.Machine == nil {
		return
	}
	w.log("%s gets a copy from %s: %s", to.Name, from, m)
	w.took(m)
	m.unbent, to.cause = m, m
	for _, b := range m.Packets {
		to.Input(&sa.Datagram{Local: local, Remote: from, Data: slices.Clone(b)})
	}
	to.cause = nil
}

// Endpoint is where an end's IKE sends from at first.
func (e *End) Endpoint() netip.AddrPort { return e.endpoint() }

// Flush loses all that is on its way.
func (w *World) Flush() {
	if w.Storm() {
		return
	}
	for _, m := range w.wire {
		w.log("lost: %s", m)
	}
	w.wire = nil
}

// ForgetWindows says that the ends' message ids were changed by other means.
func (w *World) ForgetWindows() {
	clear(w.flows)
	w.resumed = true
}

// OnTheWay is how many messages are on their way.
func (w *World) OnTheWay() int { return len(w.wire) }
