// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// minSPI is the lowest one that is not reserved (RFC 4303, section 2.1).
const minSPI = 256

// Plain is an sa.Installer that keeps the Child SAs in a table and carries no
// packet: IKE alone. It keeps no keys. It is safe for concurrent use.
type Plain struct {
	log zerolog.Logger

	mu       sync.Mutex
	reserved map[uint32]bool
	children map[uint32]*PlainChild
}

// PlainChild is one of them.
type PlainChild struct {
	sa.Child      // without its keys
	Active   bool // the peer's packets would leave by it
	Retired  bool // only late packets would still come in
}

// NewPlain makes an empty table; what happens to it is logged.
func NewPlain(log zerolog.Logger) *Plain {
	return &Plain{log: log, reserved: map[uint32]bool{}, children: map[uint32]*PlainChild{}}
}

// Reserve implements sa.Installer.
func (p *Plain) Reserve() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it never fails: crypto/rand ends the program instead
		spi := binary.BigEndian.Uint32(b[:])
		if spi < minSPI || p.reserved[spi] || p.children[spi] != nil {
			continue
		}
		p.reserved[spi] = true
		return spi, nil
	}
}

// Release implements sa.Installer.
func (p *Plain) Release(spi uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.reserved, spi)
}

// Install implements sa.Installer.
func (p *Plain) Install(c *sa.Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reserved[c.Inbound] || p.children[c.Inbound] != nil {
		return fmt.Errorf("ike: SPI %08x was not reserved for a Child SA", c.Inbound)
	}
	if len(c.In.Encryption) == 0 || len(c.Out.Encryption) == 0 {
		return errors.New("ike: a Child SA without keys")
	}
	delete(p.reserved, c.Inbound)
	own := &PlainChild{Child: *c}
	own.In.Encryption, own.In.Integrity, own.Out.Encryption, own.Out.Integrity = nil, nil, nil, nil
	p.children[c.Inbound] = own
	p.say(own).Str("suite", suiteOf(c)).Msg("Child SA installed, in a table alone")
	return nil
}

func suiteOf(c *sa.Child) string {
	text, _ := algorithms(wire.ProtocolESP, c.Suite, wire.KeyExchangeNone, nil, c.Extended)
	return text
}

// say begins a line of the log about a Child SA.
func (p *Plain) say(c *PlainChild) *zerolog.Event {
	return p.log.Info().Uint64("sa", c.IKE).Str("inbound", SPI(c.Inbound)).Str("outbound", SPI(c.Outbound)).
		Stringer("local", c.Local).Stringer("remote", c.Remote).Bool("udp", c.Encapsulation)
}

// Activate implements sa.Installer.
func (p *Plain) Activate(inbound uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.children[inbound]
	if c == nil {
		return
	}
	for _, o := range p.children {
		if o.Peer.ID == c.Peer.ID {
			o.Active = o == c
		}
	}
	p.say(c).Msg("Child SA in use")
}

// Retire implements sa.Installer.
func (p *Plain) Retire(inbound uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.children[inbound]; c != nil {
		c.Active, c.Retired = false, true
	}
}

// Remove implements sa.Installer.
func (p *Plain) Remove(inbound uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.children[inbound]; c != nil {
		p.say(c).Msg("Child SA removed")
		delete(p.children, inbound)
	}
}

// Move implements sa.Installer.
func (p *Plain) Move(inbound uint32, local, remote netip.AddrPort, encapsulation bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.children[inbound]; c != nil {
		c.Local, c.Remote, c.Encapsulation = local, remote, encapsulation
		p.say(c).Msg("Child SA moved")
	}
}

// Received implements sa.Installer: nothing ever comes.
func (p *Plain) Received(uint32) time.Time { return time.Time{} }

// Children gives those that are installed, and how many SPIs are only reserved.
func (p *Plain) Children() (all []PlainChild, reserved int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.children {
		all = append(all, *c)
	}
	return all, len(p.reserved)
}
