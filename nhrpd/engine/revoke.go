// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"slices"
)

// revoke ends what a client has registered when its renewal is not authorized: the
// operator took it away, and waits for no holding time.
func (m *Machine) revoke(in Packet, client netip.Addr, p netip.Prefix, reason string) {
	b, ok := m.bindings.Get(p)
	if ok && b.Protocol == client && b.To.Identity != "" && b.To.Identity == in.From.Identity && !m.isUnproved(b.To.Identity) {
		m.removeBinding(b, reason)
	}
}

// isUnproved says that it is not known yet what an identity may register.
func (m *Machine) isUnproved(identity string) bool {
	if m.env.Allowed == nil {
		return false
	}
	a, ok := m.env.Allowed(identity)
	return ok && a.Unproved
}

// review ends what was imported and is not authorized now, who came first before the others.
// Those of whom it is not known yet are judged when there is an SA with them.
func (m *Machine) review() {
	var all []*binding
	for _, b := range m.bindings.All() {
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b *binding) int { return cmp.Compare(a.Since, b.Since) })
	clear(m.unproved)
	for _, b := range all {
		if m.isUnproved(b.To.Identity) {
			m.unproved[b.To.Identity] = append(m.unproved[b.To.Identity], b)
			continue
		}
		m.judge(b)
	}
}

// proved judges what an identity has from before there was an SA with it.
func (m *Machine) proved(identity string) {
	list, ok := m.unproved[identity]
	if !ok || m.isUnproved(identity) {
		return
	}
	delete(m.unproved, identity)
	for _, b := range list {
		m.judge(b)
	}
}

// judge ends a binding that its identity may not have, unless it has ended.
func (m *Machine) judge(b *binding) {
	if now, ok := m.bindings.Get(b.Prefix); !ok || now != b {
		return
	}
	reason := m.authorize(b.To.Identity, b.Protocol, b.Prefix)
	if m.cfg.Authenticated && b.To.Identity == "" {
		reason = "nobody is known to have registered it"
	}
	if reason == "" {
		return
	}
	m.count("revoked")
	m.report(Warn, b.To, "registration of %v ends: %s", b.Prefix, reason)
	m.removeBinding(b, reason)
}
