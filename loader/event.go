// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf/ringbuf"

	"dmvpn/loader/tables"
)

// EventKind says what a program reports.
type EventKind uint32

// The kinds of bpf/include/structs.h.
const (
	EventRedirect    EventKind = 1 // came in by the tunnel and leaves by it
	EventMiss        EventKind = 2 // the next hop has no peer
	EventUnknownNBMA EventKind = 3 // data from an unregistered NBMA address
	EventUnknownSPI  EventKind = 4 // ESP that no SA is there for
)

func (k EventKind) String() string {
	switch k {
	case EventRedirect:
		return "redirect"
	case EventMiss:
		return "miss"
	case EventUnknownNBMA:
		return "unknown NBMA address"
	case EventUnknownSPI:
		return "unknown SPI"
	}
	return fmt.Sprintf("event %d", uint32(k))
}

// Event is one report of a program.
type Event struct {
	Kind    EventKind
	Tunnel  int           // index of the device
	Peer    tables.PeerID // whom the packet goes to; 0 none
	Address netip.Addr    // overlay next hop; of EventUnknownNBMA and EventUnknownSPI the outer source
	Packet  []byte        // the beginning of the inner packet, of EventUnknownSPI of the outer one; the receiver's
}

// eventHeader is the length of struct event before its packet.
const eventHeader = 32

// ReadEvent waits for the next report of a program. After Close it gives
// os.ErrClosed. One goroutine at a time.
func (p *Plane) ReadEvent() (Event, error) {
	for {
		record, err := p.events.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return Event{}, os.ErrClosed
		}
		if err != nil {
			return Event{}, fmt.Errorf("loader: read %s: %w", tables.MapEvents, err)
		}
		if e, ok := parseEvent(record.RawSample); ok {
			return e, nil
		}
	}
}

// parseEvent reads struct event, whose packet the record may cut short.
func parseEvent(b []byte) (Event, bool) {
	if len(b) < eventHeader {
		return Event{}, false
	}
	length := int(binary.NativeEndian.Uint32(b[12:]))
	if length > len(b)-eventHeader {
		return Event{}, false
	}
	address := netip.AddrFrom16([16]byte(b[16:eventHeader]))
	e := Event{
		Kind:   EventKind(binary.NativeEndian.Uint32(b)),
		Tunnel: int(binary.NativeEndian.Uint32(b[4:])),
		Peer:   tables.PeerID(binary.NativeEndian.Uint32(b[8:])),
		Packet: b[eventHeader : eventHeader+length],
	}
	if !address.IsUnspecified() {
		e.Address = address.Unmap()
	}
	return e, true
}
