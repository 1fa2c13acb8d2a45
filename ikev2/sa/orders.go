// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"slices"

	"dmvpn/ikev2/wire"
)

// endSoon deletes an IKE SA when the exchange that is out has ended.
func (m *Machine) endSoon(s *ikeSA, reason string) {
	m.touch(s)
	s.Later = nil
	s.enqueueFirst(&deleteIKE{Reason: reason})
}

// terminate is the operator's deletion.
func (m *Machine) terminate(in *Terminate) {
	if in.Child != 0 {
		if s, c := m.childAnywhere(in.Child); c != nil && c.Stage != lingering {
			m.touch(s)
			s.enqueueFirst(&deleteChild{Inbound: in.Child})
		}
		return
	}
	s := m.find(in.ID)
	switch {
	case s == nil:
	case s.Stage == connecting || s.Stage == halfOpen:
		m.die(s, "terminated")
	case s.Stage == established:
		m.endSoon(s, "terminated")
	}
}

// rekey is the operator's rekey.
func (m *Machine) rekey(in *Rekey) {
	if in.Child != 0 {
		if s, c := m.childAnywhere(in.Child); c != nil {
			m.startRekey(s, c)
		}
		return
	}
	s := m.find(in.ID)
	if s == nil || s.Stage != established {
		return
	}
	m.touch(s)
	if !in.Create {
		m.startRekeyIKE(s)
		return
	}
	// One that is there or on its way is not made twice.
	if s.usable() == nil && !slices.ContainsFunc(s.tasks(), func(t task) bool {
		c, ok := t.(*createChild)
		return ok && c.Replaces == 0
	}) {
		s.enqueue(&createChild{})
	}
}

// startRekey rekeys a Child SA, unless that is under way.
func (m *Machine) startRekey(s *ikeSA, c *childSA) {
	c.RekeyAt = 0
	if s.Stage != established || c.Stage != active && c.Stage != waiting || c.Successor != 0 {
		return
	}
	for _, t := range s.tasks() {
		if x, ok := t.(*createChild); ok && x.Replaces == c.Inbound {
			return
		}
	}
	m.touch(s)
	s.enqueue(&createChild{Replaces: c.Inbound})
}

// startRekeyIKE rekeys an IKE SA, unless that is under way.
func (m *Machine) startRekeyIKE(s *ikeSA) {
	s.RekeyAt = 0
	for _, t := range s.tasks() {
		if _, ok := t.(*rekeyIKE); ok {
			return
		}
	}
	m.touch(s)
	s.enqueue(&rekeyIKE{})
}

// shutdown ends everything.
func (m *Machine) shutdown() {
	for _, w := range slices.Clone(m.Wants) {
		m.dropWant(w)
	}
	for _, s := range m.all() {
		if s.Stage == established || s.Stage == replaced || s.Stage == deleting {
			m.farewell(s, &wire.Delete{Protocol: wire.ProtocolIKE})
		}
		m.die(s, "shutdown")
	}
}
