// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ether joins sockets in memory: in virtual time, a suite and its target need no kernel. Who has no
// socket hears nothing; what is sent from an address comes in its order.
type ether struct {
	delay time.Duration // one way

	mu sync.Mutex
	at map[netip.Addr]*tap
}

// tap is a socket of the ether.
type tap struct {
	*ether
	address netip.Addr
	in      chan datum
	closed  chan struct{}
}

// datum is what is on its way, and when it is there.
type datum struct {
	from   netip.Addr
	octets []byte
	due    time.Time
}

func (e *ether) listen(a netip.Addr) (conn, error) {
	x := &tap{ether: e, address: a, in: make(chan datum, 4096), closed: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[netip.Addr]*tap{}
	}
	e.at[a] = x
	return x, nil
}

func (x *tap) WriteToIP(b []byte, to *net.IPAddr) (int, error) {
	a, _ := netip.AddrFromSlice(to.IP)
	x.mu.Lock()
	defer x.mu.Unlock()
	if other := x.at[a.Unmap()]; other != nil {
		select {
		case other.in <- datum{x.address, slices.Clone(b), time.Now().Add(x.delay)}:
		default: // as a socket that is full
		}
	}
	return len(b), nil
}

func (x *tap) ReadFromIP(b []byte) (int, *net.IPAddr, error) {
	select {
	case d := <-x.in:
		time.Sleep(time.Until(d.due))
		return copy(b, d.octets), &net.IPAddr{IP: d.from.AsSlice()}, nil
	case <-x.closed:
		return 0, nil, net.ErrClosed
	}
}

func (x *tap) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.at, x.address)
	close(x.closed)
	return nil
}
