// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
)

// plane is an sa.Installer whose SAs Send and receiver use.
type plane struct{ *esp.Database }

func newPlane() *plane { return &plane{esp.NewDatabase(rand.Reader, nil)} }

// Install implements sa.Installer; AES-GCM is all that is offered.
func (p *plane) Install(c *sa.Child) error {
	a := &esp.Association{Peer: c.Peer.ID}
	var err error
	key := func(k []byte) esp.Transform { return esp.Transform{Algorithm: esp.AESGCM16, Key: k} }
	if a.In, err = esp.NewInbound(esp.InboundConfig{SPI: c.Inbound, Extended: c.Extended, Transform: key(c.In.Encryption)}); err != nil {
		return err
	}
	if a.Out, err = esp.NewOutbound(esp.OutboundConfig{SPI: c.Outbound, Extended: c.Extended, Transform: key(c.Out.Encryption)}); err != nil {
		return err
	}
	return p.Database.Install(a, esp.Path{Local: c.Local, Remote: c.Remote, Encapsulation: c.Encapsulation})
}

// Move implements sa.Installer.
func (p *plane) Move(spi uint32, local, remote netip.AddrPort, encapsulation bool) {
	p.Database.Move(spi, esp.Path{Local: local, Remote: remote, Encapsulation: encapsulation})
}

// receiver takes NHRP out of what comes; data is thrown away.
type receiver struct {
	plane   *plane
	scratch esp.Scratch
	taken   func([]byte)
}

// Begin implements ike.Receiver, as the others do.
func (*receiver) Begin(time.Time) {}
func (*receiver) End()            {}
func (r *receiver) Open(b []byte, _ uint8, _, _ netip.AddrPort) {
	const spi, gre, withKey, toNHRP = 4, 8, 0x20, 0x2001
	if len(b) < spi {
		return
	}
	a := r.plane.Find(binary.BigEndian.Uint32(b))
	if a == nil {
		return
	}
	packet, _, err := a.In.Open(&r.scratch, b)
	if err != nil || len(packet) < gre || packet[0]&withKey == 0 || binary.BigEndian.Uint16(packet[2:]) != toNHRP || r.taken == nil {
		return
	}
	r.taken(slices.Clone(packet[gre:]))
}
