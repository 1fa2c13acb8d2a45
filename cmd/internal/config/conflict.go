// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// checkConflicts refuses what is good by itself and bad together.
func (d *document) checkConflicts(c *Config) {
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		path := join("tunnel", t.Name)
		d.checkTunnel(path, t)
		for j := range i {
			d.checkPair(path, t, &c.Tunnels[j])
		}
	}
}

func (d *document) checkTunnel(path string, t *Tunnel) {
	if t.IPsec != nil {
		d.checkIPsec(path+".ipsec", t.IPsec)
	}
	if t.Underlay.Device == t.Name {
		d.failValue(path+".underlay.device", "is the tunnel itself", "name the device that the outer packets leave by")
	}
	for _, a := range []netip.Addr{t.Underlay.Address, t.Underlay.Address6} {
		if t.InCloud(a) {
			d.failValue(path+".underlay.address", fmt.Sprintf("%v lies in the tunnel's own %v", a, t.Address(a).Masked()), "write an address of the underlay")
		}
	}
	for i, network := range t.Networks {
		at := fmt.Sprintf("%s.networks[%d]", path, i)
		if cloud := t.overlaps(network); cloud.IsValid() {
			d.failValue(at, fmt.Sprintf("%v overlaps the tunnel's own %v", network, cloud),
				"name only what lies behind this node")
		}
		d.checkFamily(at, t, network.Addr())
	}
	for i, s := range t.Summaries {
		if !slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return n.Bits() <= s.Bits() && n.Contains(s.Addr()) }) {
			d.failValue(fmt.Sprintf("%s.summary-map[%d]", path, i), fmt.Sprintf("%v is in none of the networks: the servers would not know that it is ours", s),
				"add it to networks")
		}
	}
	d.checkAuthorizations(path, t)
	for i := range t.Maps {
		d.checkMap(fmt.Sprintf("%s.map[%d]", path, i), t, i)
	}
	for _, own := range t.Addresses {
		if len(t.NHS) > 0 && !slices.ContainsFunc(t.NHS, func(n NHS) bool { return n.Serves(own.Addr()) }) {
			d.failValue(path+".address", fmt.Sprintf("no server has an address of %v's family in protocol", own), "add one, or leave the address out")
		}
	}
	routes := map[netip.Prefix]int{}
	for i, server := range t.NHS {
		at := fmt.Sprintf("%s.nhs[%d]", path, i)
		d.checkNHS(at, t, i)
		for j, route := range server.Routes {
			place := fmt.Sprintf("%s.routes[%d]", at, j)
			d.checkFamily(place, t, route.Addr())
			if !server.Serves(route.Addr()) {
				d.failValue(place, fmt.Sprintf("the server has no address of %v's family in protocol", route), "add one, or leave the route out")
			}
			if other, twice := routes[route]; twice && t.NHS[other].Priority == server.Priority {
				d.failValue(place, fmt.Sprintf("%v goes by nhs %s already", route, t.NHS[other].NBMA), "give the two servers different priorities, or leave it out")
			}
			routes[route] = i
			for _, network := range t.Networks {
				if network == route {
					d.failValue(place, fmt.Sprintf("%v is in networks too", route), "it lies behind this node or behind the server, not both")
				}
			}
		}
	}
}

func (d *document) checkNHS(at string, t *Tunnel, i int) {
	server := t.NHS[i]
	for _, a := range server.Protocols {
		d.checkMember(at+".protocol", t, a, "write the server's tunnel address")
	}
	if a, err := netip.ParseAddr(server.NBMA); err == nil && t.InCloud(a) {
		d.failValue(at+".nbma", fmt.Sprintf("%v lies in the tunnel's own %v", a, t.Address(a).Masked()), "write the server's underlay address; its tunnel address goes in protocol")
	} else if err == nil && (a == t.Underlay.Address || a == t.Underlay.Address6) {
		d.failValue(at+".nbma", fmt.Sprintf("%v is our own underlay address", a), "a hub leaves nhs out")
	} else if !t.Underlay.reaches(a) {
		d.failValue(at+".nbma", fmt.Sprintf("%v is not of the family of our underlay address", a), "write an address of that family into underlay.address too, or leave that out")
	}
	for _, other := range t.NHS[:i] {
		if other.NBMA == server.NBMA {
			d.failValue(at+".nbma", fmt.Sprintf("%q is named twice", server.NBMA), "name each server once")
		}
		for _, a := range server.Protocols {
			if slices.Contains(other.Protocols, a) {
				d.failValue(at+".protocol", fmt.Sprintf("%v is named twice", a), "each server has its own tunnel address")
			}
		}
	}
}

