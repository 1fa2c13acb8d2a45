// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"context"
	"net/netip"
	"time"

	"dmvpn/nhrpd/engine"
)

// wanted is what the machine asked for and has not taken back.
type wanted struct {
	hops     map[netip.Addr]engine.Endpoint
	accepted map[engine.Endpoint]engine.Endpoint // by Key
	routes   map[netip.Prefix]engine.InstallRoute
}

func newWanted() wanted {
	return wanted{
		hops: map[netip.Addr]engine.Endpoint{}, accepted: map[engine.Endpoint]engine.Endpoint{},
		routes: map[netip.Prefix]engine.InstallRoute{},
	}
}

func (w *wanted) bind(nextHop netip.Addr, to engine.Endpoint) {
	w.hops[nextHop] = to
	w.admit(to)
}

func (w *wanted) unbind(nextHop netip.Addr) { delete(w.hops, nextHop) }

func (w *wanted) admit(from engine.Endpoint) { w.accepted[from.Key()] = from }

func (w *wanted) dismiss(from engine.Endpoint) {
	delete(w.accepted, from.Key())
	for hop, to := range w.hops {
		if to.Key() == from.Key() {
			delete(w.hops, hop)
		}
	}
}

// keepRoutes puts back routes of ours that someone else took: a device that
// went down and came up has lost them all. Of those that it cannot put back the machine is told:
// who registers them again is not to hear that they stand.
func (s *Service) keepRoutes(ctx context.Context, now time.Time) {
	if len(s.wanted.routes) == 0 {
		return
	}
	have, err := s.config.Router.Installed()
	if err != nil {
		s.log.Debug().Err(err).Msg("routes not read")
		return
	}
	var undone engine.Undone
	for prefix, want := range s.wanted.routes {
		nextHop := want.NextHop
		if have[prefix] == nextHop {
			continue
		}
		if err := s.config.Router.Install(prefix, nextHop, want.By); err != nil {
			s.counters.failed.Add(1)
			s.log.Debug().Err(err).Stringer("prefix", prefix).Msg("route not put back")
			undone.Actions = append(undone.Actions, want)
			continue
		}
		s.log.Info().Stringer("prefix", prefix).Stringer("nexthop", nextHop).Msg("route put back: it was removed from outside, or a routing daemon has it now")
	}
	if len(undone.Actions) > 0 {
		s.handle(ctx, now, undone)
	}
}

// reconcile ends what the run before left in the data plane and in the kernel's
// routes that this one has not asked for within Grace.
func (s *Service) reconcile() {
	installed, err := s.config.Router.Installed()
	if err != nil {
		s.log.Warn().Err(err).Msg("routes of the run before are not known, and stay")
	}
	for prefix, nextHop := range installed {
		if _, ok := s.wanted.routes[prefix]; ok {
			continue
		}
		if err := s.config.Router.Remove(prefix); err != nil {
			s.log.Warn().Err(err).Stringer("prefix", prefix).Msg("route of the run before not removed")
			continue
		}
		s.log.Info().Stringer("prefix", prefix).Stringer("nexthop", nextHop).Msg("route of the run before removed: nobody asked for it again")
	}
	places := map[engine.Endpoint]bool{} // the data plane may not know who was there
	for _, e := range s.wanted.accepted {
		places[e.Place()] = true
	}
	for endpoint, hops := range s.config.DataPlane.Admitted() {
		if _, ok := s.wanted.accepted[endpoint.Key()]; !ok && !places[endpoint] {
			err := s.config.DataPlane.Dismiss(endpoint)
			peer(s.log.Info().Err(err), endpoint).Msg("peer of the run before dismissed: it has not been heard of again")
			continue
		}
		for _, hop := range hops {
			if !s.wanted.hops[hop].Is(endpoint) {
				err := s.config.DataPlane.Unbind(hop)
				peer(s.log.Info().Err(err).Stringer("nexthop", hop), endpoint).Msg("next hop of the run before unbound: nobody asked for it again")
			}
		}
	}
}
