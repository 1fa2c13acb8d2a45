// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// Snapshot is what a machine knows, for people. It shares nothing with the
// machine. Times are on the clock that Snapshot was given; a zero one never comes.
type Snapshot struct {
	NBMA      netip.Addr // our underlay address, invalid: none
	Other     netip.Addr // that of IPv6 beside one of IPv4, invalid: none
	Public    netip.Addr // as our servers see it, invalid: the same
	Fallback  netip.Addr // next hop of what is unresolved, invalid: none
	Servers   []ServerInfo
	Bindings  []BindingInfo  // registered with us
	Shortcuts []ShortcutInfo // resolved by us
	Negatives []NegativeInfo
	Requests  []RequestInfo // Resolution Requests of ours without an answer yet
	Told      []ToldInfo    // whom we answered
	Purges    []PurgeInfo   // Purge Requests of ours without an answer yet
	Accepted  []Endpoint    // whose GRE is accepted, for whatever reason
	// Counters by name: TYPE-received and TYPE-sent (as in
	// resolution-request-sent), error-received-CODE, error-sent-CODE,
	// dropped-REASON, and events such as answered, refused and forwarded.
	Counters map[string]uint64
	Caches   []CacheInfo // how full is what peers can fill
}

// CacheInfo is how full a table is. A full one of registrations refuses new ones (code 5);
// the others forget, or take nothing more in.
type CacheInfo struct {
	Name string
	Used int
	Most int
}

// ServerState is where we stand with a next hop server.
type ServerState string

// Server states.
const (
	Resolving   ServerState = "resolving"   // its name has no address yet
	NoAddress   ServerState = "no address"  // we have no underlay address
	Registering ServerState = "registering" // asked, no answer yet
	Refused     ServerState = "refused"     // Reason says why
	Up          ServerState = "up"
	Renewing    ServerState = "renewing" // up, and asked again without answer so far
	Waiting     ServerState = "waiting"  // enough of its cluster are up, or it has not answered for Fallback yet
)

// ServerInfo is a configured next hop server.
type ServerInfo struct {
	Name       string // as configured: address or DNS name
	To         Endpoint
	Protocol   netip.Addr // invalid: not known yet
	State      ServerState
	Since      time.Time // it is up, or down
	Registered time.Time // until when; zero if it is not up
	Next       time.Time // next registration
	Tries      int       // without answer
	Priority   int
	Cluster    int
	Most       int // servers of its cluster that are registered with; 0: all
	Routes     []netip.Prefix
	Networks   []netip.Prefix // that it registered
	Refused    []netip.Prefix // that it did not take
	Requests   uint64
	Replies    uint64
	Reason     string        // of the last failure, "" since the last success
	Path       PathState     // "": it does not answer probes
	RoundTrip  time.Duration // as in ShortcutInfo
}

// PathState is what is known of the direct way to a peer that answers probes.
type PathState string

// Path states. While it is not direct, packets of shortcuts go by the hub.
const (
	PathUnsecured PathState = "no SA"   // there is none with it
	PathTried     PathState = "probing" // no probe was answered yet
	PathDirect    PathState = "direct"  // the last probe was answered, or there was no need for one
	PathLost      PathState = "lost"    // probes were not answered; tried again after a pause
)

// BindingInfo is an entry that a client registered.
type BindingInfo struct {
	Prefix   netip.Prefix
	Protocol netip.Addr // of the client: the prefix's next hop
	To       Endpoint
	Claimed  netip.Addr // NBMA address that the client believes to have; invalid if it is To's
	MTU      uint16     // 0: the tunnel's
	Unique   bool
	Group    string // that the client says it is of, "": none
	Created  time.Time
	Expires  time.Time
}

// ShortcutInfo is a prefix that is reached directly.
type ShortcutInfo struct {
	Prefix      netip.Prefix
	Destination netip.Addr // that was asked for
	NextHop     netip.Addr
	To          Endpoint
	Claimed     netip.Addr    // as in BindingInfo
	Route       bool          // installed as a route; else the routed path has this next hop anyway
	Refreshing  bool          // asked for again, no answer yet
	Path        PathState     // "": its peer does not answer probes, packets go directly
	Reason      string        // why they do not go directly
	RoundTrip   time.Duration // of a probe; 0: not known
	InUse       bool
	Active      time.Time // when it was last seen to carry something
	Created     time.Time
	Expires     time.Time
}

// NegativeInfo is a destination that has no shortcut, for now.
type NegativeInfo struct {
	Destination netip.Addr
	Reason      string
	Expires     time.Time
}

// RequestInfo is a Resolution Request without an answer yet.
type RequestInfo struct {
	Destination netip.Addr
	To          Endpoint
	ID          uint32
	Tries       int
	Created     time.Time
	Next        time.Time
}

// ToldInfo is a requester whom we answered: it may send to us directly.
type ToldInfo struct {
	Protocol netip.Addr
	To       Endpoint
	Prefixes []netip.Prefix
	Expires  time.Time
}

// PurgeInfo is a Purge Request without an answer yet.
type PurgeInfo struct {
	Protocol netip.Addr // whom it is for
	To       Endpoint
	Prefixes []netip.Prefix
	Tries    int
	Next     time.Time
}

