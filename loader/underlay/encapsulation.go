// SPDX-License-Identifier: Apache-2.0

package underlay

// NonESPMarker stands in front of an IKE message on port 4500 (RFC 3948,
// section 2.2).
var NonESPMarker = [4]byte{}

// Kind is what a datagram holds.
type Kind uint8

// The four answers of Classify.
const (
	Garbage   Kind = iota // dropped and counted
	IKE                   // an IKE message
	ESP                   // an ESP packet
	Keepalive             // one octet FF: dropped and counted (RFC 3948, section 4)
)

// Classify tells what a datagram on port 4500 is, and gives it without the
// non-ESP marker (RFC 3948, section 2; RFC 7296, section 2.23). ESP has an SPI
// that is not 0 and a sequence number.
func Classify(b []byte) (Kind, []byte) {
	switch {
	case len(b) == 1 && b[0] == 0xFF:
		return Keepalive, b
	case len(b) < len(NonESPMarker):
		return Garbage, nil
	case [4]byte(b) == NonESPMarker:
		return IKE, b[len(NonESPMarker):]
	case len(b) < 8:
		return Garbage, nil
	}
	return ESP, b
}
