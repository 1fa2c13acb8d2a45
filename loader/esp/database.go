// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Database holds the associations of one host: the security association database of
// RFC 4301, section 4.4.2. Look-ups may be made by many workers while one goroutine
// changes it.
type Database struct {
	random io.Reader

	mu       sync.RWMutex
	inbound  map[uint32]*Association // by SPI; nil: reserved
	current  map[uint64]*Association // by peer: what packets leave by
	activity func(*Association)
}

// NewDatabase makes an empty one. random draws SPIs and never fails. activated is told
// whenever a peer's packets begin to leave by another association, or by none, with
// Peer and Out set to what is left; it must not call the database. nil: nobody is told.
func NewDatabase(random io.Reader, activated func(*Association)) *Database {
	if activated == nil {
		activated = func(*Association) {}
	}
	return &Database{random: random, inbound: map[uint32]*Association{}, current: map[uint64]*Association{}, activity: activated}
}

// What is refused.
var (
	ErrNotReserved = errors.New("esp: the SPI is not reserved")
	ErrNoSPI       = errors.New("esp: no SPI is free")
)

const lowestSPI = 256 // those below are reserved by IANA

// Reserve draws an SPI that nobody has.
func (d *Database) Reserve() (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range 64 {
		var b [4]byte
		if _, err := io.ReadFull(d.random, b[:]); err != nil {
			return 0, fmt.Errorf("esp: draw an SPI: %w", err)
		}
		spi := binary.BigEndian.Uint32(b[:])
		if _, taken := d.inbound[spi]; spi >= lowestSPI && !taken {
			d.inbound[spi] = nil
			return spi, nil
		}
	}
	return 0, ErrNoSPI
}

// Release gives back an SPI that was reserved and never installed.
func (d *Database) Release(spi uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.inbound[spi]; ok && a == nil {
		delete(d.inbound, spi)
	}
}

// Install opens the inbound direction of an association under the SPI that was reserved
// for it. Nothing leaves by it before Activate.
func (d *Database) Install(a *Association, p Path) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.inbound[a.In.SPI]; !ok || old != nil {
		return fmt.Errorf("%w: %08x", ErrNotReserved, a.In.SPI)
	}
	a.path.Store(&p)
	d.inbound[a.In.SPI] = a
	return nil
}

// Activate makes an association its peer's for sending, in one step.
func (d *Database) Activate(spi uint32) {
	d.mu.Lock()
	a := d.inbound[spi]
	if a == nil {
		d.mu.Unlock()
		return
	}
	d.current[a.Peer] = a
	d.mu.Unlock()
	d.activity(a)
}

// Retire ends the outbound direction.
func (d *Database) Retire(spi uint32) { d.end(spi, false) }

// Remove ends both.
func (d *Database) Remove(spi uint32) { d.end(spi, true) }

func (d *Database) end(spi uint32, inbound bool) {
	d.mu.Lock()
	a := d.inbound[spi]
	if a == nil {
		d.mu.Unlock()
		return
	}
	if inbound {
		delete(d.inbound, spi)
	}
	was := d.current[a.Peer] == a
	if was {
		delete(d.current, a.Peer)
	}
	d.mu.Unlock()
	if was {
		d.activity(a)
	}
}

// Move changes where an association's packets go.
func (d *Database) Move(spi uint32, p Path) {
	if a := d.Find(spi); a != nil {
		a.path.Store(&p)
		a.moved.Store(nil)
	}
}

// Received is when a packet last came in by an association; zero: never.
func (d *Database) Received(spi uint32) time.Time {
	if a := d.Find(spi); a != nil {
		return a.Received()
	}
	return time.Time{}
}

// Find gives the association whose inbound SPI it is, nil for none.
func (d *Database) Find(spi uint32) *Association {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.inbound[spi]
}

// Outbound gives the association that sends with an SPI to an address, nil for none. It walks
// all of them.
func (d *Database) Outbound(spi uint32, remote netip.Addr) *Association {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, a := range d.inbound {
		if a != nil && a.Out.SPI == spi && a.Path().Remote.Addr() == remote {
			return a
		}
	}
	return nil
}

// Current gives the association that a peer's packets leave by, nil for none.
func (d *Database) Current(peer uint64) *Association {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.current[peer]
}

// All gives the associations, in no order.
func (d *Database) All() []*Association {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make([]*Association, 0, len(d.inbound))
	for _, a := range d.inbound {
		if a != nil {
			all = append(all, a)
		}
	}
	return all
}