// Snapshot gives what the machine knows; now is the time of the asking.
func (m *Machine) Snapshot(now time.Time) Snapshot {
	if !m.started {
		return Snapshot{Counters: map[string]uint64{}}
	}
	at := func(i instant) time.Time { return now.Add(i - max(now.Sub(m.epoch), m.now)) }
	s := Snapshot{NBMA: m.local.any(), Other: m.other(), Public: m.public(wire.FamilyOf(m.local.any())), Fallback: m.fallback, Counters: maps.Clone(m.counts)}
	l := m.cfg.Limits
	s.Caches = []CacheInfo{
		{"registered", m.bindings.Len(), l.Bindings},
		{"resolved", m.shortcuts.Len() + m.negatives.Len(), l.Cached},
		{"answered", m.told.Len(), l.Cached},
		{"accepted", m.accepted.Len(), l.Bindings + 2*l.Cached},
		{"requests", m.requests.Len(), l.Pending},
		{"rates", m.limits.endpoints.Len(), endpointsRated},
		{"redirected", m.limits.pairs.Len(), redirectPairs},
	}
	for _, x := range m.servers {
		s.Servers = append(s.Servers, m.serverInfo(x, at))
	}
	for _, b := range m.bindings.All() {
		s.Bindings = append(s.Bindings, BindingInfo{
			Prefix: b.Prefix, Protocol: b.Protocol, To: b.To, Claimed: otherThan(b.Claimed, b.To),
			MTU: b.MTU, Unique: b.Unique, Group: b.Group, Created: at(b.Since), Expires: at(b.Until),
		})
	}
	for _, x := range m.shortcuts.All() {
		u, _ := m.uses.Get(x.To.Key())
		info := ShortcutInfo{
			Prefix: x.Prefix, Destination: x.Destination, NextHop: x.NextHop, To: x.To, Claimed: otherThan(x.Claimed, x.To),
			Route: x.Route, InUse: m.inUse(x.To), Created: at(x.Since), Expires: at(x.Until),
		}
		_, info.Refreshing = m.asked[x.Destination]
		if u != nil {
			info.Active = at(u.Active)
		}
		if p, ok := m.paths.Get(x.To.Key()); ok && x.Probe {
			info.Path, info.Reason, info.RoundTrip = p.State, p.Reason, p.RoundTrip
		}
		s.Shortcuts = append(s.Shortcuts, info)
	}
	for _, n := range m.negatives.All() {
		s.Negatives = append(s.Negatives, NegativeInfo{n.Destination, n.Reason, at(n.Until)})
	}
	for _, q := range m.requests.All() {
		s.Requests = append(s.Requests, RequestInfo{q.Destination, q.To, q.ID, q.Tries, at(q.Since), at(q.Next)})
	}
	for _, t := range m.told.All() {
		s.Told = append(s.Told, ToldInfo{t.Protocol, t.To, prefixes(t.Answers), at(t.Until)})
	}
	for _, q := range m.purges.All() {
		s.Purges = append(s.Purges, PurgeInfo{q.Protocol, q.To, slices.Clone(q.Prefixes), q.Tries, at(q.Next)})
	}
	for _, a := range m.accepted.All() {
		s.Accepted = append(s.Accepted, a.Endpoint)
	}
	return s
}

func (m *Machine) serverInfo(s *server, at func(instant) time.Time) ServerInfo {
	r := s.own()
	info := ServerInfo{
		Name: s.Name, Protocol: s.Protocol, Priority: s.conf.Priority, Cluster: s.conf.Cluster, Most: m.cfg.MaxConnections,
		Tries: r.Tries, Routes: slices.Clone(s.conf.Routes), Requests: s.Requests, Replies: s.Replies, Reason: s.Reason,
	}
	info.To, _ = s.to()
	if s.Since != 0 {
		info.Since = at(s.Since)
	}
	if next, ok := s.next(); ok {
		info.Next = at(next)
	}
	switch _, addressed := s.to(); {
	case s.Up && r.Waiting:
		info.State = Renewing
	case s.Up:
		info.State = Up
	case s.Standby, s.Returns != 0:
		info.State = Waiting
	case !m.local.exist() || addressed && !m.local.to(info.To.NBMA).IsValid():
		info.State = NoAddress
	case !addressed:
		info.State = Resolving
	case r.Waiting:
		info.State = Registering
	default:
		info.State = Refused
	}
	if s.Up {
		info.To, info.Registered = s.Bound, at(r.Until)
		if p, ok := m.paths.Get(s.Bound.Key()); ok && s.Probe {
			info.Path, info.RoundTrip = p.State, p.RoundTrip
		}
	}
	for _, n := range s.Registrations[1:] {
		for _, p := range n.Prefixes {
			if slices.Contains(n.Refused, p.Masked()) {
				info.Refused = append(info.Refused, p)
			} else if n.Until != 0 {
				info.Networks = append(info.Networks, p)
			}
		}
	}
	return info
}

// other is our address of IPv6 if we have one of IPv4 too.
func (m *Machine) other() netip.Addr {
	if m.local.IPv4.IsValid() {
		return m.local.IPv6
	}
	return netip.Addr{}
}

// otherThan is an NBMA address that differs from an endpoint's, else invalid.
func otherThan(a netip.Addr, e Endpoint) netip.Addr {
	if a == e.NBMA {
		return netip.Addr{}
	}
	return a
}
