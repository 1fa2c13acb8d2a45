// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// Pauses between look-ups of a name that has no address.
const (
	firstLook = 2 * time.Second
	maxLook   = time.Minute
)

// Want is a peer that is to be connected to, and stays so until Disconnect.
type Want struct {
	Connection string
	Host       string         // address or DNS name
	Port       uint16         // 500 or 4500
	Local      netip.AddrPort // the address may be the unspecified one: then by the route; its family is that of the peer
	Identity   auth.Identity  // who must answer; zero: whom the connection lets in
}

// wantKey tells wants apart.
type wantKey struct {
	connection, host string
	port             uint16
	identity         auth.Identity
}

func (w Want) key() wantKey { return wantKey{w.Connection, w.Host, w.Port, w.Identity} }

// want is one of them, and how far it has come.
type want struct {
	Want
	locals  [2]netip.Addr // that of Local, and of another Connect: of IPv4, of IPv6
	remote  netip.Addr    // invalid: its name has no address yet
	next    netip.Addr    // that is tried from at on instead of remote; invalid: none
	at      time.Time     // when to look or to go to next; zero: nothing is planned
	looking bool
	pause   time.Duration
	reason  string // of the last failure
	retry   time.Time
	gone    bool // Disconnect came while its name was looked up
}

type wants map[wantKey]*want

// plan says when something is to be done for a want; zero: nothing is.
func (s *Service) plan(x *want, at time.Time) {
	x.at = at
	if at.IsZero() || x.gone {
		delete(s.planned, x)
	} else {
		s.planned[x] = struct{}{}
	}
}

// family is the place of IPv4 or of IPv6 in a pair.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Connect makes the service want a peer. One that is wanted already may be reached from
// an address of the other family, too. It does not wait.
func (s *Service) Connect(w Want) {
	s.control.put(func(ctx context.Context, now time.Time) {
		x := s.wants[w.key()]
		if x == nil {
			x = &want{Want: w}
			s.wants[w.key()] = x
		} else if x.locals[family(w.Local.Addr())].IsValid() {
			return
		}
		x.locals[family(w.Local.Addr())] = w.Local.Addr()
		if x.remote.IsValid() {
			return
		}
		if a, err := netip.ParseAddr(w.Host); err == nil {
			s.connect(ctx, now, x, a)
			return
		}
		s.look(ctx, x)
	})
}

// Disconnect takes a Connect back and ends the IKE SA that came of it. It does not
// wait.
func (s *Service) Disconnect(w Want) {
	s.control.put(func(ctx context.Context, now time.Time) {
		x := s.wants[w.key()]
		if x == nil {
			return
		}
		delete(s.wants, w.key())
		x.gone = true
		s.plan(x, time.Time{})
		s.disconnect(ctx, now, x)
	})
}

// Readdress says that a connection's underlay address became another one. It does
// not wait.
func (s *Service) Readdress(connection string, old, now netip.Addr) {
	s.control.put(func(ctx context.Context, at time.Time) {
		for _, x := range s.wants {
			if x.Connection != connection || x.locals[family(old)] != old {
				continue
			}
			x.locals[family(old)] = now
			if x.Local.Addr() == old {
				x.Local = netip.AddrPortFrom(now, x.Local.Port())
			}
			if x.remote.IsValid() && family(x.remote) == family(now) {
				s.connect(ctx, at, x, x.remote) // it is known already, and now goes from there
			}
		}
		s.handle(ctx, at, &sa.Readdressed{Old: old, New: now})
	})
}

func (s *Service) connect(ctx context.Context, now time.Time, x *want, to netip.Addr) {
	x.next = netip.Addr{}
	s.plan(x, time.Time{})
	local := netip.AddrPortFrom(x.locals[family(to)], x.Local.Port())
	if !local.Addr().IsValid() {
		x.reason = "we have no address of the family of " + to.String()
		return
	}
	x.remote = to
	if local.Addr().IsUnspecified() {
		// Without a route the attempt fails as any other does.
		if a, err := s.config.Sender.Source(to); err == nil {
			local = netip.AddrPortFrom(a, local.Port())
		}
	}
	s.handle(ctx, now, &sa.Connect{Connection: x.Connection, Local: local, Remote: netip.AddrPortFrom(to, x.Port), Identity: x.Identity})
}

func (s *Service) disconnect(ctx context.Context, now time.Time, x *want) {
	if x.remote.IsValid() {
		s.handle(ctx, now, &sa.Disconnect{Connection: x.Connection, Remote: netip.AddrPortFrom(x.remote, x.Port), Identity: x.Identity})
	}
}

