// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
)

// connect takes the tunnel to an underlay: its entry in the tables, the program
// on the device, the raw sockets, one of a family. Without an address it only remembers the
// underlay: what stands goes on, and so does that of a family whose address is gone.
func (t *tunnel) connect(now kernel.Underlay) error {
	if len(now.Addresses()) == 0 || now.Index == 0 {
		t.mu.Lock()
		t.underlay = now
		t.mu.Unlock()
		return nil
	}
	d := t.daemon
	// Tunnels share underlay devices: one at a time.
	d.connecting.Lock()
	defer d.connecting.Unlock()
	at := t.goesOn(now)
	if err := d.plane.CheckOthers(t.entry(at)); err != nil {
		return err
	}
	taken, err := d.sockets.takeAll(at)
	if err != nil {
		return err
	}
	if err := d.plane.Tables.SetTunnel(t.entry(at)); err != nil {
		return errors.Join(fmt.Errorf("%w; is another tunnel's underlay address and key the same?", err), d.sockets.releaseAll(taken))
	}
	if err := d.plane.AttachUnderlay(now.Index); err != nil {
		return errors.Join(err, d.sockets.releaseAll(taken))
	}
	t.mu.Lock()
	old, before := t.sockets, t.attached
	t.underlay, t.connected, t.sockets, t.attached = now, at, taken, now.Index
	if t.pump == nil {
		t.pump = t.newPump(taken[0])
		if t.running {
			t.runPump()
		}
	}
	p := t.pump
	t.mu.Unlock()
	for _, k := range taken {
		p.SetConn(k.conn)
		k.receiver.Add(p)
	}
	d.sockets.read(taken)
	for _, k := range old {
		if !slices.Contains(taken, k) {
			k.receiver.Remove(p)
		}
		d.quietly("close the raw socket of the address before", d.sockets.release(k))
	}
	if before != 0 && before != now.Index {
		d.quietly("detach from the underlay before", d.plane.ReleaseUnderlay(before))
	}
	return nil
}

// goesOn is an underlay with what stands of a family that it has no address of.
func (t *tunnel) goesOn(now kernel.Underlay) kernel.Underlay {
	if before := t.connected; before.Index == now.Index {
		if !now.Address.IsValid() {
			now.Address = before.Address
		}
		if !now.Address6.IsValid() {
			now.Address6 = before.Address6
		}
	}
	return now
}

// entry is the tunnel as the programs see it.
func (t *tunnel) entry(u kernel.Underlay) tables.Tunnel {
	return tables.Tunnel{
		IfIndex: t.device.Index, UnderlayIfIndex: u.Index, Local: u.Address, Local6: u.Address6, Key: t.config.Key, HasKey: t.config.HasKey,
		Redirect: t.config.Redirect, Protected: t.config.Protected, MSSClamp: t.config.MSSClamp, VRF: t.config.VRF != "", Mark: u.Mark, MTU: t.mtu, UnderlayTable: u.Table,
		Broadcast: broadcast(t.config.Addresses),
	}
}

// broadcast is the address of all of the tunnel's IPv4 network (RFC 919, section 7); invalid:
// it has none, by RFC 3021 or as a single address.
func broadcast(own []netip.Prefix) netip.Addr {
	for _, p := range own {
		if p.Addr().Is4() && p.Bits() < 31 {
			a := p.Addr().As4()
			binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|(1<<(32-p.Bits())-1))
			return netip.AddrFrom4(a)
		}
	}
	return netip.Addr{}
}

func (t *tunnel) newPump(k *socket) *pump.Pump {
	return pump.New(pump.Config{
		Tunnel: t.device.Index, Header: underlay.Header{Key: t.config.Key, HasKey: t.config.HasKey},
		MTU: t.mtu, Queues: t.queues.all[:t.queues.want], Patience: saPatience, Conn: k.conn, Tables: t.daemon.plane.Tables,
		Protected: t.config.Protected, MSSClamp: t.config.MSSClamp, ESP: t.daemon.ike,
		Multicast: t.plain.audience.peers, MulticastRate: t.config.Multicast.Rate, MulticastBurst: t.config.Multicast.Burst,
		Secure:    t.deliver,
		Permitted: t.permitted(),
		NHRP: func(from netip.Addr, packet []byte) {
			t.takeNHRP(engine.Endpoint{NBMA: from}, packet)
		},
		Report: func(message string) { t.log.Warn().Msg(message) },
	})
}

// permitted is what judges the inner addresses of peers; nil on a tunnel in clear.
func (t *tunnel) permitted() func(tables.PeerID, netip.Addr) bool {
	if t.secure == nil {
		return nil
	}
	return t.secure.permitted
}

// followUnderlay takes up what happens to the underlay device.
func (t *tunnel) followUnderlay() {
	for e := range t.watcher.Events() {
		now := e.Now
		log := t.log.Info().Str("device", now.Device)
		switch e.Kind {
		case kernel.AddressChanged:
			log.Any("before", e.Before.Addresses()).Any("now", now.Addresses()).Msg("underlay address")
		case kernel.DeviceGone:
			log.Msg("underlay device is gone")
		case kernel.DeviceCame:
			log.Msg("underlay device is there")
		case kernel.DeviceDown:
			log.Msg("underlay device is down")
		case kernel.DeviceUp:
			log.Msg("underlay device is up")
		case kernel.MTUChanged:
			log.Int("mtu", now.MTU).Msg("underlay MTU")
		}
		t.underlayIs(e.Kind, now)
	}
}

func (t *tunnel) underlayIs(kind kernel.EventKind, now kernel.Underlay) {
	t.daemon.lookAgain()
	switch kind {
	case kernel.DeviceDown, kernel.DeviceUp, kernel.MTUChanged:
		t.mu.Lock()
		t.underlay = now
		t.mu.Unlock()
		if t.mtu+overhead(t.config, now) > now.MTU && now.MTU > 0 {
			t.problem("mtu", fmt.Sprintf("MTU %d and %d octets around it are above the %d of %s: packets that large are lost; set mtu, or restart dmvpnd", t.mtu, overhead(t.config, now), now.MTU, now.Device))
		} else {
			t.problem("mtu", "")
		}
		return
	}
	if err := t.connect(now); err != nil {
		t.problem("address", fmt.Sprintf("underlay %s: %v", now.Device, err))
		t.each(func(s *nhrpd.Service) { s.SetLocalNBMA(netip.Addr{}, netip.Addr{}) })
		return
	}
	if err := t.listen(now); err != nil {
		t.problem("ike", err.Error())
	} else {
		t.problem("ike", "")
	}
	if t.secure != nil {
		t.secure.askAgain()
	}
	switch {
	case now.Index == 0:
		t.problem("address", fmt.Sprintf("the underlay device %s is gone: nothing is sent until it is back", now.Device))
	case len(now.Addresses()) == 0:
		t.problem("address", fmt.Sprintf("the underlay device %s has no address: nothing is sent until it has one", now.Device))
	default:
		t.problem("address", "")
	}
	t.each(func(s *nhrpd.Service) { s.SetLocalNBMA(now.Address, now.Address6) })
}
