// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"dmvpn/cmd/internal/config"
	"dmvpn/ikev2/auth"
	"dmvpn/nhrpd/engine"
)

// authorizer knows what the configuration lets each identity of a tunnel register.
type authorizer struct {
	list     []config.Authorization
	patterns []auth.Pattern

	mu     sync.Mutex
	claims map[string]*auth.Claims // by the name of an identity that has an SA; nil: it showed no certificate
}

func newAuthorizer(list []config.Authorization) (*authorizer, error) {
	a := &authorizer{list: list, patterns: make([]auth.Pattern, len(list)), claims: map[string]*auth.Claims{}}
	for i, l := range list {
		p, err := auth.ParsePattern(l.Peer)
		if err != nil {
			return nil, fmt.Errorf("authorize: %w", err)
		}
		a.patterns[i] = p
	}
	return a, nil
}

// proved notes what an identity's certificate grants; nil: it showed none.
func (a *authorizer) proved(name string, c *auth.Claims) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims[name] = c
}

// left forgets an identity that has no SA any more.
func (a *authorizer) left(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.claims, name)
}

// lookup is what engine.Env.Allowed wants; nil where the configuration lists nobody.
// Identities are named as auth.Identity.Name does.
func (a *authorizer) lookup() func(string) (engine.Allowance, bool) {
	if len(a.list) == 0 {
		return nil
	}
	return a.allowed
}

// allowed gives what the first entry that fits an identity lets it register.
func (a *authorizer) allowed(name string) (engine.Allowance, bool) {
	// One that no configuration can name fits "*" alone.
	who, err := auth.ParseIdentity(name)
	for i, l := range a.list {
		switch {
		case l.Peer != "*" && (err != nil || !a.patterns[i].Matches(who)):
		case l.Certificate:
			return a.granted(name, l.Networks), true
		default:
			return engine.Allowance{Addresses: orNil(l.Addresses), Networks: orNil(l.Networks)}, true
		}
	}
	return engine.Allowance{}, false
}

// granted is what the certificate of an identity says, nothing if it has none or has not
// been met yet: of the
// networks those that lie inside of the configured ones.
func (a *authorizer) granted(name string, within []netip.Prefix) engine.Allowance {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := engine.Allowance{Addresses: []netip.Prefix{}, Networks: []netip.Prefix{}}
	c, met := a.claims[name]
	if c == nil {
		g.Unproved = !met
		return g
	}
	for _, address := range c.Addresses {
		g.Addresses = append(g.Addresses, netip.PrefixFrom(address, address.BitLen()))
	}
	for _, n := range c.Networks {
		inside := func(w netip.Prefix) bool { return w.Bits() <= n.Bits() && w.Contains(n.Addr()) }
		if len(within) == 0 || slices.ContainsFunc(within, inside) {
			g.Networks = append(g.Networks, n)
		}
	}
	return g
}

// orNil makes an empty list the one that says nothing.
func orNil(list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	return list
}
