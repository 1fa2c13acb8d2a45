// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
)

// Ledger is a data plane that carries nothing: it notes what a machine did to it, and
// whether that made sense. The zero value is ready.
type Ledger struct {
	// Err is the first thing that made no sense.
	Err error
	// Full refuses further SPIs and SAs.
	Full bool

	last     uint32
	reserved map[uint32]bool
	held     map[uint32]*Held
}

// Held is one Child SA of a Ledger.
type Held struct {
	sa.Child
	Retired bool
}

func (l *Ledger) wrong(format string, args ...any) {
	if l.Err == nil {
		l.Err = fmt.Errorf("data plane: "+format, args...)
	}
}

// Reserve counts up from 256.
func (l *Ledger) Reserve() (uint32, error) {
	if l.Full {
		return 0, fmt.Errorf("the data plane is full")
	}
	if l.reserved == nil {
		l.reserved, l.held, l.last = map[uint32]bool{}, map[uint32]*Held{}, max(l.last, 255)
	}
	l.last++
	l.reserved[l.last] = true
	return l.last, nil
}

// Release takes a reserved SPI back.
func (l *Ledger) Release(spi uint32) {
	if !l.reserved[spi] {
		l.wrong("SPI %08x is released, which is not reserved", spi)
	}
	delete(l.reserved, spi)
}

// Install wants a reserved SPI and whole keys.
func (l *Ledger) Install(c *sa.Child) error {
	if l.Full {
		return fmt.Errorf("the data plane is full")
	}
	if !l.reserved[c.Inbound] || l.held[c.Inbound] != nil {
		l.wrong("SPI %08x is installed, which is not reserved", c.Inbound)
	}
	if err := c.Suite.Check(true); err != nil || blank(c.In) || blank(c.Out) || bytes.Equal(c.In.Encryption, c.Out.Encryption) {
		l.wrong("SPI %08x has a suite or keys that are none: %v", c.Inbound, err)
	}
	delete(l.reserved, c.Inbound)
	h := &Held{Child: *c}
	h.In, h.Out = clone(c.In), clone(c.Out)
	l.held[c.Inbound] = h
	return nil
}

func blank(k crypto.DirectionKeys) bool {
	return len(bytes.Trim(k.Encryption, "\x00")) == 0
}

func clone(k crypto.DirectionKeys) crypto.DirectionKeys {
	return crypto.DirectionKeys{Encryption: bytes.Clone(k.Encryption), Integrity: bytes.Clone(k.Integrity)}
}

func (l *Ledger) find(what string, spi uint32) *Held {
	h := l.held[spi]
	if h == nil {
		l.wrong("%s of %08x, which is not installed", what, spi)
		return &Held{}
	}
	return h
}

// Activate wants an SA with both directions.
func (l *Ledger) Activate(spi uint32) {
	if l.find("activation", spi).Retired {
		l.wrong("activation of %08x, which is retired", spi)
	}
}

// Retire notes that nothing leaves by an SA any more.
func (l *Ledger) Retire(spi uint32) { l.find("retirement", spi).Retired = true }

// Remove forgets an SA.
func (l *Ledger) Remove(spi uint32) {
	l.find("removal", spi)
	delete(l.held, spi)
}

// Move notes new endpoints.
func (l *Ledger) Move(spi uint32, local, remote netip.AddrPort, encapsulation bool) {
	h := l.find("move", spi)
	h.Local, h.Remote, h.Encapsulation = local, remote, encapsulation
}

// Received is never: no packet comes.
func (l *Ledger) Received(uint32) time.Time { return time.Time{} }

// Held is the SA with an inbound SPI, nil without.
func (l *Ledger) Held(spi uint32) *Held { return l.held[spi] }

// Reserved says whether an SPI is reserved and not installed.
func (l *Ledger) Reserved(spi uint32) bool { return l.reserved[spi] }

// Installed says whether an SA is installed.
func (l *Ledger) Installed(spi uint32) bool { return l.held[spi] != nil }

// Count gives how many SPIs are reserved and how many SAs installed.
func (l *Ledger) Count() (reserved, installed int) { return len(l.reserved), len(l.held) }

// Trim makes the maps no larger than they must be, for who measures memory.
func (l *Ledger) Trim() { *l = *l.Copy() }

// Copy is a Ledger with the same content, for a machine that is imported beside another.
func (l *Ledger) Copy() *Ledger {
	c := &Ledger{Err: l.Err, Full: l.Full, last: l.last, reserved: map[uint32]bool{}, held: map[uint32]*Held{}}
	for spi := range l.reserved {
		c.reserved[spi] = true
	}
	for spi, h := range l.held {
		same := *h
		c.held[spi] = &same
	}
	return c
}
