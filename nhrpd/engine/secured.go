// SPDX-License-Identifier: Apache-2.0

package engine

// secured tries at once what could not be sent before there was an SA: the
// registration with a server, and requests that wait for it.
func (m *Machine) secured(at Endpoint) {
	m.proved(at.Identity)
	m.pathsSecured()
	for _, s := range m.servers {
		to, ok := s.to()
		if !ok || !to.Is(at) {
			continue
		}
		if r := s.own(); !s.Standby && (!r.Registered || r.Waiting) {
			m.registerNow(s)
		}
		m.serverDue(s)
	}
	for _, q := range m.requests.All() {
		if q.To.Is(at) {
			q.Next = m.now
			m.requests.Put(q.ID, q, q.Next)
		}
	}
}
