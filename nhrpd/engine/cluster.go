// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"slices"
)

// A cluster is the servers that stand for each other: at most MaxConnections of them are
// registered with, the best that answer; the others wait. It is a habit of Cisco's
// (`ip nhrp nhs cluster`, `max-connections`, `fallback`).
//
//	          one fails                     answers, and still does after Fallback
//	waiting ───────────→ tried ──→ up ─────────────────────────┐
//	   ↑                   ↑       │ fails                     │
//	   │                   └───────┘ tried on while it is      │
//	   └─────────────────────────── better than what is up ←───┘ the worst one that is up

// elect chooses again whom to register with.
func (m *Machine) elect() {
	seen := map[int]bool{}
	for _, s := range m.servers {
		if c := s.conf.Cluster; !seen[c] {
			seen[c] = true
			m.electIn(c)
		}
	}
}

func (m *Machine) electIn(cluster int) {
	most := m.cfg.MaxConnections
	if most <= 0 {
		most = len(m.servers)
	}
	up, wanted := 0, 0 // in use, and those that are to be
	for _, s := range m.cluster(cluster) {
		switch {
		case up == most:
			m.standBy(s)
		case s.Up && !s.Failed:
			up, wanted = up+1, wanted+1
		case s.Failed || wanted == most:
			// One that failed is tried on beside the others; it is better than some of them.
			if wanted == most && !s.Failed {
				m.standBy(s)
			}
		default:
			wanted++
			m.activate(s)
		}
	}
}

// cluster gives its servers, the best one first.
func (m *Machine) cluster(number int) (list []*server) {
	for _, s := range m.servers {
		if s.conf.Cluster == number {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *server) int { return cmp.Compare(a.conf.Priority, b.conf.Priority) })
	return list
}

// standBy takes our registration back from a server and lets it wait.
func (m *Machine) standBy(s *server) {
	if s.Standby {
		return
	}
	if s.Up {
		m.takeBack(s)
	}
	m.serverDown(s, "better ones are up")
	s.Standby, s.Failed, s.Returns = true, false, 0
	s.Reason = ""
	for _, r := range s.Registrations {
		r.Waiting, r.Tries, r.Next, r.Registered = false, 0, 0, false
	}
}

// takeBack purges our registration at a server until that has answered. What it passes on
// to us meanwhile is accepted.
func (m *Machine) takeBack(s *server) {
	until := m.now + purgeTries*longestPause
	m.admit(s.Bound, s.Protocol, until, false, "registered there until it knows better")
	m.purgeOwn(s.Protocol, s.Bound, until)
}

func (m *Machine) activate(s *server) {
	if !s.Standby {
		return
	}
	if s.Standby = false; m.local.exist() {
		m.report(Info, Endpoint{}, "NHS %s is registered with now", s.Name)
	}
	m.registerNow(s)
	m.serverDue(s)
}

// fail remembers that a server does not answer, and lets one that waits take its place.
func (m *Machine) fail(s *server) {
	s.Failed, s.Returns = true, 0
	for _, o := range m.cluster(s.conf.Cluster) {
		if o.Returns != 0 { // it may be the only one now
			m.registerNow(o)
		}
	}
	m.elect()
}

// returns says whether a server that failed and answers again is left alone for now:
// another one of its cluster is up, and it has not answered for Fallback yet.
func (m *Machine) returns(s *server) bool {
	others := slices.ContainsFunc(m.cluster(s.conf.Cluster), func(o *server) bool { return o != s && o.Up && !o.Failed })
	if !s.Failed || s.Up || m.cfg.Fallback == 0 || !others {
		return false
	}
	if s.Returns == 0 {
		s.Returns = m.now + m.cfg.Fallback
		m.report(Info, Endpoint{}, "NHS %s answers again, and is used if it still does in %v", s.Name, m.cfg.Fallback)
	}
	return m.now < s.Returns
}
