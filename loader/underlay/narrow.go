// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"dmvpn/loader/tables"
)

// Narrow is the error about a path: somebody on it says (ICMP) that a GRE packet of
// ours was above its MTU, whether BPF sent it or we. The kernel believes it within
// its bounds: PathMTU gives what it knows now.
type Narrow struct {
	Header            // of the packet, as it was quoted
	To     netip.Addr // where it went
	From   netip.Addr // who says so
	MTU    int        // octets of an outer packet, as it was said
}

func (n *Narrow) Error() string {
	return fmt.Sprintf("underlay: %s says of %s: packets above %d octets do not fit", n.From, n.To, n.MTU)
}

// narrowed takes errors off the socket's queue up to the first that is a Narrow, nil
// where none is. That a host does not answer is for NHRP to find out.
func (c *Conn) narrowed(fd uintptr) *Narrow {
	for {
		var h Hint
		hint, taken := c.errors.take(fd, c.errors.quotes[:quoteSize], &h)
		if !taken {
			return nil
		}
		if !hint || h.Err != unix.EMSGSIZE {
			continue
		}
		if gre, _, reason := ParseGRE(h.Quote); reason == tables.DropNone {
			return &Narrow{Header: gre, To: h.Remote.Addr(), From: h.From, MTU: h.MTU}
		}
	}
}
