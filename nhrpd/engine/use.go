// SPDX-License-Identifier: Apache-2.0

package engine

// parts is how many samples an idle time has.
const parts = 4

// startUse counts one more shortcut to an endpoint, and begins to measure what
// it carries.
func (m *Machine) startUse(e Endpoint) {
	u, ok := m.uses.Get(e.Key())
	if !ok {
		u = &use{Endpoint: e, Samples: []uint64{m.octets(e)}, Active: m.now, Next: m.now + m.cfg.Idle/parts}
	}
	u.Endpoint = e
	u.Shortcuts++
	m.uses.Put(u.Endpoint.Key(), u, u.Next)
}

// endUse counts one less, and says whether it was the last.
func (m *Machine) endUse(e Endpoint) bool {
	u, ok := m.uses.Get(e.Key())
	if !ok {
		return false
	}
	if u.Shortcuts--; u.Shortcuts > 0 {
		return false
	}
	m.uses.Delete(e.Key())
	return true
}

// octets is what the data plane has counted of an endpoint, both ways.
func (m *Machine) octets(e Endpoint) uint64 { return m.env.Traffic(e).Bytes }

// measureUses samples the endpoints whose time has come, and ends the shortcuts
// to those that carried less than IdleBytes within Idle. Routing hellos alone do
// not keep a shortcut.
func (m *Machine) measureUses() {
	for {
		_, u, ok := m.uses.Due(m.now)
		if !ok {
			return
		}
		e := u.Endpoint
		bytes := m.octets(e)
		before := u.Samples[len(u.Samples)-1]
		if bytes < before {
			u.Samples, before = nil, bytes // the data plane began to count anew
		}
		if bytes-before >= max(m.cfg.IdleBytes/parts, 1) {
			u.Active = m.now
		}
		u.Samples = append(u.Samples, bytes)
		if len(u.Samples) > parts+1 {
			u.Samples = u.Samples[1:]
		}
		if !m.inUse(e) {
			m.removeIdle(e)
			continue
		}
		u.Next = m.now + m.cfg.Idle/parts
		m.uses.Put(e.Key(), u, u.Next)
	}
}

// inUse says whether an endpoint carried enough within Idle. One that is not
// measured for so long yet is in use.
func (m *Machine) inUse(e Endpoint) bool {
	u, ok := m.uses.Get(e.Key())
	return ok && (len(u.Samples) <= parts || m.octets(e)-u.Samples[0] >= m.cfg.IdleBytes)
}

// removeIdle ends every shortcut to an endpoint.
func (m *Machine) removeIdle(e Endpoint) {
	var idle []*shortcut
	for _, s := range m.shortcuts.All() {
		if s.To.Key() == e.Key() {
			idle = append(idle, s)
		}
	}
	for _, s := range idle {
		m.removeShortcut(s, "idle", true)
	}
	m.uses.Delete(e.Key())
}