// look looks the want's name up beside the loop.
func (s *Service) look(ctx context.Context, x *want) {
	if x.looking {
		return
	}
	x.looking = true
	s.plan(x, time.Time{})
	network := "ip"
	switch {
	case !x.locals[1].IsValid():
		network = "ip4"
	case !x.locals[0].IsValid():
		network = "ip6"
	}
	s.resolving.Go(func() {
		limited, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		found, err := s.config.Resolver.LookupNetIP(limited, network, x.Host)
		for i, a := range found {
			found[i] = a.Unmap()
		}
		s.control.put(func(ctx context.Context, now time.Time) { s.found(ctx, now, x, found, err) })
	})
}

// found takes the answer. An address that is being tried stays, if it is still
// among them, until it has failed.
func (s *Service) found(ctx context.Context, now time.Time, x *want, all []netip.Addr, err error) {
	x.looking = false
	if x.gone {
		return
	}
	all = slices.DeleteFunc(all, func(a netip.Addr) bool { return !x.locals[family(a)].IsValid() })
	if err != nil || len(all) == 0 {
		x.pause = min(max(firstLook, 2*x.pause), maxLook)
		s.plan(x, now.Add(x.pause))
		if !x.remote.IsValid() {
			x.reason, x.retry = x.Host+" has no address of a family that we have one of", x.at
			if err != nil {
				x.reason = err.Error()
			}
		}
		s.log.Debug().Err(err).Str("name", x.Host).Msg("name not found")
		return
	}
	x.pause = 0
	slices.SortFunc(all, netip.Addr.Compare) // IPv4 first, as NHRP does; servers turn their answers round
	to := all[0]
	if i, known := slices.BinarySearchFunc(all, x.remote, netip.Addr.Compare); i < len(all) {
		to = all[i]
		if known {
			to = all[(i+1)%len(all)]
		}
	}
	switch {
	case !x.remote.IsValid():
		s.log.Debug().Str("name", x.Host).Stringer("address", to).Msg("name found")
		x.reason, x.retry = "", time.Time{}
		s.connect(ctx, now, x, to)
	case to != x.remote:
		x.next = to
		s.plan(x, x.retry)
	}
}

// failed looks a name up again whose address did not answer.
func (s *Service) failed(ctx context.Context, now time.Time, f *sa.Failed) {
	for _, x := range s.wants {
		if x.Connection != f.Connection || x.remote != f.Remote.Addr() || f.Identity.Type != 0 && x.Identity != f.Identity {
			continue
		}
		x.reason, x.retry = f.Reason, f.Retry
		if x.retry.IsZero() {
			x.retry = now.Add(firstLook)
		}
		if x.remote.String() != x.Host {
			s.look(ctx, x)
		}
	}
}

// pursue does what is due of the wants.
func (s *Service) pursue(ctx context.Context, now time.Time) {
	for x := range s.planned {
		switch {
		case now.Before(x.at):
		case x.next.IsValid():
			s.disconnect(ctx, now, x)
			s.connect(ctx, now, x, x.next)
		default:
			s.look(ctx, x)
		}
	}
}

// next is when something of them is due; zero: never.
func (s *Service) nextWant() time.Time {
	var next time.Time
	for x := range s.planned {
		if next.IsZero() || x.at.Before(next) {
			next = x.at
		}
	}
	return next
}

// answered notes that a peer answered.
func (s *Service) answered(p sa.Peer) {
	for _, x := range s.wants {
		if x.Connection == p.Connection && x.remote == p.Remote.Addr() {
			x.reason, x.retry, x.next = "", time.Time{}, netip.Addr{}
			s.plan(x, time.Time{})
		}
	}
}

// WantInfo is what an operator is shown of one Want.
type WantInfo struct {
	Want
	Remote netip.Addr // invalid: its name has no address yet
	Up     bool       // an IKE SA with it stands
	Reason string     // of the last failure, since it was last up
	Retry  time.Time
}

// infos describes them, in the order of their names.
func (w wants) infos(sas []sa.Info) []WantInfo {
	var all []WantInfo
	for _, x := range w {
		i := WantInfo{Want: x.Want, Remote: x.remote, Reason: x.reason, Retry: x.retry}
		i.Up = slices.ContainsFunc(sas, func(s sa.Info) bool {
			return s.Connection == x.Connection && s.State == established && s.Peer.Remote.Addr() == x.remote
		})
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b WantInfo) int {
		return strings.Compare(a.Connection+" "+a.Host, b.Connection+" "+b.Host)
	})
	return all
}
