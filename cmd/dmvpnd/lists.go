// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// answers says whether a server is up: one that is asked to renew still is.
func answers(s engine.ServerState) bool { return s == engine.Up || s == engine.Renewing }

// NHS implements control.Source.
func (s *source) NHS(ctx context.Context) ([]control.NHS, error) {
	return all(ctx, s.daemon, func(t *tunnel, snapshot engine.Snapshot) ([]control.NHS, error) {
		var out []control.NHS
		for _, n := range snapshot.Servers {
			out = append(out, control.NHS{
				Tunnel: t.config.Name, Name: n.Name, NBMA: n.To.NBMA, Protocol: n.Protocol, State: string(n.State), Since: n.Since,
				Registered: n.Registered, Priority: n.Priority, Cluster: n.Cluster, Most: n.Most, Routes: n.Routes, Networks: n.Networks, Refused: n.Refused,
				Requests: n.Requests, Replies: n.Replies, NextTry: n.Next, LastError: n.Reason,
			})
		}
		return out, nil
	})
}

// Shortcuts implements control.Source.
func (s *source) Shortcuts(ctx context.Context) ([]control.Shortcut, error) {
	return all(ctx, s.daemon, func(t *tunnel, snapshot engine.Snapshot) ([]control.Shortcut, error) {
		var out []control.Shortcut
		for _, x := range snapshot.Shortcuts {
			state := control.ShortcutIdle
			switch {
			case x.Path == engine.PathTried:
				state = control.ShortcutProbing
			case x.Path == engine.PathLost, x.Path == engine.PathUnsecured:
				state = control.ShortcutByHub
			case x.Refreshing:
				state = control.ShortcutRefreshing
			case x.InUse:
				state = control.ShortcutInUse
			}
			to := t.where(x.To)
			out = append(out, control.Shortcut{
				Tunnel: t.config.Name, Prefix: x.Prefix, NextHop: x.NextHop, NBMA: to.NBMA, Port: to.Port, State: state, Reason: t.why(x),
				Route: x.Route, Active: x.Active, Created: x.Created, Expires: x.Expires,
			})
		}
		return out, nil
	})
}

// where is the place of a peer: what IKE knows is newer than what NHRP does.
func (t *tunnel) where(by engine.Endpoint) engine.Endpoint {
	if t.secure == nil {
		return by.Place()
	}
	return t.secure.where(by)
}

// why says why packets do not take a shortcut, "" if they do.
func (t *tunnel) why(x engine.ShortcutInfo) string {
	if x.Path == engine.PathUnsecured && t.secure != nil {
		if reason := t.secure.why(x.To); reason != "" {
			return reason
		}
	}
	return x.Reason
}

// NHRP implements control.Source: what is configured, what was registered, what
// was resolved, what is being asked for, and what is known not to be there.
func (s *source) NHRP(ctx context.Context) ([]control.Entry, error) {
	return all(ctx, s.daemon, func(t *tunnel, snapshot engine.Snapshot) ([]control.Entry, error) {
		var out []control.Entry
		add := func(e control.Entry) {
			e.Tunnel = t.config.Name
			out = append(out, e)
		}
		for _, n := range snapshot.Servers {
			if n.Protocol.IsValid() {
				add(control.Entry{
					Prefix: host(n.Protocol), NextHop: n.Protocol, NBMA: n.To.NBMA, Port: n.To.Port,
					Type: control.EntryStatic, Flags: flags(control.FlagNHS, true, control.FlagUsed, answers(n.State)), Created: n.Since,
				})
			}
		}
		for _, x := range t.config.Maps {
			add(control.Entry{Prefix: host(x.Protocol), NextHop: x.Protocol, NBMA: x.NBMA, Type: control.EntryStatic})
		}
		for _, b := range snapshot.Bindings {
			to := t.where(b.To)
			route := b.Prefix != host(b.Protocol)
			add(control.Entry{
				Prefix: b.Prefix, NextHop: b.Protocol, NBMA: to.NBMA, Port: to.Port, Claimed: b.Claimed, Type: control.EntryDynamic,
				Flags: flags(control.FlagRegistered, true, control.FlagUnique, b.Unique, control.FlagNAT, b.Claimed.IsValid(), control.FlagRoute, route),
				Group: b.Group, Created: b.Created, Expires: b.Expires,
			})
		}
		for _, x := range snapshot.Shortcuts {
			to := t.where(x.To)
			add(control.Entry{
				Prefix: x.Prefix, NextHop: x.NextHop, NBMA: to.NBMA, Port: to.Port, Claimed: x.Claimed, Type: control.EntryDynamic,
				Flags:   flags(control.FlagRouter, true, control.FlagUsed, x.InUse, control.FlagNAT, x.Claimed.IsValid(), control.FlagRoute, x.Route),
				Created: x.Created, Expires: x.Expires,
			})
		}
		for _, q := range snapshot.Requests {
			add(control.Entry{Prefix: host(q.Destination), Type: control.EntryIncomplete, Created: q.Created})
		}
		for _, n := range snapshot.Negatives {
			add(control.Entry{Prefix: host(n.Destination), Type: control.EntryNegative, Reason: n.Reason, Expires: n.Expires})
		}
		return out, nil
	})
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// flags gives the names whose condition holds.
func flags(pairs ...any) []string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			out = append(out, pairs[i].(string))
		}
	}
	return out
}

