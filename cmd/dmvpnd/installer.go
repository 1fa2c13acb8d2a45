// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
	"dmvpn/loader/esp"
	"dmvpn/loader/pump"
)

// installer puts the Child SAs that IKE agrees on into the database of loader/esp.
// The IKE service's loop alone calls it.
type installer struct {
	daemon   *daemon
	database *esp.Database
	log      zerolog.Logger
	dummies  atomic.Uint64 // ESP packets that carried nothing
}

func newInstaller(d *daemon) *installer {
	i := &installer{daemon: d, log: d.log.With().Str("part", "esp").Logger()}
	i.database = esp.NewDatabase(rand.Reader, i.activated)
	return i
}

// Reserve implements sa.Installer. The programs know the SPI before any peer does.
func (i *installer) Reserve() (uint32, error) {
	spi, err := i.database.Reserve()
	if err != nil {
		return 0, err
	}
	if err := i.daemon.plane.Tables.AddSPI(spi); err != nil {
		i.database.Release(spi)
		return 0, err
	}
	return spi, nil
}

// Release implements sa.Installer.
func (i *installer) Release(spi uint32) {
	if i.database.Release(spi); i.database.Find(spi) == nil {
		i.daemon.quietly("forget an SPI", i.daemon.plane.Tables.DeleteSPI(spi))
	}
}

// Install implements sa.Installer.
func (i *installer) Install(c *sa.Child) error {
	t := i.daemon.tunnel(c.Peer.Connection)
	if t == nil || t.secure == nil {
		return fmt.Errorf("esp: no protected tunnel %s", c.Peer.Connection)
	}
	in, err := transform(c.Suite, c.In)
	if err != nil {
		return err
	}
	out, err := transform(c.Suite, c.Out)
	if err != nil {
		return err
	}
	spi := c.Inbound
	a := &esp.Association{Peer: c.Peer.ID, Usage: &esp.Usage{
		Limits: esp.Limits{SoftBytes: c.SoftBytes, HardBytes: c.HardBytes, SoftPackets: c.SoftPackets, HardPackets: c.HardPackets},
		Notify: func(e esp.Event) { i.event(spi, e) },
	}}
	if a.In, err = esp.NewInbound(esp.InboundConfig{SPI: c.Inbound, Extended: c.Extended, Transform: in, Usage: a.Usage, Window: t.config.IPsec.ReplayWindow}); err != nil {
		return err
	}
	if a.Out, err = esp.NewOutbound(esp.OutboundConfig{SPI: c.Outbound, Extended: c.Extended, Transform: out, Usage: a.Usage}); err != nil {
		return err
	}
	if c.Mode == sa.Tunnel {
		if a.Tunnel, err = tunnelMode(c.Here, c.There); err != nil {
			return err
		}
	}
	id, err := t.secure.enter(c.Peer)
	if err != nil {
		return err
	}
	a.Owner = &pump.Secured{Pump: t.currentPump(), Peer: id}
	if err := i.database.Install(a, esp.Path{Local: c.Local, Remote: c.Remote, Encapsulation: c.Encapsulation}); err != nil {
		t.secure.leave(c.Peer.ID)
		return err
	}
	i.log.Debug().Str("inbound", ike.SPI(c.Inbound)).Str("outbound", ike.SPI(c.Outbound)).Stringer("remote", c.Remote).Msg("SA installed")
	return nil
}

// Activate implements sa.Installer.
func (i *installer) Activate(spi uint32) { i.database.Activate(spi) }

// Retire implements sa.Installer.
func (i *installer) Retire(spi uint32) { i.database.Retire(spi) }

// Remove implements sa.Installer.
func (i *installer) Remove(spi uint32) {
	a := i.database.Find(spi)
	i.database.Remove(spi)
	if a == nil {
		return
	}
	i.daemon.quietly("forget an SPI", i.daemon.plane.Tables.DeleteSPI(spi))
	if owner, ok := a.Owner.(*pump.Secured); ok {
		if t := i.daemon.tunnelOf(owner.Pump); t != nil {
			t.secure.leave(a.Peer)
		}
	}
}

// Move implements sa.Installer.
func (i *installer) Move(spi uint32, local, remote netip.AddrPort, encapsulation bool) {
	i.database.Move(spi, esp.Path{Local: local, Remote: remote, Encapsulation: encapsulation})
}

// Received implements sa.Installer.
func (i *installer) Received(spi uint32) time.Time { return i.database.Received(spi) }

