// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"cmp"
	"time"
)

// Counters gives the counters and gauges.
func (m *Machine) Counters() Counters {
	c := m.counters
	c.HalfOpen, c.Attempts = m.load.halfOpen, len(m.index.attempts)
	for _, s := range m.SAs {
		if s.Stage == established {
			c.Established++
		}
		for _, k := range s.Children {
			if k.Stage != lingering {
				c.Children++
			}
		}
	}
	return c
}

// Infos describes all IKE SAs, in the order in which they were made.
func (m *Machine) Infos(now time.Time) []Info {
	m.tick(now)
	var all []Info
	for _, s := range m.all() {
		if s.Stage == closed {
			continue
		}
		i := Info{
			ID: s.ID, Connection: s.Connection, State: s.Stage.String(), Initiator: s.Initiator, SPIi: s.SPIi, SPIr: s.SPIr,
			Peer: m.describe(s), LocalID: s.LocalID.String(), Suite: s.Choice.Suite, KeyExchange: s.Choice.KeyExchange, Further: s.Choice.Further,
			Fragmentation: s.Fragmentation, MOBIKE: s.MOBIKE, Proof: s.Proof, PeerProof: s.PeerProof,
			Age: time.Duration(m.now - cmp.Or(s.Established, s.Began)), RekeyIn: m.until(s.RekeyAt),
			Queued: len(s.tasks()), Repeats: s.Out.Repeats,
		}
		if s.Heard != 0 {
			i.Heard = time.Duration(m.now - s.Heard)
		}
		if !s.Out.Pending {
			i.Repeats = 0
		}
		for _, c := range s.Children {
			if c.Stage == lingering {
				continue
			}
			i.Children = append(i.Children, ChildInfo{
				Inbound: c.Inbound, Outbound: c.Outbound, State: c.Stage.String(), Suite: c.Choice.Suite, KeyExchange: c.Choice.KeyExchange,
				Further: c.Choice.Further, Extended: c.Choice.Extended, Mode: c.Mode, Encapsulation: c.Encapsulation,
				Here: c.Here, There: c.There, Age: time.Duration(m.now - c.Made), RekeyIn: m.until(c.RekeyAt),
			})
		}
		all = append(all, i)
	}
	return all
}

func (m *Machine) until(i instant) time.Duration {
	if i <= m.now {
		return 0
	}
	return time.Duration(i - m.now)
}
