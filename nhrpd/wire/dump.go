// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"strings"
)

// Dump is the packet over several lines, field by field in the order of the
// wire; each line ends with a newline. Authentication data is never shown.
func (p Packet) Dump() string {
	var b strings.Builder
	line := func(depth int, format string, args ...any) {
		b.WriteString(strings.Repeat("  ", depth))
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
	}
	line(0, "NHRP %v, %d octets", p.Type, p.Size())
	line(1, "address family %d, protocol type 0x%04x, hop count %d", p.AddressFamily, p.ProtocolType, p.HopCount)
	if p.SNAP != [5]byte{} {
		line(1, "SNAP %x", p.SNAP)
	}
	switch {
	case !p.Type.Indication():
		line(1, "request id %d, flags 0x%04x (%s)", p.RequestID, p.Flags, FlagNames(p.Type, p.Flags))
	case p.Type == ErrorIndication || p.ErrorCode != 0 || p.ErrorOffset != 0:
		line(1, "code %d (%v), offset %d", uint16(p.ErrorCode), p.ErrorCode, p.ErrorOffset)
	}
	line(1, "source NBMA address %v", show(p.SourceNBMA))
	if len(p.SourceSubaddress) > 0 {
		line(1, "source subaddress %x", p.SourceSubaddress)
	}
	line(1, "source protocol address %v", show(p.SourceProtocol))
	line(1, "destination protocol address %v", show(p.DestinationProtocol))
	for i := range p.CIEs {
		line(1, "client %v", p.CIEs[i])
	}
	if p.Type.Indication() {
		line(1, "contents %d octets: %s", len(p.Contents), about(p.Type, p.Contents))
	}
	for i := range p.Extensions {
		line(1, "%s", p.describe(&p.Extensions[i]))
	}
	if len(p.Trailer) > 0 {
		line(1, "%d octets after the end mark", len(p.Trailer))
	}
	return b.String()
}
