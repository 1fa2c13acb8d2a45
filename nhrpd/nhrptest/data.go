// SPDX-License-Identifier: Apache-2.0

package nhrptest

import (
	"fmt"
	"net/netip"
	"strings"

	"dmvpn/nhrpd/engine"
)

// Delivery is what became of a data packet: the nodes that it passed, and why it
// was dropped, "" if it arrived.
type Delivery struct {
	Path    []string
	Dropped string
}

// String is the path, as S1 H S2.
func (d Delivery) String() string {
	s := strings.Join(d.Path, " ")
	if d.Dropped != "" {
		s += ": " + d.Dropped
	}
	return s
}

// Send sends a data packet of some octets from a node on the way of its routes,
// in no time. A node that gets it by the tunnel and sends it on by the tunnel
// tells its machine, as the data plane does.
func (n *Node) Send(source, destination string, size int) Delivery {
	src, dst := netip.MustParseAddr(source), netip.MustParseAddr(destination)
	var d Delivery
	byTunnel := false
	for ttl := 0; ; ttl++ {
		d.Path = append(d.Path, n.Name)
		if ttl == 8 {
			d.Dropped = "it runs in a circle"
			return d
		}
		r, ok := n.Lookup(dst)
		switch {
		case !ok:
			d.Dropped = "no route"
			return d
		case r.Local:
			return d
		case !r.Tunnel:
			if r.Prefix.Bits() == 0 {
				d.Dropped = "it leaves for the Internet"
			}
			return d
		}
		to, ok := n.Bound[r.NextHop]
		if !ok {
			if n.Machine != nil {
				defer n.Input(engine.Miss{NextHop: r.NextHop, Data: inner(src, dst)})
			}
			if to, ok = n.Bound[n.Fallback]; !ok {
				d.Dropped = "next hop " + r.NextHop.String() + " has no peer"
				return d
			}
		}
		if byTunnel && n.Config.Redirect && n.Machine != nil {
			n.Input(engine.Redirect{Data: inner(src, dst)})
		}
		next, from := n.world.at(n, to)
		sent := n.traffic[to.Key()]
		sent.Sent, sent.Bytes = sent.Sent+1, sent.Bytes+uint64(size)
		n.traffic[to.Key()] = sent
		if next == nil || n.world.Cut(from.NBMA, to.NBMA) {
			d.Dropped = fmt.Sprintf("nobody is at %v", to.NBMA)
			return d
		}
		if !next.Accepted[from.Key()] {
			d.Path = append(d.Path, next.Name)
			d.Dropped = fmt.Sprintf("%v is not known there", from.NBMA)
			return d
		}
		got := next.traffic[from.Key()]
		got.Received, got.Bytes = got.Received+1, got.Bytes+uint64(size)
		next.traffic[from.Key()] = got
		n, byTunnel = next, true
	}
}

// inner is an IP header with the addresses, and 8 octets of UDP.
func inner(source, destination netip.Addr) []byte {
	if source.Is6() {
		b := make([]byte, 48)
		b[0], b[5], b[6], b[7] = 0x60, 8, 17, 64
		copy(b[8:], source.AsSlice())
		copy(b[24:], destination.AsSlice())
		return b
	}
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9] = 0x45, 28, 64, 17
	s, d := source.As4(), destination.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	return b
}
