// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"encoding/binary"
	"slices"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/wire"
)

// mutate bends octets in one to four places, without a thought of what they mean.
func mutate(d *pair.Dice, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + d.Below(4) {
		if len(b) == 0 {
			return append(b, byte(d.Uint64()))
		}
		at := d.Below(len(b))
		switch d.Below(9) {
		case 0, 1, 2:
			b[at] ^= 1 << d.Below(8)
		case 3:
			b[at] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(d.Uint64())}[d.Below(6)]
		case 4:
			if at+2 <= len(b) { // perhaps a length
				binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+uint16(d.Below(17)-8))
			}
		case 5:
			b = slices.Delete(b, at, min(len(b), at+1+d.Below(8)))
		case 6:
			more := make([]byte, 1+d.Below(8))
			_, _ = d.Read(more)
			b = slices.Insert(b, at, more...)
		case 7:
			b = slices.Insert(b, at, b[at:min(len(b), at+d.Below(64))]...)
		case 8:
			b = b[:at]
		}
	}
	return b
}

// lengths makes the length in the header that of the datagram: else nothing gets further.
func lengths(b []byte) []byte {
	if len(b) >= wire.HeaderSize {
		binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	}
	return b
}

// rearrange leaves payloads as they are but for one, and takes some away, doubles them or
// changes their order. other has payloads to be mixed in.
func rearrange(d *pair.Dice, payloads, other []wire.Payload) (first wire.PayloadType, text []byte) {
	all := slices.Clone(payloads)
	for range 1 + d.Below(3) {
		if len(all) == 0 {
			break
		}
		at := d.Below(len(all))
		switch d.Below(5) {
		case 0:
			all = slices.Delete(all, at, at+1)
		case 1:
			all = slices.Insert(all, at, all[d.Below(len(all))])
		case 2:
			to := d.Below(len(all))
			all[at], all[to] = all[to], all[at]
		case 3:
			all = slices.Insert(all, at, other[d.Below(len(other))])
		case 4:
			one := must(wire.AppendInner(nil, all[at:at+1]))
			all[at] = &wire.Unknown{Kind: all[at].PayloadType(), Body: mutate(d, one[4:])}
		}
	}
	return wire.First(all), must(wire.AppendInner(nil, all))
}
