// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"
	"slices"
	"sync"

	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// arrive takes a packet of this tunnel from the raw socket, by the rules of
// bpf/include/ingress.h.
func (p *Pump) arrive(packet underlay.Packet) {
	t := p.config.Tables
	from := tables.Endpoint{NBMA: packet.Source}
	id, known := t.ID(p.config.Tunnel, from)
	switch {
	case p.config.Protected:
		t.CountDrop(id, tables.DropCleartext, len(packet.Payload))
	case packet.Protocol == underlay.ProtocolNHRP:
		if p.config.NHRP != nil {
			p.config.NHRP(packet.Source, slices.Clone(packet.Payload))
		}
	case !known:
		t.CountDrop(0, tables.DropUnknownPeer, len(packet.Payload))
	default:
		if reason := p.deliver(id, packet); reason != tables.DropNone {
			t.CountDrop(id, reason, len(packet.Payload))
		}
	}
}

// deliver gives the inner packet to the kernel as if it came by the device.
func (p *Pump) deliver(id tables.PeerID, packet underlay.Packet) tables.Reason {
	peer, ok := p.config.Tables.Peer(id)
	if !ok || !peer.Up {
		return tables.DropPeerDown
	}
	if packet.Protocol != underlay.ProtocolIPv4 && packet.Protocol != underlay.ProtocolIPv6 {
		return tables.DropInnerProtocol
	}
	in, ok := parseInner(packet.Payload)
	if !ok || in.greProtocol() != packet.Protocol {
		return tables.DropInnerHeader
	}
	ecn, ok := ecnExit(in.tos(), packet.TOS)
	if !ok {
		return tables.DropECN
	}
	if ecn != in.tos()&3 {
		in.setECN(ecn)
	}
	if p.config.MSSClamp {
		in.clampMSS(in.largestMSS(p.mtu(peer)))
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	// No checksum is partial and nothing is GSO: a header of zeros.
	p.out = append(append(p.out[:0], make([]byte, vnetHeader)...), in.b...)
	if p.config.Queues[0].write(p.out) != nil {
		return tables.DropSlowPath
	}
	p.config.Tables.CountReceived(id, len(in.b))
	return tables.DropNone
}

// tunnelKey is what tells the tunnels of one socket apart.
type tunnelKey struct {
	key    uint32
	hasKey bool
}

func keyOf(h underlay.Header) tunnelKey {
	if !h.HasKey {
		return tunnelKey{}
	}
	return tunnelKey{h.Key, true}
}

// Receiver reads a raw GRE socket for the tunnels that share it.
type Receiver struct {
	conn   *underlay.Conn
	tables *tables.Tables

	mu    sync.RWMutex
	pumps map[tunnelKey]*Pump
}

// NewReceiver makes the receiver; nothing runs yet.
func NewReceiver(c *underlay.Conn, t *tables.Tables) *Receiver {
	return &Receiver{conn: c, tables: t, pumps: map[tunnelKey]*Pump{}}
}

// Add gives the packets of the pump's key to the pump, Remove ends it. Both may
// be called while Run runs.
func (r *Receiver) Add(p *Pump) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pumps[keyOf(p.config.Header)] = p
}

// Remove undoes Add.
func (r *Receiver) Remove(p *Pump) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := keyOf(p.config.Header); r.pumps[key] == p {
		delete(r.pumps, key)
	}
}

func (r *Receiver) find(h underlay.Header) *Pump {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.pumps[keyOf(h)]
}

// Run reads until the socket is closed, and gives the error that says so.
func (r *Receiver) Run() error {
	buf := make([]byte, underlay.MaxPacket)
	for {
		packet, err := r.conn.Read(buf)
		var bad *underlay.Malformed
		var path *underlay.Narrow
		switch {
		case errors.As(err, &bad):
			r.count(bad)
			continue
		case errors.As(err, &path):
			if p := r.find(path.Header); p != nil {
				p.narrow(path.To)
			}
			continue
		}
		if err != nil {
			return err
		}
		// GRE of tunnels that are not ours was counted by BPF.
		if p := r.find(packet.Header); p != nil {
			p.arrive(packet)
		}
	}
}

// count counts a malformed packet unless BPF saw it whole and has done so: what
// it lets by is of no tunnel of ours, a fragment, or bears options.
func (r *Receiver) count(bad *underlay.Malformed) {
	if bad.Packet.Options || bad.Reason != tables.DropTruncated && r.find(bad.Packet.Header) != nil {
		r.tables.CountDrop(0, bad.Reason, bad.Octets)
	}
}
