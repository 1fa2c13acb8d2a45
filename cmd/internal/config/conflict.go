// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
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
	cloud := t.Address.Masked()
	if t.IPsec != nil {
		d.checkIPsec(path+".ipsec", t.IPsec)
	}
	if t.Underlay.Device == t.Name {
		d.failValue(path+".underlay.device", "is the tunnel itself", "name the device that the outer packets leave by")
	}
	if cloud.Contains(t.Underlay.Address) {
		d.failValue(path+".underlay.address", fmt.Sprintf("%v lies in the tunnel's own %v", t.Underlay.Address, cloud), "write an address of the underlay")
	}
	for i, network := range t.Networks {
		if network.Overlaps(cloud) {
			d.failValue(fmt.Sprintf("%s.networks[%d]", path, i), fmt.Sprintf("%v overlaps the tunnel's own %v", network, cloud),
				"name only what lies behind this node")
		}
	}
	d.checkAuthorizations(path, t)
	for i := range t.Maps {
		d.checkMap(fmt.Sprintf("%s.map[%d]", path, i), t, i)
	}
	routes := map[netip.Prefix]int{}
	for i, server := range t.NHS {
		at := fmt.Sprintf("%s.nhs[%d]", path, i)
		d.checkNHS(at, t, i)
		for j, route := range server.Routes {
			place := fmt.Sprintf("%s.routes[%d]", at, j)
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
	server, cloud := t.NHS[i], t.Address.Masked()
	if server.Protocol.IsValid() && !cloud.Contains(server.Protocol) {
		d.failValue(at+".protocol", fmt.Sprintf("%v is outside the tunnel's %v", server.Protocol, cloud), "write the server's tunnel address")
	}
	if server.Protocol == t.Address.Addr() {
		d.failValue(at+".protocol", fmt.Sprintf("%v is our own address", server.Protocol), "write the server's tunnel address")
	}
	if a, err := netip.ParseAddr(server.NBMA); err == nil && cloud.Contains(a) {
		d.failValue(at+".nbma", fmt.Sprintf("%v lies in the tunnel's own %v", a, cloud), "write the server's underlay address; its tunnel address goes in protocol")
	} else if err == nil && a == t.Underlay.Address {
		d.failValue(at+".nbma", fmt.Sprintf("%v is our own underlay address", a), "a hub leaves nhs out")
	}
	for _, other := range t.NHS[:i] {
		if other.NBMA == server.NBMA {
			d.failValue(at+".nbma", fmt.Sprintf("%q is named twice", server.NBMA), "name each server once")
		}
		if other.Protocol.IsValid() && other.Protocol == server.Protocol {
			d.failValue(at+".protocol", fmt.Sprintf("%v is named twice", server.Protocol), "each server has its own tunnel address")
		}
	}
}

func (d *document) checkMap(at string, t *Tunnel, i int) {
	m, cloud := t.Maps[i], t.Address.Masked()
	switch {
	case m.Protocol.IsValid() && !cloud.Contains(m.Protocol):
		d.failValue(at+".protocol", fmt.Sprintf("%v is outside the tunnel's %v", m.Protocol, cloud), "write the peer's tunnel address")
	case m.Protocol.IsValid() && m.Protocol == t.Address.Addr():
		d.failValue(at+".protocol", fmt.Sprintf("%v is our own address", m.Protocol), "write the peer's tunnel address")
	}
	if m.NBMA.IsValid() && cloud.Contains(m.NBMA) {
		d.failValue(at+".nbma", fmt.Sprintf("%v lies in the tunnel's own %v", m.NBMA, cloud), "write the peer's underlay address; its tunnel address goes in protocol")
	}
	for _, other := range t.Maps[:i] {
		if m.Protocol.IsValid() && other.Protocol == m.Protocol {
			d.failValue(at+".protocol", fmt.Sprintf("%v is mapped twice", m.Protocol), "map each peer once")
		}
	}
	for _, server := range t.NHS {
		if m.Protocol.IsValid() && server.Protocol == m.Protocol {
			d.failValue(at+".protocol", fmt.Sprintf("%v is nhs %s", m.Protocol, server.NBMA), "a server needs no map")
		}
	}
}

// checkPair compares a tunnel with one before it.
func (d *document) checkPair(path string, t, before *Tunnel) {
	sameUnderlay := t.Underlay.Device == before.Underlay.Device && t.Underlay.Address == before.Underlay.Address
	if sameUnderlay && t.HasKey == before.HasKey && t.Key == before.Key {
		at, key := path+".key", fmt.Sprintf("key %d", t.Key)
		if !t.HasKey {
			at, key = path+".underlay", "no key"
		}
		d.failValue(at, fmt.Sprintf("tunnel %s has the same underlay and %s: nobody could tell whose a packet is", before.Name, key),
			"give each tunnel on an underlay device its own key")
	}
	if t.Underlay.VRF == before.Underlay.VRF && t.Address.Overlaps(before.Address) {
		d.failValue(path+".address", fmt.Sprintf("%v overlaps %v of tunnel %s", t.Address.Masked(), before.Address.Masked(), before.Name),
			"give each tunnel its own network")
	}
	if t.Name == before.Underlay.Device && before.Name == t.Underlay.Device {
		d.failValue(path+".underlay.device", fmt.Sprintf("tunnels %s and %s stand on each other", before.Name, t.Name), "name the device that the outer packets leave by")
	}
}