// used is what a Child SA has carried and dropped.
func (i *installer) used(inbound uint32) (u ike.Used) {
	if a := i.database.Find(inbound); a != nil {
		u.Packets, u.Octets = a.Used()
		s := a.In.Stats()
		u.Dropped = control.ESPDrops{Replay: s.Replayed, Integrity: s.Integrity, Truncated: s.Malformed}
	}
	return u
}

// count adds the counters of ESP that are not a socket's.
func (i *installer) count(all map[string]uint64) { all["esp-dummies-received"] = i.dummies.Load() }

// activated hands a peer's packets to another association, or to none.
func (i *installer) activated(a *esp.Association) {
	owner, ok := a.Owner.(*pump.Secured)
	if !ok {
		return
	}
	if t := i.daemon.tunnelOf(owner.Pump); t != nil {
		t.secure.activated(a.Peer, i.database.Current(a.Peer))
	}
}

// event tells IKE what the use of an SA brings about.
func (i *installer) event(spi uint32, e esp.Event) {
	s := i.daemon.ike.Service()
	switch e {
	case esp.SoftLimit, esp.NearlyExhausted:
		s.Put(&sa.Expired{Inbound: spi})
	case esp.HardLimit:
		s.Put(&sa.Expired{Inbound: spi, Hard: true})
	case esp.FirstPacket:
		s.Put(&sa.Arrived{Inbound: spi})
	}
}

// opener makes what takes ESP off one socket's datagrams, for a worker.
func (i *installer) opener(worker int) *pump.Opener {
	return pump.NewOpener(pump.OpenerConfig{
		Database: i.database, Tables: i.daemon.plane.Tables, Dummies: &i.dummies, Worker: worker,
		Elsewhere: func(a *esp.Association, local, remote netip.AddrPort) {
			i.daemon.ike.Service().Hint(&sa.Arrived{Inbound: a.In.SPI, Local: local, Remote: remote, Raw: remote.Port() == 0})
		},
		Unknown: i.unknown,
	})
}

// unknown lets IKE answer ESP whose SPI nobody has. Ports of 0 are those of ESP without UDP.
func (i *installer) unknown(spi uint32, local, remote netip.AddrPort) {
	if remote.Port() == 0 {
		local, remote = netip.AddrPortFrom(local.Addr(), ike.Port), netip.AddrPortFrom(remote.Addr(), ike.Port)
	}
	i.daemon.ike.Service().Hint(&sa.UnknownSPI{Local: local, Remote: remote, SPI: spi})
}

// tunnelMode is what the selectors allow: GRE from one address to one other. Who was made to
// negotiate by a packet names that one's selectors too, first (RFC 7296, section 2.9).
func tunnelMode(here, there []wire.Selector) (*esp.Tunnel, error) {
	for _, list := range [][]wire.Selector{here, there} {
		for _, s := range list {
			if s.Start != list[0].Start || s.End != list[0].Start || s.Protocol != protocolGRE {
				return nil, fmt.Errorf("esp: tunnel mode with selectors %s and %s: this version carries GRE between two addresses", here, there)
			}
		}
	}
	return esp.NewTunnel(here[0].Start, there[0].Start, protocolGRE)
}

const protocolGRE = 47

// transform is a suite of IKE's with its keys as ESP has it.
func transform(s crypto.Suite, k crypto.DirectionKeys) (esp.Transform, error) {
	t := esp.Transform{Key: k.Encryption, IntegrityKey: k.Integrity}
	switch s.Encryption {
	case wire.EncryptionAESGCM16:
		t.Algorithm = esp.AESGCM16
	case wire.EncryptionChaCha20Poly1305:
		t.Algorithm = esp.ChaCha20Poly1305
	case wire.EncryptionAESCBC:
		t.Algorithm = esp.AESCBC
	default:
		return t, fmt.Errorf("esp: encryption %d is not offered", s.Encryption)
	}
	switch s.Integrity {
	case wire.IntegrityNone:
	case wire.IntegrityHMACSHA256128:
		t.Integrity = esp.HMACSHA256
	case wire.IntegrityHMACSHA384192:
		t.Integrity = esp.HMACSHA384
	case wire.IntegrityHMACSHA512256:
		t.Integrity = esp.HMACSHA512
	default:
		return t, fmt.Errorf("esp: integrity %d is not offered", s.Integrity)
	}
	return t, nil
}
