// SPDX-License-Identifier: Apache-2.0

// Package pump is the slow path in Go: what BPF does not finish. It reads the
// tunnel device's queue (multicast, hairpin GSO, what is too big or has no way)
// and the raw GRE socket (NHRP, outer fragments, outer IP options), by the rules
// that hold in BPF, and counts in the same tables.
package pump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// Specification: RFC 791, the precedence of routing and control traffic.
const tosControl = 0xc0

// The tag in front of what BPF left to us, bpf/include/structs.h.
const (
	tagLength = 8
	tagMagic  = 0xd0

	tagData      = 1
	tagMiss      = 2
	tagGSO       = 3
	tagMulticast = 4
	tagTooBig    = 5
)

// queueBuffer holds the largest GSO packet with what stands in front of it.
const queueBuffer = 128 << 10

// Config is one tunnel.
type Config struct {
	Tunnel    int             // index of the device
	Header    underlay.Header // key of the tunnel; Protocol is not looked at
	MTU       int             // of the device
	Protected bool            // GRE in clear is refused
	MSSClamp  bool            // of what arrives here
	Queues    []*Queue        // of the device: what comes by worker n is written into the nth
	Conn      *underlay.Conn  // of one family, see SetConn; may be shared with other tunnels
	Tables    *tables.Tables
	// Multicast gives the peers that get a copy of an IPv6 packet or of an IPv4 one; nil:
	// nobody does. What it gave is only read, and must not change.
	Multicast      func(six bool) []tables.PeerID
	MulticastRate  int // copies a second; 0: DefaultMulticastRate
	MulticastBurst int // copies at once; 0: MulticastRate
	// ESP sends what is sealed; needed where Protected is.
	ESP Segments
	// Patience is how long from New on a packet for a peer without an association waits for one;
	// 0: it is dropped. GiveUp ends it.
	Patience time.Duration
	// Secure takes the NHRP packets that came out of ESP, as NHRP does; false: nobody has the
	// association any more, and the packet is nobody's.
	Secure func(a *esp.Association, packet []byte) bool
	// Permitted says whether a peer may send from an inner address; nil: always.
	Permitted func(id tables.PeerID, source netip.Addr) bool
	// NHRP takes the NHRP packets that arrive; the slice is the callee's. It
	// must not block for long.
	NHRP func(from netip.Addr, packet []byte)
	// Report takes a sentence for the log; nil: nobody.
	Report func(message string)
}

// Pump is the slow path of one tunnel.
type Pump struct {
	config    Config
	conns     [2]atomic.Pointer[underlay.Conn] // of IPv4, of IPv6
	multicast multicast
	greetings greetings
	icmp      *icmp // nil: no answers

	secured secured
	early   early
	slow    slowSealer // for what does not come in batches

	writing    sync.Mutex
	out        []byte      // what the raw socket gave, on its way into a queue
	withoutUSO atomic.Bool // the device takes no GSO of UDP

	raising sync.Mutex
	raise   map[tables.PeerID]*time.Timer // back to the tunnel's MTU
}

// New makes the pump; nothing runs yet. It must run in the network namespace of
// the tunnel.
func New(c Config) *Pump {
	if c.Report == nil {
		c.Report = func(string) {}
	}
	p := &Pump{config: c, multicast: newMulticast(c.MulticastRate, c.MulticastBurst), raise: map[tables.PeerID]*time.Timer{}}
	p.secured.peer = map[tables.PeerID]*esp.Association{}
	p.early.begin(p, c.Patience)
	p.slow.sealer = newSealer(p)
	if c.Conn != nil {
		p.SetConn(c.Conn)
	}
	var err error
	if p.icmp, err = openICMP(); err != nil {
		c.Report(fmt.Sprintf("packets that are too big will not be answered: %v", err))
	}
	return p
}

// SetConn changes the socket of a family: there is an underlay address, or another one.
func (p *Pump) SetConn(c *underlay.Conn) { p.conns[family(c.Local())].Store(c) }

// conn gives the socket by which packets go to an NBMA address.
func (p *Pump) conn(to netip.Addr) (*underlay.Conn, error) {
	if c := p.conns[family(to)].Load(); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("pump: send to %s: we have no underlay address of its family", to)
}

// family is the place of what there is one of for IPv4 and one for IPv6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// SendSecure sends an NHRP packet by an association.
func (p *Pump) SendSecure(a *esp.Association, packet []byte) error {
	return p.slow.send(0, a, underlay.ProtocolNHRP, tosControl, packet)
}

// SendNHRP sends an NHRP packet to the NBMA address.
func (p *Pump) SendNHRP(to netip.Addr, packet []byte) error {
	h := p.config.Header
	h.Protocol = underlay.ProtocolNHRP
	c, err := p.conn(to)
	if err != nil {
		return err
	}
	return c.Send(to, h, tosControl, packet)
}

// readsTogether is after how many reads what was gathered goes out, though more is there:
// what is for a peer with little traffic must not wait for the others.
const readsTogether = 64

// RunQueue reads a queue until it is closed or its read deadline passes, and gives the error that
// says so; the descriptor stays the caller's. Another pump may then take it over. Queues run
// beside each other: packets of one flow leave in their order as long as they wait in one.
func (p *Pump) RunQueue(q *Queue) error {
	buf := make([]byte, queueBuffer)
	s := newSealer(p)
	reads := 0
	flush := func() { s.end(); reads = 0 }
	idle := func() {
		flush()
		q.emptied.Do(func() { close(q.empty) })
	}
	read, err := reader(q.file, idle)
	if err != nil {
		return err
	}
	for {
		n, err := read(buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil:
			flush()
			return fmt.Errorf("pump: read the queue: %w", err)
		case n > vnetHeader:
			q.read.Add(1)
			p.leave(s, parseVnet(buf), buf[vnetHeader:n])
			if reads++; reads == readsTogether {
				flush()
			}
		}
	}
}

// leave handles what the kernel routed into the tunnel and BPF left to us.
func (p *Pump) leave(s *sealer, v vnet, b []byte) {
	t := p.config.Tables
	if len(b) < tagLength || b[0] != tagMagic {
		// No program stood there, or it let by what it does not know.
		t.CountDrop(0, tables.DropInnerProtocol, len(b))
		return
	}
	why, id := b[1], tables.PeerID(binary.NativeEndian.Uint32(b[4:]))
	reason := tables.Reason(binary.NativeEndian.Uint16(b[2:]))
	packet, ok := parseInner(b[tagLength:])
	if !ok {
		t.CountDrop(id, tables.DropInnerHeader, len(b)-tagLength)
		return
	}
	// A GSO packet gets its checksums when it is cut.
	if v.gsoType == gsoNone && !packet.complete(v, tagLength) {
		t.CountDrop(id, tables.DropInnerHeader, len(packet.b))
		return
	}
	if why != tagData {
		s.end() // what follows may go to the same peers, by another sealer
	}
	switch why {
	case tagMulticast:
		p.replicate(s, v, packet)
	case tagGSO:
		p.sendAll(id, v, packet)
	case tagTooBig:
		p.learn(id)
		p.sendAll(id, v, packet)
	case tagData:
		s.protect(id, v, packet)
	default: // tagMiss
		t.CountDrop(id, reason, len(packet.b))
	}
}
