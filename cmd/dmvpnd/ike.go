// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
	"dmvpn/loader/underlay"
)

// makeIKE makes IKE for the tunnels that have it, with the keys that their
// configuration names.
func (d *daemon) makeIKE(u *undo) error {
	var all []*sa.Connection
	protected := false
	for _, t := range d.config.Tunnels {
		if t.IPsec == nil {
			continue
		}
		protected = protected || t.Protected
		c, err := ike.Connection(t.Name, t.IPsec, time.Now())
		if err != nil {
			return fmt.Errorf("tunnel %w", err)
		}
		c.Tag = tag(t)
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil
	}
	log := d.log.With().Str("part", "ike").Logger()
	k := ike.Config{Connections: all, Installer: ike.NewPlain(log), CrashSecret: d.paths.CrashSecret, Failed: d.fail, Log: log}
	if protected {
		d.installer = newInstaller(d)
		k.Installer, k.Handler = d.installer, handler{d}
		paths := pump.NewPathHints(d.installer.database)
		k.TooBig = func(h underlay.Hint) { paths.Take(h) }
		k.Used, k.Count, k.Raw = d.installer.used, d.installer.count, rawESP{d}
		k.Workers = d.config.Daemon.Queues
		k.ESP = func(worker int) ike.Receiver { return d.installer.opener(worker) }
		k.Filter = func() (underlay.Filter, error) { return d.plane.ESPFilter() }
	}
	d.ike = ike.New(k)
	u.push(d.ike.Close)
	return nil
}

// renewCredentials reads what the tunnels prove themselves and their peers with again.
func (d *daemon) renewCredentials(c *config.Config) error {
	if d.ike == nil {
		return nil
	}
	var fresh []*sa.Connection
	for _, t := range c.Tunnels {
		if t.IPsec == nil {
			continue
		}
		x, err := ike.Connection(t.Name, t.IPsec, time.Now())
		if err != nil {
			return fmt.Errorf("tunnel %w", err)
		}
		fresh = append(fresh, x)
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewTime)
	defer cancel()
	return d.ike.Service().Renew(ctx, fresh)
}

// renewTime is how long IKE may take to notice new credentials.
const renewTime = 5 * time.Second

// tag tells our own kind which of several tunnels between the same two ends is meant.
func tag(t config.Tunnel) []byte {
	if !t.HasKey {
		return nil
	}
	return binary.BigEndian.AppendUint32(nil, t.Key)
}

// listen takes IKE to the addresses of the underlay. That of a family without one it leaves
// where it is.
func (t *tunnel) listen(now kernel.Underlay) error {
	if t.config.IPsec == nil || now.Index == 0 {
		return nil
	}
	for family, a := range []netip.Addr{now.Address, now.Address6} {
		if !a.IsValid() {
			continue
		}
		if err := t.listenAt(family, ike.Endpoint{Address: a, Device: now.Device, Index: now.Index, Mark: now.Mark}); err != nil {
			return err
		}
	}
	return nil
}

// listenAt takes IKE to one endpoint, from that of its family before.
func (t *tunnel) listenAt(family int, at ike.Endpoint) error {
	k := t.daemon.ike
	old := t.listening[family]
	if at == old {
		return nil
	}
	if err := k.Listen(at); err != nil {
		return err
	}
	t.listening[family] = at
	if t.config.Protected {
		if err := t.daemon.judge.move(t, family, at.Address); err != nil {
			return err
		}
	}
	if !old.Address.IsValid() {
		for _, n := range t.config.NHS {
			k.Service().Connect(ikev2.Want{Connection: t.config.Name, Host: n.NBMA, Port: ike.Port, Local: netip.AddrPortFrom(at.Address, ike.Port)})
		}
		return nil
	}
	if old.Address != at.Address {
		k.Service().Readdress(t.config.Name, old.Address, at.Address)
	}
	t.daemon.quietly("close the IKE sockets of the address before", k.Unlisten(old))
	return nil
}

// honest says what an operator might not expect of a tunnel with [ipsec].
func (t *tunnel) honest() {
	if t.config.IPsec != nil && !t.config.Protected {
		t.problem("ipsec", "protection is \"none\": IKE agrees on keys that nothing uses, and packets travel in clear")
	}
}
