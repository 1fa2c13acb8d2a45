// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// established is the State of an Info that can be asked for something.
const established = "established"

// ErrNoPeer says that nobody is known by the name that an operator gave.
var ErrNoPeer = errors.New("no such peer")

// Snapshot is what an operator is shown.
type Snapshot struct {
	SAs      []sa.Info
	Wants    []WantInfo
	Counters sa.Counters
}

// Snapshot gives what the machine knows.
func (s *Service) Snapshot(ctx context.Context) (Snapshot, error) {
	var out Snapshot
	err := s.call(ctx, func(now time.Time) {
		out.SAs, out.Counters = s.machine.Infos(now), s.machine.Counters()
		out.Wants = s.wants.infos(out.SAs)
	})
	return out, err
}

// Rekey begins to rekey the IKE SA with a peer or, with child, its Child SAs, and
// says how many. peer is an identity, an address with or without a port, or the
// number of an IKE SA or a peer.
func (s *Service) Rekey(ctx context.Context, peer string, child bool) (int, error) {
	return s.operate(ctx, peer, child, false, func(i sa.Info, c uint32) sa.Input { return &sa.Rekey{ID: i.ID, Child: c} })
}

// Terminate deletes the IKE SAs with a peer or, with child, its Child SAs, and says
// how many. What a Want asks for is made anew.
func (s *Service) Terminate(ctx context.Context, peer string, child bool) (int, error) {
	return s.operate(ctx, peer, child, true, func(i sa.Info, c uint32) sa.Input { return &sa.Terminate{ID: i.ID, Child: c} })
}

// Renew takes new credentials for the connections of the same names: keys, certificates,
// authorities with their revocation lists, and who is let in. They hold for whoever proves
// himself from then on; what stands is not touched. A connection with another identity than
// before is an error, and then nothing is taken.
func (s *Service) Renew(ctx context.Context, fresh []*sa.Connection) error {
	var err error
	called := s.call(ctx, func(time.Time) {
		var pairs [][2]*sa.Connection
		for _, old := range s.config.Machine.Connections {
			for _, c := range fresh {
				if c.Name != old.Name {
					continue
				}
				if !c.Local.Equal(old.Local) {
					err = fmt.Errorf("ike: %s was %s and is %s: another identity takes a restart", c.Name, old.Local, c.Local)
					return
				}
				pairs = append(pairs, [2]*sa.Connection{old, c})
			}
		}
		for _, p := range pairs {
			old, c := p[0], p[1]
			old.SharedKeys, old.Key, old.Chain, old.Trust, old.Peers = c.SharedKeys, c.Key, c.Chain, c.Trust, c.Peers
		}
	})
	return errors.Join(called, err)
}

// operate gives the machine an input for each SA that is meant. Any state of an IKE SA
// will do where unripe is set.
func (s *Service) operate(ctx context.Context, peer string, child, unripe bool, input func(sa.Info, uint32) sa.Input) (n int, err error) {
	called := s.call(ctx, func(now time.Time) {
		var list []sa.Info
		if list, err = find(s.machine.Infos(now), peer); err != nil {
			return
		}
		for _, i := range list {
			if i.State != established && (child || !unripe) {
				continue
			}
			targets := []uint32{0}
			if child {
				targets = usable(i)
			}
			for _, c := range targets {
				s.handle(ctx, now, input(i, c))
				n++
			}
		}
		if n == 0 {
			err = fmt.Errorf("ike: nothing of %s is %s yet", peer, established)
		}
	})
	return n, errors.Join(called, err)
}

// usable are the inbound SPIs of the Child SAs that no other one has replaced.
func usable(i sa.Info) []uint32 {
	var all []uint32
	for _, c := range i.Children {
		if c.State == "active" || c.State == "installed" {
			all = append(all, c.Inbound)
		}
	}
	return all
}

// Addresses gives the addresses of the IKE SAs with a peer, for Trace. An address is
// its own, whether anybody is there or not.
func (s *Service) Addresses(ctx context.Context, peer string) (all []netip.Addr, err error) {
	if a, err := netip.ParseAddr(peer); err == nil {
		return []netip.Addr{a}, nil
	}
	called := s.call(ctx, func(now time.Time) {
		var list []sa.Info
		list, err = find(s.machine.Infos(now), peer)
		for _, i := range list {
			all = append(all, i.Peer.Remote.Addr())
		}
	})
	return slices.Compact(all), errors.Join(called, err)
}

// find gives the IKE SAs that an operator means. All are of one peer: a name that
// fits several is an error that tells them apart.
func find(all []sa.Info, peer string) ([]sa.Info, error) {
	var found []sa.Info
	for _, i := range all {
		if means(peer, i) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("ike: %q: %w: dmvpn ike lists those that there are", peer, ErrNoPeer)
	}
	first := found[0].Peer
	for _, i := range found {
		if i.Peer.ID == first.ID {
			continue
		}
		var names []string
		for _, i := range found {
			names = append(names, fmt.Sprintf("%d (%s at %s, %s)", i.ID, who(i), i.Peer.Remote, i.Connection))
		}
		return nil, fmt.Errorf("ike: %q is several: name one by its number: %s", peer, strings.Join(names, ", "))
	}
	return found, nil
}

func who(i sa.Info) string {
	if i.Peer.Identity.Type == 0 {
		return i.State
	}
	return i.Peer.Identity.String()
}

// means says whether an IKE SA is of the peer with a number, endpoint or identity.
func means(peer string, i sa.Info) bool {
	if n, err := strconv.ParseUint(peer, 10, 64); err == nil {
		return n != 0 && (n == i.ID || n == i.Peer.ID)
	}
	if a, err := netip.ParseAddrPort(peer); err == nil && a == i.Peer.Remote {
		return true
	}
	if a, err := netip.ParseAddr(peer); err == nil && a == i.Peer.Remote.Addr() {
		return true
	}
	if i.Peer.Identity.Type == 0 {
		return false
	}
	id, err := auth.ParseIdentity(peer)
	return err == nil && id.Equal(i.Peer.Identity) || peer == i.Peer.Identity.String()
}
