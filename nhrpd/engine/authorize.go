// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// A violation is what an identity tried and must not.
type violation struct {
	identity string
	prefix   netip.Prefix
}

func compareViolations(a, b violation) int {
	return cmp.Or(cmp.Compare(a.identity, b.identity), a.prefix.Compare(b.prefix))
}

// Violations that are remembered, and for how long, so that each is reported once.
const (
	violationsKept = 1024
	violationKept  = 24 * time.Hour
)

// authorize says why an identity must not register a prefix of a client's, "" if it may.
// On a tunnel without identities everybody may.
//
// What an operator does not list is held by who came first: an overlay address or a network
// by the identity that registered it, as long as it is registered. An identity has one
// address, and gives it up when it registers another one.
func (m *Machine) authorize(identity string, client netip.Addr, p netip.Prefix) string {
	if identity == "" {
		return ""
	}
	var allowance Allowance
	if m.env.Allowed != nil {
		a, ok := m.env.Allowed(identity)
		if !ok {
			return "no authorization names " + identity
		}
		allowance = a
	}
	own, bits := p == host(client), allowance.listing(p)
	switch {
	case allowance.Addresses != nil && !slices.ContainsFunc(allowance.Addresses, func(a netip.Prefix) bool { return a.Contains(client) }):
		return identity + " is not authorized for " + client.String()
	case !own && allowance.Networks != nil && bits == unlisted:
		return identity + " is not authorized for " + p.String()
	case !own:
		return m.collision(identity, p, bits)
	}
	if b, ok := m.bindings.Get(p); ok && b.To.Identity != "" && b.To.Identity != identity {
		return "it is held by " + b.To.Identity
	}
	return ""
}

// readdress ends the overlay address that an identity had before this one, unless the
// operator lets it have several.
func (m *Machine) readdress(b *binding) {
	old, ok := m.identities[b.To.Identity]
	if b.To.Identity == "" || !b.host() || !ok || old.Protocol == b.Protocol {
		return
	}
	if m.env.Allowed != nil {
		if a, _ := m.env.Allowed(b.To.Identity); len(a.Addresses) > 0 {
			return
		}
	}
	m.removeBinding(old, b.To.Identity+" registered "+b.Protocol.String())
}

// violated counts what an identity must not do, and reports it once.
func (m *Machine) violated(in Packet, p netip.Prefix, reason string) {
	m.count("unauthorized")
	for {
		k, _, ok := m.violations.Due(m.now)
		if !ok {
			break
		}
		m.violations.Delete(k)
	}
	v := violation{in.From.Identity, p}
	if _, known := m.violations.Get(v); !known {
		if m.violations.Len() >= violationsKept {
			oldest, _, _ := m.violations.First()
			m.violations.Delete(oldest)
		}
		m.report(Warn, in.From, "registration of %v refused: %s (%v)", p, reason, wire.CodeAdministrativelyProhibited)
	}
	m.violations.Put(v, m.now, m.now+violationKept)
}
