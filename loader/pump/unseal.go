// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// Opener takes ESP packets off the underlay and gives what is in them to the pumps of
// their tunnels, whichever those are. It belongs to one goroutine.
type Opener struct {
	config  OpenerConfig
	scratch esp.Scratch
	now     time.Time
	touched []*Pump // have packets that wait to be merged
	merging map[*Pump]*merger

	// What the packet before was, of the batch: most are of one association and from one source.
	last   *esp.Association
	spoke  *Secured // who may send from the source
	source netip.Addr
}

// OpenerConfig is what an Opener is made of.
type OpenerConfig struct {
	Database *esp.Database
	Tables   *tables.Tables
	Worker   int // from 0: which of the tunnels' queues packets are written into
	// Elsewhere is told of an association whose newest packet came from another endpoint
	// than its packets go to; it must not wait. nil: nobody.
	Elsewhere func(a *esp.Association, local, remote netip.AddrPort)
	// Dummies counts the packets that carry nothing; nil: nobody counts.
	Dummies *atomic.Uint64
	// Unknown is told of an SPI that nobody has; it must not wait. nil: nobody.
	Unknown func(spi uint32, local, remote netip.AddrPort)
}

// Secured is the Owner of an association: where its packets belong.
type Secured struct {
	Pump *Pump
	Peer tables.PeerID
}

// NewOpener makes one.
func NewOpener(c OpenerConfig) *Opener { return &Opener{config: c, merging: map[*Pump]*merger{}} }

// Begin starts a batch of packets that came at one time.
func (o *Opener) Begin(now time.Time) { o.now, o.last, o.spoke = now, nil, nil }

// End gives the kernel what was gathered.
func (o *Opener) End() {
	for _, p := range o.touched {
		o.merging[p].end()
	}
	o.touched = o.touched[:0]
}

// Open takes one ESP packet, in place. tos is the outer one.
func (o *Opener) Open(b []byte, tos uint8, local, remote netip.AddrPort) {
	t := o.config.Tables
	if len(b) < 8 {
		t.CountDrop(0, tables.DropTruncated, len(b))
		return
	}
	a := o.find(esp.SPI(b))
	if a == nil {
		t.CountDrop(0, tables.DropUnknownSPI, len(b))
		if o.config.Unknown != nil {
			o.config.Unknown(esp.SPI(b), local, remote)
		}
		return
	}
	owner, ok := a.Owner.(*Secured)
	if !ok {
		t.CountDrop(0, tables.DropUnknownSPI, len(b))
		return
	}
	payload, next, err := a.In.Open(&o.scratch, b)
	if err != nil {
		t.CountDrop(owner.Peer, reasonOf(err), len(b))
		return
	}
	if a.Arrived(o.now, remote, o.scratch.Newest) && o.config.Elsewhere != nil {
		o.config.Elsewhere(a, local, remote)
	}
	if next == esp.NextNone { // a dummy (RFC 4303, section 2.6)
		if o.config.Dummies != nil {
			o.config.Dummies.Add(1)
		}
		return
	}
	gre, tos, reason := unwrap(a, next, payload, tos)
	if reason == tables.DropNone {
		reason = o.enter(owner, gre, tos, a)
	}
	if reason != tables.DropNone {
		t.CountDrop(owner.Peer, reason, len(payload))
	}
}

// find gives the association of an SPI.
func (o *Opener) find(spi uint32) *esp.Association {
	if o.last == nil || o.last.In.SPI != spi {
		o.last = o.config.Database.Find(spi)
	}
	return o.last
}

// permitted says whether a peer may send from an inner address.
func (o *Opener) permitted(owner *Secured, source netip.Addr) bool {
	if o.spoke == owner && o.source == source {
		return true
	}
	if !owner.Pump.config.Permitted(owner.Peer, source) {
		return false
	}
	o.spoke, o.source = owner, source
	return true
}

// unwrap takes tunnel mode's header off, and gives GRE with the TOS octet that it came with.
func unwrap(a *esp.Association, next uint8, b []byte, outer uint8) (gre []byte, tos uint8, reason tables.Reason) {
	if a.Tunnel == nil {
		if next != protocolGRE {
			return nil, 0, tables.DropInnerProtocol
		}
		return b, outer, tables.DropNone
	}
	if next != a.Tunnel.Next() {
		return nil, 0, tables.DropInnerProtocol
	}
	b, tos, err := a.Tunnel.Take(b)
	switch err {
	case nil:
	case esp.ErrSelectors:
		return nil, 0, tables.DropSpoofed
	default:
		return nil, 0, tables.DropInnerHeader
	}
	ecn, ok := ecnExit(tos, outer)
	if !ok {
		return nil, 0, tables.DropECN
	}
	return b, tos&^3 | ecn, tables.DropNone
}

func reasonOf(err error) tables.Reason {
	switch err {
	case esp.ErrReplayed:
		return tables.DropReplay
	case esp.ErrIntegrity:
		return tables.DropIntegrity
	case esp.ErrTruncated, esp.ErrPadding:
		return tables.DropTruncated
	}
	return tables.DropNoSA
}

// enter takes GRE that came out of ESP, by the rules of bpf/include/ingress.h.
func (o *Opener) enter(owner *Secured, b []byte, tos uint8, a *esp.Association) tables.Reason {
	p := owner.Pump
	h, rest, reason := underlay.ParseGRE(b)
	switch {
	case reason != tables.DropNone:
		return reason
	case h.HasKey != p.config.Header.HasKey || h.HasKey && h.Key != p.config.Header.Key:
		return tables.DropUnknownTunnel
	case h.Protocol == underlay.ProtocolNHRP:
		if p.config.Secure != nil && !p.config.Secure(a, slices.Clone(rest)) {
			return tables.DropNoSA
		}
		return tables.DropNone
	case h.Protocol != underlay.ProtocolIPv4 && h.Protocol != underlay.ProtocolIPv6:
		return tables.DropInnerProtocol
	}
	in, ok := parseInner(rest)
	if !ok || in.greProtocol() != h.Protocol {
		return tables.DropInnerHeader
	}
	if p.config.Permitted != nil && !o.permitted(owner, in.source()) {
		return tables.DropSpoofed
	}
	ecn, ok := ecnExit(in.tos(), tos)
	if !ok {
		return tables.DropECN
	}
	if ecn != in.tos()&3 {
		in.setECN(ecn)
	}
	if p.config.MSSClamp && in.opens() {
		limit := p.config.MTU
		if peer, ok := p.config.Tables.Peer(owner.Peer); ok {
			limit = p.mtu(peer)
		}
		in.clampMSS(in.largestMSS(limit))
	}
	m := o.merging[p]
	if m == nil {
		m = newMerger(p, o.config.Worker)
		o.merging[p] = m
	}
	if m.idle() {
		o.touched = append(o.touched, p)
	}
	m.add(owner.Peer, in)
	return tables.DropNone
}

// put writes a virtio_net_hdr.
func (v vnet) put(b []byte) {
	clear(b[:vnetHeader])
	b[0], b[1] = v.flags, v.gsoType
	binary.NativeEndian.PutUint16(b[2:], v.headers)
	binary.NativeEndian.PutUint16(b[4:], v.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], v.sumStart)
	binary.NativeEndian.PutUint16(b[8:], v.sumOffset)
}
