// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"testing"

	"dmvpn/ikev2/wire"
)

// FuzzFragments: fragments of the peer's own message, cut, numbered, counted, repeated and
// mixed in any way, each well sealed. The machine keeps no more than its bounds allow,
// stays whole, and takes the message when it comes in order after all. Six octets are
// one fragment: number, total, first payload, and where in the message it begins and ends;
// the number's top bit makes it one of the message after.
func FuzzFragments(f *testing.F) {
	piece := func(number, total, first byte, from, to uint16) []byte {
		b := []byte{number, total, first}
		b = binary.BigEndian.AppendUint16(b, from)
		return append(b, byte(to-from))
	}
	for i, o := range moments() {
		n := uint16(len(o.text))
		half := min(n/2, 255)
		f.Add(uint8(i), append(piece(1, 2, byte(o.first), 0, half), piece(2, 2, 0, half, n)...))
		f.Add(uint8(i), append(piece(2, 3, 0, 0, half), piece(1, 2, byte(o.first), 0, half)...))
		f.Add(uint8(i), append(piece(0x81, 2, byte(o.first), 0, half), piece(2, 32, 0, half, n)...))
	}
	f.Fuzz(func(t *testing.T, at uint8, cuts []byte) {
		o := moments()[int(at)%len(moments())]
		e := o.end(t)
		keys := o.keys(e)
		in := o.datagrams[0]
		for n := 0; len(cuts) >= 6 && n < 100; n++ {
			h := o.header
			if cuts[0]&0x80 != 0 {
				h.MessageID++
			}
			from := min(int(binary.BigEndian.Uint16(cuts[3:])), len(o.text))
			to := min(from+int(cuts[5])*16, len(o.text))
			in.Data = seal(keys, h, wire.PayloadType(cuts[2]), o.text[from:to], uint16(cuts[0]&0x7f), uint16(cuts[1]))
			e.input(&in)
			cuts = cuts[6:]
			if keys = o.keys(e); keys == nil {
				break // what they made was fatal
			}
			// A machine wipes keys that it gives up: these are another's.
		}
		e.reimport()
		o.deliver(e)
		e.desert()
	})
}