// checkMember refuses what is no other member's address in the tunnel.
func (d *document) checkMember(at string, t *Tunnel, a netip.Addr, remedy string) {
	own := t.Address(a)
	switch {
	case !own.IsValid():
		d.checkFamily(at, t, a)
	case !own.Contains(a):
		d.failValue(at, fmt.Sprintf("%v is outside the tunnel's %v", a, own.Masked()), remedy)
	case own.Addr() == a:
		d.failValue(at, fmt.Sprintf("%v is our own address", a), remedy)
	}
}

// checkFamily refuses what is of a family that the tunnel has no address of.
func (d *document) checkFamily(at string, t *Tunnel, a netip.Addr) {
	if len(t.Addresses) > 0 && !t.Address(a).IsValid() {
		d.failValue(at, fmt.Sprintf("%v is of a family that the tunnel has no address of", a), "give the tunnel an address of that family too, or leave it out")
	}
}

func (d *document) checkMap(at string, t *Tunnel, i int) {
	m := t.Maps[i]
	if m.Protocol.IsValid() {
		d.checkMember(at+".protocol", t, m.Protocol, "write the peer's tunnel address")
	}
	if m.NBMA.IsValid() && t.InCloud(m.NBMA) {
		d.failValue(at+".nbma", fmt.Sprintf("%v lies in the tunnel's own %v", m.NBMA, t.Address(m.NBMA).Masked()), "write the peer's underlay address; its tunnel address goes in protocol")
	} else if !t.Underlay.reaches(m.NBMA) {
		d.failValue(at+".nbma", fmt.Sprintf("%v is not of the family of our underlay address", m.NBMA), "write an address of that family into underlay.address too, or leave that out")
	}
	for _, other := range t.Maps[:i] {
		if m.Protocol.IsValid() && other.Protocol == m.Protocol {
			d.failValue(at+".protocol", fmt.Sprintf("%v is mapped twice", m.Protocol), "map each peer once")
		}
	}
	for _, server := range t.NHS {
		if m.Protocol.IsValid() && slices.Contains(server.Protocols, m.Protocol) {
			d.failValue(at+".protocol", fmt.Sprintf("%v is nhs %s", m.Protocol, server.NBMA), "a server needs no map")
		}
	}
}

// checkPair compares a tunnel with one before it.
func (d *document) checkPair(path string, t, before *Tunnel) {
	if t.Underlay.overlaps(before.Underlay) && t.HasKey == before.HasKey && t.Key == before.Key {
		at, key := path+".key", fmt.Sprintf("key %d", t.Key)
		if !t.HasKey {
			at, key = path+".underlay", "no key"
		}
		d.failValue(at, fmt.Sprintf("tunnel %s has the same underlay and %s: nobody could tell whose a packet is", before.Name, key),
			"give each tunnel on an underlay device its own key")
	}
	for _, p := range t.Addresses {
		if cloud := before.overlaps(p); cloud.IsValid() && !t.Apart(before) {
			d.failValue(path+".address", fmt.Sprintf("%v overlaps %v of tunnel %s", p.Masked(), cloud, before.Name), "give each tunnel its own network, or its own vrf or table")
		} else if own := before.Address(p.Addr()); cloud.IsValid() && t.VRF == before.VRF && own.Addr() != p.Addr() {
			// Tables share the table of what is local.
			d.failValue(path+".address", fmt.Sprintf("%v, and tunnel %s with the same network has %v: each would be taken for local in the other", p.Addr(), before.Name, own.Addr()), "give both tunnels the same address, or use vrf in place of table")
		}
	}
	if t.Name == before.Underlay.Device && before.Name == t.Underlay.Device {
		d.failValue(path+".underlay.device", fmt.Sprintf("tunnels %s and %s stand on each other", before.Name, t.Name), "name the device that the outer packets leave by")
	}
}
