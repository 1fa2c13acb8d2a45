// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"testing"
)

// FuzzEvent: an event is read within its record.
func FuzzEvent(f *testing.F) {
	whole := binary.NativeEndian.AppendUint32(nil, uint32(EventMiss))
	whole = binary.NativeEndian.AppendUint32(whole, 7)
	whole = binary.NativeEndian.AppendUint32(whole, 3)
	whole = binary.NativeEndian.AppendUint32(whole, 4)
	whole = append(whole, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9, 'd', 'a', 't', 'a')
	f.Add(whole)
	f.Add(whole[:35])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEvent(b)
		if ok != (len(b) >= eventHeader && uint64(binary.NativeEndian.Uint32(b[12:])) <= uint64(len(b)-eventHeader)) {
			t.Fatalf("%d octets: %v", len(b), ok)
		}
		if ok && (len(e.Packet) != int(binary.NativeEndian.Uint32(b[12:])) || e.Kind.String() == "" || e.Address.Is4In6()) {
			t.Fatalf("read as %+v", e)
		}
	})
}
