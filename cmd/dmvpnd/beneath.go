// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"dmvpn/cmd/internal/instance"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
)

// beneath stands what leads nowhere under the prefixes of a tunnel that get a route. Both families
// use it.
type beneath struct {
	tunnel  *tunnel
	refused atomic.Uint64

	mu   sync.Mutex
	said map[string]bool // of whom, or where, the log says that no more is learned; "": of anybody
}

// stand is a router's under: of a tunnel in clear nothing stands, nor what would cut its
// outer packets off.
func (b *beneath) stand(p netip.Prefix, by engine.Endpoint) error {
	t := b.tunnel
	if !t.config.Protected {
		return nil
	}
	t.mu.Lock()
	u := t.underlay
	t.mu.Unlock()
	place := t.place(p)
	if cutsServers(t.daemon.mirror, t.config, u, place) {
		t.log.Debug().Stringer("prefix", p).Msg("nothing stands unreachable: outer packets are in it")
		return nil
	}
	if by == (engine.Endpoint{}) {
		return t.daemon.unreachable.Stand(place)
	}
	of := learnedOf(t.config.Name, by)
	err := t.daemon.unreachable.Learn(place, of, by.NBMA)
	switch {
	case errors.Is(err, instance.ErrLearnedOfOne):
		b.full(of.Tunnel+" "+of.Name, p, by, err)
	case errors.Is(err, instance.ErrLearnedAtOne):
		b.full(by.NBMA.String(), p, by, err)
	case errors.Is(err, instance.ErrLearned):
		b.full("", p, by, err)
	default:
		return err
	}
	return fmt.Errorf("%w: %w", nhrpd.ErrLimit, err)
}

// full counts what is refused, and says so once of each peer or address: there are
// as many as have had their share.
func (b *beneath) full(of string, p netip.Prefix, by engine.Endpoint, err error) {
	b.refused.Add(1)
	b.mu.Lock()
	said := b.said[of]
	b.said[of] = true
	b.mu.Unlock()
	if !said {
		b.tunnel.log.Warn().Err(err).Str("identity", by.Identity).Stringer("nbma", by.NBMA).Stringer("prefix", p).
			Msg("a prefix gets no route: nothing more can stand unreachable under it when it is withdrawn; list what this peer may have in networks of [[authorize]], or `dmvpn teardown --release` lifts what stands")
	}
}

// learnedOf names a peer in a few octets: a peer chooses how long its identity is.
func learnedOf(tunnel string, by engine.Endpoint) instance.Peer {
	const most = 64
	who := by.Identity
	if who == "" {
		who = by.NBMA.String()
	}
	if len(who) > most {
		sum := sha256.Sum256([]byte(who))
		who = hex.EncodeToString(sum[:])
	}
	return instance.Peer{Tunnel: tunnel, Name: who}
}
