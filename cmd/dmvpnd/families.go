// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"maps"
	"net"
	"net/netip"

	"dmvpn/cmd/internal/config"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// family is the NHRP of one protocol family of a tunnel: each has its own machine, which
// registers and resolves addresses of its family alone, as Cisco's `ip nhrp` and `ipv6 nhrp`
// do. They share the peers.
type family struct {
	own     netip.Prefix // our address in the overlay
	service *nhrpd.Service
}

// six says that it is IPv6's.
func (f *family) six() bool { return f.own.Addr().Is6() }

// stateName is what the family's state is saved by: no device has a name with a slash.
func stateName(tunnel string, own netip.Prefix) string {
	if own.Addr().Is6() {
		return tunnel + "/ipv6"
	}
	return tunnel
}

// makeFamilies makes an NHRP of each family that the tunnel has an address of.
func (t *tunnel) makeFamilies(plane plane, secured func(engine.Endpoint) bool) {
	d, shares := t.daemon, newShares()
	t.beneath = &beneath{tunnel: t, said: map[string]bool{}}
	var changed func()
	if t.secure != nil {
		changed = t.secure.sources.changed
	}
	host, mirror := d.host.In(t.table), d.mirror.In(t.table)
	for _, own := range t.config.Addresses {
		shares.carriers[index(own.Addr().Is6())].wanted = true
		t.families = append(t.families, &family{own: own, service: nhrpd.New(nhrpd.Config{
			Engine: machine(t.config, own, t.mtu), Random: random, Log: d.log,
			DataPlane: &share{plane: plane, shares: shares, six: own.Addr().Is6()},
			Router:    &router{host: host, mirror: mirror, tunnel: t.device.Index, six: own.Addr().Is6(), own: own, under: t.beneath.stand, changed: changed, beside: newBeside(host, mirror.Zebra, func() bool { return mirror.ZebraBy(t.device.Index) })},
			Sender:    t, State: d.state, StateName: stateName(t.config.Name, own),
			Resolver: net.DefaultResolver, Allowed: t.authorizer.lookup(), Secured: secured,
		})})
	}
}

// handIn hands an input in to the family that it is about; an NHRP packet says so itself.
// false: it was dropped.
func (t *tunnel) handIn(input engine.Input) bool {
	six := false
	switch in := input.(type) {
	case engine.Packet:
		const protocolType = 2 // offset, RFC 2332, section 5.1
		six = len(in.Data) >= protocolType+2 && binary.BigEndian.Uint16(in.Data[protocolType:]) == wire.ProtocolIPv6
	case engine.Redirect:
		six = len(in.Data) > 0 && in.Data[0]>>4 == 6
	case engine.Miss:
		six = in.NextHop.Is6()
	}
	for _, f := range t.families {
		if f.six() == six {
			if miss, ok := input.(engine.Miss); ok {
				miss.NextHop = global(f.own, miss.NextHop)
				input = miss
			}
			return f.service.Deliver(input)
		}
	}
	// Whoever is there counts it.
	return t.families[0].service.Deliver(input)
}

// takeNHRP hands an NHRP packet in, and counts one that found the queue full.
func (t *tunnel) takeNHRP(from engine.Endpoint, packet []byte) {
	if !t.handIn(engine.Packet{From: from, Data: packet}) {
		t.daemon.plane.Tables.CountDrop(0, tables.DropQueueFull, len(packet))
	}
}

// each tells all families.
func (t *tunnel) each(tell func(*nhrpd.Service)) {
	for _, f := range t.families {
		tell(f.service)
	}
}

// snapshot is what the machines of all families know, as if they were one.
func (t *tunnel) snapshot(ctx context.Context) (engine.Snapshot, error) {
	var sum engine.Snapshot
	for i, f := range t.families {
		s, err := f.service.Snapshot(ctx)
		if err != nil {
			return sum, err
		}
		if i == 0 {
			sum = s
			sum.Counters = maps.Clone(sum.Counters)
			continue
		}
		sum.Servers = append(sum.Servers, s.Servers...)
		sum.Bindings = append(sum.Bindings, s.Bindings...)
		sum.Shortcuts = append(sum.Shortcuts, s.Shortcuts...)
		sum.Negatives = append(sum.Negatives, s.Negatives...)
		sum.Requests = append(sum.Requests, s.Requests...)
		sum.Told = append(sum.Told, s.Told...)
		sum.Purges = append(sum.Purges, s.Purges...)
		sum.Accepted = append(sum.Accepted, s.Accepted...)
		for i := range min(len(sum.Caches), len(s.Caches)) {
			sum.Caches[i].Used += s.Caches[i].Used
			sum.Caches[i].Most += s.Caches[i].Most
		}
		for name, n := range s.Counters {
			sum.Counters[name] += n
		}
	}
	sum.Counters["unreachable-limit"] = t.beneath.refused.Load()
	return sum, nil
}

// counters are those of all families' services together.
func (t *tunnel) counters() (sum nhrpd.Counters) {
	for _, f := range t.families {
		c := f.service.Counters()
		sum.Received += c.Received
		sum.QueueDropped += c.QueueDropped
		sum.Sent += c.Sent
		sum.SendFailed += c.SendFailed
		sum.Failed += c.Failed
		sum.Saves += c.Saves
	}
	return sum
}

// machine is what the NHRP machine of a family has of the configuration.
func machine(c config.Tunnel, own netip.Prefix, mtu int) engine.Config {
	like := own.Addr()
	e := engine.Config{
		Tunnel: c.Name, Address: own, Networks: ofFamily(c.Networks, like), Authentication: c.Authentication,
		HoldingTime: c.HoldingTime, Unique: c.Unique, Group: c.Group, Redirect: c.Redirect, Shortcut: c.Shortcut,
		MTU: uint16(mtu), Idle: c.Idle, IdleBytes: c.IdleBytes,
		Probe: c.Probe, ProbeIdle: c.ProbeIdle, MaxConnections: c.MaxConnections, Fallback: c.Fallback, Authenticated: c.Protected,
	}
	e.Summaries = ofFamily(c.Summaries, like)
	e.IfState = c.IfState
	e.Multicast = engine.Multicast{Dynamic: c.Multicast.Dynamic, Addresses: c.Multicast.Addresses, Unwanted: c.Multicast.None()}
	for _, x := range c.Maps {
		if x.Protocol.BitLen() == like.BitLen() {
			e.Maps = append(e.Maps, engine.Map{Protocol: x.Protocol, NBMA: x.NBMA})
		}
	}
	for _, n := range c.NHS {
		if n.Serves(like) {
			e.NHS = append(e.NHS, engine.NHS{
				NBMA: n.NBMA, Protocol: n.Protocol(like), Routes: ofFamily(n.Routes, like), Priority: n.Priority, Cluster: n.Cluster,
			})
		}
	}
	return e
}

func ofFamily(list []netip.Prefix, like netip.Addr) (out []netip.Prefix) {
	for _, p := range list {
		if p.Addr().BitLen() == like.BitLen() {
			out = append(out, p)
		}
	}
	return out
}
