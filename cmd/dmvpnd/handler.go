// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"

	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
	"dmvpn/loader/pump"
	"dmvpn/nhrpd"
)

// handler tells the tunnels what becomes of IKE's peers. The loop of IKE calls it.
type handler struct{ daemon *daemon }

// Up implements ikev2.Handler.
func (h handler) Up(p sa.Peer) {
	t := h.daemon.tunnel(p.Connection)
	if t == nil || t.secure == nil {
		return
	}
	t.daemon.quietly("IPsec", t.secure.up(p, h.daemon.installer.database.Current(p.ID)))
	t.each(func(s *nhrpd.Service) { s.Secured(endpointOf(p.Identity.Name(), p.Remote)) })
}

// Down implements ikev2.Handler.
func (h handler) Down(p sa.Peer, reason string) {
	if t := h.daemon.tunnel(p.Connection); t != nil && t.secure != nil {
		t.log.Info().Stringer("peer", p.Identity).Stringer("remote", p.Remote).Str("reason", reason).Msg("IPsec is down")
		t.daemon.quietly("IPsec", t.secure.down(p))
		t.each(func(s *nhrpd.Service) { s.Unsecured(endpointOf(p.Identity.Name(), p.Remote)) })
	}
}

// Moved implements ikev2.Handler: the peer stays what it is to NHRP, which finds it at its
// new endpoint when it registers there.
func (h handler) Moved(p sa.Peer, _ netip.AddrPort) {
	if t := h.daemon.tunnel(p.Connection); t != nil && t.secure != nil {
		t.daemon.quietly("IPsec", t.secure.up(p, h.daemon.installer.database.Current(p.ID)))
	}
}

// Failed implements ikev2.Handler.
func (h handler) Failed(f sa.Failed) {
	if t := h.daemon.tunnel(f.Connection); t != nil {
		t.log.Warn().Stringer("remote", f.Remote).Str("reason", f.Reason).Time("retry", f.Retry).Msg("no IPsec")
		if t.secure != nil {
			t.secure.failed(f)
		}
	}
}

// tunnel finds a tunnel by its name, which is IKE's connection.
func (d *daemon) tunnel(name string) *tunnel {
	for _, t := range d.tunnels {
		if t.config.Name == name {
			return t
		}
	}
	return nil
}

// tunnelOf finds the tunnel of a pump.
func (d *daemon) tunnelOf(p *pump.Pump) *tunnel {
	for _, t := range d.tunnels {
		if t.secure != nil && t.currentPump() == p {
			return t
		}
	}
	return nil
}

func (t *tunnel) currentPump() *pump.Pump {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pump
}

// deliver hands NHRP in that came out of ESP, unless the peer is gone meanwhile: from
// nobody in particular it would be whoever it says.
func (t *tunnel) deliver(a *esp.Association, packet []byte) bool {
	identity := t.secure.identity(a)
	if identity == "" {
		return false
	}
	t.takeNHRP(endpointOf(identity, a.Path().Remote), packet)
	return true
}
