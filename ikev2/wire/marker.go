// SPDX-License-Identifier: Apache-2.0

package wire

// NonESPMarker stands in front of an IKE message on port 4500 (RFC 3948,
// section 2.2).
var NonESPMarker = [4]byte{}

// Encapsulation is what a datagram on port 4500 holds.
type Encapsulation int

// The four answers of Classify.
const (
	Garbage   Encapsulation = iota // drop and count
	IKE                            // an IKE message behind the marker
	ESP                            // an ESP packet
	Keepalive                      // one octet FF: no proof of life (RFC 3948, section 4)
)

// Classify tells what a datagram received on port 4500 is, and gives it without
// its marker (RFC 3948, section 2; RFC 7296, section 2.23).
func Classify(b []byte) (Encapsulation, []byte) {
	switch {
	case len(b) == 1 && b[0] == 0xFF:
		return Keepalive, b
	case len(b) < len(NonESPMarker):
		return Garbage, nil
	case [4]byte(b) == NonESPMarker:
		return IKE, b[len(NonESPMarker):]
	case len(b) < 8:
		// An SPI without a sequence number is no ESP packet.
		return Garbage, nil
	}
	return ESP, b
}
