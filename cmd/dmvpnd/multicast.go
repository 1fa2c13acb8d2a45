// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"slices"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/nhrpd/engine"
)

// Multicast implements control.Source.
func (s *source) Multicast(ctx context.Context) ([]control.Multicast, error) {
	return all(ctx, s.daemon, func(t *tunnel, _ engine.Snapshot) ([]control.Multicast, error) {
		c := t.config.Multicast
		m := control.Multicast{Tunnel: t.config.Name, Mode: multicastMode(c), Rate: c.Rate, Burst: c.Burst, Members: []control.MulticastMember{}}
		if p := t.currentPump(); p != nil {
			n := p.Multicast()
			m.Packets, m.Copies, m.Limited, m.Nobody = n.Packets, n.Copies, n.Limited, n.Nobody
		}
		there := map[netip.Addr]bool{}
		for hop, id := range t.plain.audience.members() {
			x := control.MulticastMember{Peer: uint32(id), Protocol: hop, Why: control.MulticastDynamic}
			if p, ok := t.daemon.plane.Tables.Peer(id); ok {
				x.NBMA, x.Port = p.Endpoint.NBMA, p.Endpoint.Port
			}
			if slices.Contains(c.Addresses, hop) || slices.Contains(c.Addresses, x.NBMA) {
				x.Why = control.MulticastListed
			}
			there[hop], there[x.NBMA] = true, true
			m.Members = append(m.Members, x)
		}
		for _, a := range c.Addresses {
			if there[a] {
				continue
			}
			x := control.MulticastMember{NBMA: a, Why: control.MulticastListed}
			if t.config.InCloud(a) {
				x.NBMA, x.Protocol = x.Protocol, a
			}
			m.Members = append(m.Members, x)
		}
		slices.SortFunc(m.Members, func(a, b control.MulticastMember) int { return a.Protocol.Compare(b.Protocol) })
		return []control.Multicast{m}, nil
	})
}

// multicastMode is what the configuration says.
func multicastMode(c config.Multicast) (mode []string) {
	if c.None() {
		return []string{"none"}
	}
	if c.Dynamic {
		mode = append(mode, "dynamic")
	}
	for _, a := range c.Addresses {
		mode = append(mode, a.String())
	}
	return mode
}
