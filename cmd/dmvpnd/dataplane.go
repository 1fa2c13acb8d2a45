// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"sync"

	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// dataPlane is one tunnel's part of the tables, as nhrpd wants it.
type dataPlane struct {
	tables   *tables.Tables
	tunnel   int // index of the device
	audience audience
	device   *kernel.Device
	pump     func() *pump.Pump // nil: none yet

	mu        sync.Mutex
	fallbacks [2]netip.Addr // next hops that take what is unresolved, of IPv4 and of IPv6
}

func at(e engine.Endpoint) tables.Endpoint { return tables.Endpoint{NBMA: e.NBMA, Port: e.Port} }

// Bind implements plane.
func (d *dataPlane) Bind(b engine.Bind) error {
	nextHop, to, mtu := b.NextHop, b.To, b.MTU
	id, err := d.tables.Admit(d.tunnel, at(to), described(nextHop), int(mtu))
	if err != nil {
		return err
	}
	if err := d.tables.Bind(d.tunnel, nextHop, id); err != nil {
		return err
	}
	d.listens(nextHop, id, b.Multicast)
	d.mu.Lock()
	defer d.mu.Unlock()
	if six := nextHop.Is6(); nextHop == d.fallbacks[index(six)] {
		return d.tables.SetFallback(d.tunnel, six, id)
	}
	return nil
}

// listens lets the peer of a next hop get multicast from now on, or no more.
func (d *dataPlane) listens(nextHop netip.Addr, id tables.PeerID, gets bool) {
	joins, was := d.audience.set(nextHop, id, gets)
	p := d.pump()
	if p == nil {
		return
	}
	if was != 0 {
		p.Leave(was)
	}
	if joins {
		p.Greet(id, was)
	}
}

// Unbind implements plane.
func (d *dataPlane) Unbind(nextHop netip.Addr) error {
	d.listens(nextHop, 0, false)
	d.mu.Lock()
	defer d.mu.Unlock()
	if six := nextHop.Is6(); nextHop == d.fallbacks[index(six)] {
		if err := d.tables.SetFallback(d.tunnel, six, 0); err != nil {
			return err
		}
	}
	return d.tables.Unbind(d.tunnel, nextHop)
}

// Admit implements plane.
func (d *dataPlane) Admit(from engine.Endpoint, protocol netip.Addr) error {
	_, err := d.tables.Admit(d.tunnel, at(from), protocol, tables.KeepMTU)
	return err
}

// Dismiss implements plane.
func (d *dataPlane) Dismiss(from engine.Endpoint) error { return d.tables.Dismiss(d.tunnel, at(from)) }

// Fallback implements plane. A next hop that is not bound yet takes
// over when it is.
func (d *dataPlane) Fallback(six bool, nextHop netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fallbacks[index(six)] = nextHop
	id, _ := d.tables.Bound(d.tunnel, nextHop)
	return d.tables.SetFallback(d.tunnel, six, id)
}

// Carrier implements plane.
func (d *dataPlane) Carrier(up bool) error { return d.device.SetCarrier(up) }

// Traffic implements plane.
func (d *dataPlane) Traffic(e engine.Endpoint) engine.Traffic {
	id, _ := d.tables.ID(d.tunnel, at(e))
	return d.traffic(id)
}

// traffic is that of a peer; nothing for 0, which is nobody.
func (d *dataPlane) traffic(id tables.PeerID) engine.Traffic {
	s, err := d.tables.Stats(id)
	if id == 0 || err != nil {
		return engine.Traffic{}
	}
	return engine.Traffic{
		Sent: s.TxPackets, Received: s.RxPackets, Bytes: s.RxBytes + s.TxBytes,
		LastReceived: s.RxLast, LastSent: s.TxLast,
	}
}

// Admitted implements plane.
func (d *dataPlane) Admitted() map[engine.Endpoint][]netip.Addr {
	return d.admitted(func(tables.PeerID) bool { return true })
}

// admitted is Admitted of some peers.
func (d *dataPlane) admitted(of func(tables.PeerID) bool) map[engine.Endpoint][]netip.Addr {
	byID := map[tables.PeerID][]netip.Addr{}
	for _, n := range d.tables.NextHops() {
		if n.Tunnel == d.tunnel {
			byID[n.Peer] = append(byID[n.Peer], n.Address)
		}
	}
	out := map[engine.Endpoint][]netip.Addr{}
	for _, p := range d.tables.Peers() {
		if p.Tunnel == d.tunnel && of(p.ID) {
			out[engine.Endpoint{NBMA: p.Endpoint.NBMA, Port: p.Endpoint.Port}] = byID[p.ID]
		}
	}
	return out
}
