// SPDX-License-Identifier: Apache-2.0

package engine

import "slices"

// carrier is the tunnel's carrier where it follows the next hop servers (Cisco's
// `if-state nhrp`): it is there while one of them answers.
type carrier struct {
	Known bool    `json:",omitempty"` // Up was said
	Up    bool    `json:",omitempty"`
	Ends  instant `json:",omitempty"` // when it is lost if still nobody answers; 0: somebody does, or it is lost
}

// replies says whether a server answers: it has registered us, renewals and probes are
// answered, and its SA stands. The last server's routes and next hop outlive that.
func (m *Machine) replies(s *server) bool {
	if !s.Up || s.Failed || !m.secure(s.Bound) {
		return false
	}
	p, ok := m.paths.Get(s.Bound.Key())
	return !ok || p.State == PathDirect
}

// settleCarrier says when the carrier comes and goes. It goes a little later than the last
// answer: an SA that is made anew is no reason.
func (m *Machine) settleCarrier() {
	c := &m.carrier
	if !m.cfg.IfState {
		return
	}
	switch {
	case slices.ContainsFunc(m.servers, m.replies):
		if c.Ends = 0; !c.Up {
			m.sayCarrier(true, "a next hop server answers")
		}
	case c.Known && !c.Up:
	case c.Ends == 0:
		c.Ends = m.now + carrierDelay
	case m.now >= c.Ends:
		c.Ends = 0
		m.sayCarrier(false, "no next hop server answers")
	}
}

func (m *Machine) sayCarrier(up bool, reason string) {
	m.carrier.Known, m.carrier.Up = true, up
	m.report(Info, Endpoint{}, "the tunnel %s its carrier: %s", map[bool]string{true: "has", false: "loses"}[up], reason)
	m.do(Carrier{Up: up})
}

// holdCarrier leaves the carrier as it is for as long as a restart takes.
func (m *Machine) holdCarrier() {
	if c := &m.carrier; !c.Known || c.Up {
		c.Ends = max(c.Ends, m.now+carrierGrace)
	}
}
