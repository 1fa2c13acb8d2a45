// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"container/heap"
	"slices"
	"time"

	"dmvpn/ikev2/wire"
)

// timer is when something may be due: an SA by its own SPI, or a want.
type timer struct {
	at  instant
	own wire.SPI
}

// timerHeap has the soonest timer first, and of equal ones always the same. Timers are
// taken out only at the front (see prune): one that comes too early finds nothing due.
type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return bytes.Compare(h[i].own[:], h[j].own[:]) < 0
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// arm makes the machine look at its wants at an instant.
func (m *Machine) arm(at instant) { heap.Push(&m.timers, timer{at: at}) }

// armSA plans the next look at an SA, unless one is planned as soon.
func (m *Machine) armSA(s *ikeSA) {
	at := m.deadline(s)
	if at == 0 || s.armed != 0 && s.armed <= at && s.armed > m.now {
		return
	}
	s.armed = at
	heap.Push(&m.timers, timer{at, s.own()})
}

// Next is when Handle should be called although nothing arrived; zero: never.
func (m *Machine) Next() time.Time {
	if len(m.timers) == 0 {
		return time.Time{}
	}
	return m.wall(m.timers[0].at)
}

// prune takes timers out that would find nothing due: then Next tells the truth, and
// what is gone holds no timer.
func (m *Machine) prune() {
	for len(m.timers) > 0 {
		t := m.timers[0]
		switch s := m.SAs[t.own]; {
		case t.own.IsZero():
			if slices.ContainsFunc(m.Wants, func(w *want) bool { return w.RetryAt == t.at }) {
				return
			}
			heap.Pop(&m.timers)
		case s == nil || s.armed != t.at:
			heap.Pop(&m.timers)
		case m.deadline(s) == t.at:
			return
		default:
			heap.Pop(&m.timers)
			s.armed = 0
			m.armSA(s)
		}
	}
}

// settleDown lets tasks go on and looks at peers until nothing changes any more.
func (m *Machine) settleDown() {
	for len(m.touched) > 0 || len(m.changed) > 0 {
		if len(m.touched) > 0 {
			s := m.touched[0]
			m.touched = m.touched[1:]
			if m.SAs[s.own()] == s {
				m.pump(s)
				m.armSA(s)
			}
			continue
		}
		p := m.changed[0]
		m.changed = m.changed[1:]
		m.review(p)
	}
	m.touched, m.changed = nil, nil
}

// runTimers does what is due.
func (m *Machine) runTimers() {
	for len(m.timers) > 0 && m.timers[0].at <= m.now {
		t := heap.Pop(&m.timers).(timer)
		if t.own.IsZero() {
			m.runWants()
			continue
		}
		s := m.SAs[t.own]
		if s == nil {
			continue
		}
		if s.armed == t.at {
			s.armed = 0
		}
		m.runSA(s)
		m.touch(s)
		m.settleDown()
	}
}

func (m *Machine) runWants() {
	for _, w := range slices.Clone(m.Wants) {
		if m.due(w.RetryAt) {
			m.pursue(w)
		}
	}
}

// deadline is when something of the SA is due; 0: never.
func (m *Machine) deadline(s *ikeSA) instant {
	d := s.GoneAt
	if s.Out.Pending {
		d = earliest(d, s.Out.At)
	}
	if s.Stage == closed {
		return d
	}
	for _, at := range []instant{s.RekeyAt, s.HardAt, s.ReauthAt, s.KeepaliveAt, m.livenessAt(s)} {
		d = earliest(d, at)
	}
	for _, c := range s.Children {
		d = earliest(earliest(earliest(d, c.RekeyAt), c.HardAt), c.GoneAt)
	}
	for _, n := range s.Chains {
		d = earliest(d, n.Expires)
	}
	for _, l := range s.Later {
		d = earliest(d, l.At)
	}
	return d
}

// livenessAt is when a silent peer is asked; 0: not, or a request is out whose repeats
// ask it.
func (m *Machine) livenessAt(s *ikeSA) instant {
	c := m.connection(s)
	if s.Stage != established || c == nil || c.Liveness == 0 || s.Out.Pending {
		return 0
	}
	return s.Heard.after(c.Liveness)
}

// runSA does what is due of one SA.
func (m *Machine) runSA(s *ikeSA) {
	if m.due(s.GoneAt) {
		m.expireSA(s)
		return
	}
	if s.Out.Pending && m.due(s.Out.At) {
		m.repeat(s)
		if m.SAs[s.own()] != s {
			return
		}
	}
	if s.Stage == closed {
		return
	}
	c := m.connection(s)
	if m.due(s.KeepaliveAt) {
		s.KeepaliveAt = m.at(c.Keepalive)
		m.do(&Send{Local: s.Local, Remote: s.Remote, Data: []byte{0xff}, Keepalive: true})
	}
	if m.due(m.livenessAt(s)) {
		m.checkLiveness(s)
	}
	if m.due(s.HardAt) {
		s.HardAt = 0
		m.report(s, Warning, "the IKE SA reached its hard limit")
		m.endSoon(s, "its lifetime is over")
	}
	if m.due(s.RekeyAt) {
		s.RekeyAt = 0
		if !c.PassiveIKE {
			m.startRekeyIKE(s)
		}
	}
	if s.Out.Next >= messageIDEnd || s.In.Next >= messageIDEnd {
		m.startRekeyIKE(s)
	}
	if m.due(s.ReauthAt) {
		s.ReauthAt = 0
		if s.Initiator {
			m.again(s)
		}
	}
	m.runChildren(s, c)
	s.Chains = slices.DeleteFunc(s.Chains, func(n *negotiation) bool {
		if m.due(n.Expires) {
			m.cancel(n)
			return true
		}
		return false
	})
	for len(s.Later) > 0 {
		i := slices.IndexFunc(s.Later, func(l later) bool { return m.due(l.At) })
		if i < 0 {
			break
		}
		t := s.Later[i].Task
		s.Later = slices.Delete(s.Later, i, i+1)
		if _, ok := t.(*createChild); ok && s.usable() != nil {
			continue // there is one by now
		}
		s.enqueue(t)
	}
}

func (m *Machine) runChildren(s *ikeSA, c *Connection) {
	for _, k := range slices.Clone(s.Children) {
		if m.due(k.GoneAt) {
			k.GoneAt = 0
			m.forget(s, k, "expired")
			continue
		}
		if m.due(k.HardAt) {
			m.hardExpire(s, k)
			continue
		}
		if m.due(k.RekeyAt) {
			k.RekeyAt = 0
			if !c.PassiveIKE {
				m.startRekey(s, k)
			}
		}
	}
}

// expireSA ends an SA whose time to go without a word has come.
func (m *Machine) expireSA(s *ikeSA) {
	if s.Stage == halfOpen {
		m.counters.HalfOpenExpired++
	}
	m.die(s, "its time is over")
}

// checkLiveness asks a peer that has been silent, unless ESP came in meanwhile: what
// goes out proves nothing (section 2.4).
func (m *Machine) checkLiveness(s *ikeSA) {
	for _, c := range s.Children {
		if at := m.config.Installer.Received(c.Inbound); !at.IsZero() {
			s.Heard = max(s.Heard, min(instant(at.Sub(m.epoch)), m.now))
		}
	}
	if m.due(m.livenessAt(s)) && len(s.Queue) == 0 && s.Running == nil {
		s.enqueue(&inform{})
	}
}