// about is what the machine knows of an endpoint.
type about struct {
	kind  string
	nat   netip.Addr
	since time.Time
}

// endpoints says what each endpoint is to us, by its key. A server is one even if it
// registered with us too, and so on down.
func endpoints(s engine.Snapshot) map[engine.Endpoint]about {
	out := map[engine.Endpoint]about{}
	for _, t := range s.Told {
		out[t.To.Key()] = about{kind: control.PeerAdmitted}
	}
	for _, x := range s.Shortcuts {
		a := about{kind: control.PeerShortcut, nat: x.Claimed, since: x.Created}
		if old, ok := out[x.To.Key()]; ok && old.kind == a.kind && old.since.Before(a.since) {
			a.since = old.since
		}
		out[x.To.Key()] = a
	}
	for _, b := range s.Bindings {
		if b.Prefix == host(b.Protocol) {
			out[b.To.Key()] = about{kind: control.PeerRegistered, nat: b.Claimed, since: b.Created}
		}
	}
	for _, n := range s.Servers {
		if answers(n.State) {
			out[n.To.Key()] = about{kind: control.PeerNHS, since: n.Since}
		}
	}
	for _, e := range s.Accepted {
		if _, ok := out[e.Key()]; !ok {
			out[e.Key()] = about{kind: control.PeerAdmitted}
		}
	}
	return out
}

// identityOf is who a peer is, "" on a plain tunnel.
func (t *tunnel) identityOf(id tables.PeerID) string {
	if t.secure == nil {
		return ""
	}
	return t.secure.nameOf(id)
}

// protocolOf is a peer's overlay address, of our first family where it has one of each: the
// tables have the one that was bound last.
func (t *tunnel) protocolOf(p tables.Peer, hops []netip.Addr) netip.Addr {
	first := t.config.Addresses[0].Addr()
	if p.Protocol.IsValid() && p.Protocol.BitLen() == first.BitLen() {
		return p.Protocol
	}
	for _, a := range hops {
		if a.BitLen() == first.BitLen() {
			return a
		}
	}
	return p.Protocol
}

// Peers implements control.Source.
func (s *source) Peers(ctx context.Context) ([]control.Peer, error) {
	return all(ctx, s.daemon, func(t *tunnel, snapshot engine.Snapshot) ([]control.Peer, error) {
		known, hops := endpoints(snapshot), t.nextHops()
		var out []control.Peer
		for _, p := range t.peers() {
			identity := t.identityOf(p.ID)
			a, ok := known[engine.Endpoint{Identity: identity}]
			if identity == "" || !ok {
				a, ok = known[engine.Endpoint{NBMA: p.Endpoint.NBMA, Port: p.Endpoint.Port}]
			}
			if !ok {
				a.kind = control.PeerAdopted
			}
			traffic, err := t.traffic(p.ID)
			if err != nil {
				return nil, err
			}
			mtu := p.MTU
			if mtu == 0 {
				mtu = t.mtu
			}
			next := slices.Clone(hops[p.ID])
			slices.SortFunc(next, netip.Addr.Compare)
			protocol := t.protocolOf(p, next)
			out = append(out, control.Peer{
				Tunnel: t.config.Name, ID: uint32(p.ID), NBMA: p.Endpoint.NBMA, Port: p.Endpoint.Port, Identity: identity, Protocol: protocol,
				NextHops: next, Kind: a.kind, NAT: a.nat, Up: p.Up, Since: a.since, MTU: mtu, Traffic: traffic,
			})
		}
		return out, nil
	})
}
