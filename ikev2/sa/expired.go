// SPDX-License-Identifier: Apache-2.0

package sa

// expired takes what the data plane says of a Child SA's limits.
func (m *Machine) expired(in *Expired) {
	s, c := m.childAnywhere(in.Inbound)
	switch {
	case s == nil:
	case in.Hard:
		m.hardExpire(s, c)
	case m.connection(s).PassiveIKE || m.idles(s, c):
	default:
		m.startRekey(s, c)
	}
}

// hardExpire ends a Child SA whose keys must not be used any more. The peer is told,
// unless it knows: it replaced the SA itself.
func (m *Machine) hardExpire(s *ikeSA, c *childSA) {
	c.HardAt = 0
	switch c.Stage {
	case outdated:
		if next := s.inbound(c.Successor); next != nil && next.Stage == waiting {
			m.use(s, next)
		}
		m.forget(s, c, "its lifetime is over")
	case active, waiting:
		m.report(s, Warning, "Child SA %08x reached its hard limit", c.Inbound)
		spi := c.Inbound
		m.forget(s, c, "its lifetime is over")
		s.enqueueFirst(&deleteChild{Inbound: spi})
		m.childFailed(s, "the Child SA reached its hard limit")
	}
}
