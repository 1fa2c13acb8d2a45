// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"dmvpn/nhrpd/wire"
)

// GRE: RFC 2784 with the key of RFC 2890.
const (
	greKeyed  = 0x2000
	greHeader = 4
)

// received is what came in GRE to one of our addresses.
type received struct {
	At       time.Time
	From, To netip.Addr
	GRE      []byte // the header
	Protocol uint16
	Payload  []byte
	Packet   *wire.Packet // nil if it is no NHRP or cannot be read
	Err      error
}

// link is our side of the underlay: a socket for each address, so that what is sent
// has it as its source. It is safe for concurrent use.
type link struct {
	target netip.Addr
	key    int64
	only   bool

	mu    sync.Mutex
	ends  map[netip.Addr]conn
	inbox map[netip.Addr]chan received // of the station that has the address
	by    map[uint32]chan received     // replies by request id, before all else
	done  chan struct{}
	wait  sync.WaitGroup
}

// open opens the sockets of all addresses, or of none. With only, they hear the target and nobody
// else: a raw socket hears all until it has its address.
func open(at listen, target netip.Addr, key int64, local []netip.Addr, only bool) (*link, error) {
	l := &link{
		target: target, key: key, only: only, ends: map[netip.Addr]conn{}, inbox: map[netip.Addr]chan received{},
		by: map[uint32]chan received{}, done: make(chan struct{}),
	}
	for _, a := range local {
		c, err := at(a)
		if err != nil {
			l.close()
			return nil, err
		}
		l.ends[a] = c
	}
	for a, c := range l.ends {
		l.wait.Go(func() { l.read(a, c) })
	}
	return l, nil
}

func (l *link) close() {
	close(l.done)
	for _, c := range l.ends {
		c.Close()
	}
	l.wait.Wait()
}

// hear gives the address to a station: what came before is of others.
func (l *link) hear(a netip.Addr) chan received {
	c := make(chan received, 4096)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbox[a] = c
	return c
}

func (l *link) deaf(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inbox, a)
}

// expect takes the packets with a request id, wherever they come to.
func (l *link) expect(id uint32) (chan received, func()) {
	c := make(chan received, 16)
	return c, l.redirect(id, c)
}

// redirect is expect for somebody's own inbox.
func (l *link) redirect(id uint32, c chan received) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[id] = c
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.by, id)
	}
}

func (l *link) read(a netip.Addr, c conn) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromIP(b)
		if err != nil {
			select {
			case <-l.done:
				return
			case <-time.After(time.Millisecond): // ICMP about what we sent, or an error that lasts
			}
			continue
		}
		source, _ := netip.AddrFromSlice(from.IP)
		r := received{At: time.Now(), From: source.Unmap(), To: a}
		if l.only && r.From != l.target {
			continue
		}
		if r.parse(append([]byte(nil), b[:n]...), l.key) {
			l.deliver(r)
		}
	}
}

func (l *link) deliver(r received) {
	l.mu.Lock()
	c := l.inbox[r.To]
	if r.Packet != nil && !r.Packet.Type.Indication() {
		if asked, ok := l.by[r.Packet.RequestID]; ok {
			c = asked
		}
	}
	l.mu.Unlock()
	select {
	case c <- r: // never a nil one
	default:
	}
}

// parse reads GRE; it is false for what is not of our tunnel.
func (r *received) parse(b []byte, key int64) bool {
	if len(b) < greHeader {
		return false
	}
	flags, n := binary.BigEndian.Uint16(b), greHeader
	r.Protocol = binary.BigEndian.Uint16(b[2:])
	if flags&^uint16(greKeyed) != 0 || (flags&greKeyed != 0) != (key >= 0) {
		return false
	}
	if key >= 0 {
		n += 4
		if len(b) < n || binary.BigEndian.Uint32(b[greHeader:]) != uint32(key) {
			return false
		}
	}
	r.GRE, r.Payload = b[:n], b[n:]
	if r.Protocol == wire.GREProtocol {
		r.Packet, r.Err = wire.Decode(r.Payload)
		if p := r.Packet; p != nil && p.Type == wire.ResolutionReply && len(p.CIEs) == 0 {
			r.Packet, r.Err = nil, errors.New("a Resolution Reply without an entry")
		}
	}
	return true
}

// send sends what rides in GRE from one of our addresses to the target.
func (l *link) send(from netip.Addr, key int64, protocol uint16, payload []byte) error {
	var b []byte
	if key >= 0 {
		b = binary.BigEndian.AppendUint16(b, greKeyed)
		b = binary.BigEndian.AppendUint16(b, protocol)
		b = binary.BigEndian.AppendUint32(b, uint32(key))
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(protocol))
	}
	_, err := l.ends[from].WriteToIP(append(b, payload...), &net.IPAddr{IP: l.target.AsSlice(), Zone: l.target.Zone()})
	return err
}
