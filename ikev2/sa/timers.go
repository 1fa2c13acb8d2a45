// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"container/heap"
	"slices"
	"time"
)

// timer is when something may be due: of one IKE SA, or of one want. There is never more
// than one of each.
type timer struct {
	at     instant // 0: it is not planned
	number uint64  // of the SA or want: equal times have an order
	place  int     // in the heap
	run    func()
}

// timerHeap has the soonest timer first.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].number < h[j].number
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.place = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

// plan moves a timer to another time; 0: never.
func (m *Machine) plan(t *timer, at instant) {
	switch was := t.at; {
	case was == at:
	case at == 0:
		heap.Remove(&m.timers, t.place)
		t.at = 0
	case was == 0:
		t.at = at
		heap.Push(&m.timers, t)
	default:
		t.at = at
		heap.Fix(&m.timers, t.place)
	}
}

// retry makes the machine look at a want at an instant; 0: at none.
func (m *Machine) retry(w *want, at instant) {
	w.RetryAt = at
	m.plan(&w.timer, at)
}

// armSA plans the next look at an SA.
func (m *Machine) armSA(s *ikeSA) {
	m.plan(&s.timer, m.deadline(s))
}

// Next is when Handle should be called although nothing arrived; zero: never.
func (m *Machine) Next() time.Time {
	if len(m.timers) == 0 {
		return time.Time{}
	}
	return m.wall(m.timers[0].at)
}

// settleDown lets tasks go on, looks at peers and begins attempts until nothing changes any
// more.
func (m *Machine) settleDown() {
	for len(m.touched) > 0 || len(m.changed) > 0 || m.attemptNext() {
		if len(m.touched) > 0 {
			s := m.touched[0]
			m.touched, s.touched = m.touched[1:], false
			if m.SAs[s.own()] == s {
				m.pump(s)
				m.armSA(s)
			}
			continue
		}
		if len(m.changed) > 0 {
			p := m.changed[0]
			m.changed, p.changed = m.changed[1:], false
			m.review(p)
		}
	}
	m.touched, m.changed = nil, nil
}

// runTimers does what is due.
func (m *Machine) runTimers() {
	for len(m.timers) > 0 && m.timers[0].at <= m.now {
		t := m.timers[0]
		m.plan(t, 0)
		t.run()
		m.settleDown()
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
	m.touch(s) // its timer is planned anew
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
		s.KeepaliveAt = 0 // an import may have come with a policy that wants none
		if c.Keepalive > 0 {
			s.KeepaliveAt = m.at(c.Keepalive)
		}
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
			if !c.PassiveIKE && !m.idles(s, k) {
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

// checkLiveness asks a peer that has been silent.
func (m *Machine) checkLiveness(s *ikeSA) {
	m.listen(s)
	if m.due(m.livenessAt(s)) && len(s.Queue) == 0 && s.Running == nil {
		s.enqueue(&inform{})
	}
}

// listen notes when ESP came from a peer: what goes out proves nothing (section 2.4).
func (m *Machine) listen(s *ikeSA) {
	for _, c := range s.Children {
		if at := m.config.Installer.Received(c.Inbound); !at.IsZero() {
			s.Heard = max(s.Heard, min(instant(at.Sub(m.epoch)), m.now))
		}
	}
}

// silent says whether a peer has been so for twice the time after which it is asked.
func (m *Machine) silent(s *ikeSA) bool {
	c := m.connection(s)
	if s.Stage != established || c == nil || c.Liveness == 0 {
		return false
	}
	m.listen(s)
	return m.now >= s.Heard.after(2*c.Liveness)
}
