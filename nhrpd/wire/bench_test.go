// SPDX-License-Identifier: Apache-2.0

package wire

import "testing"

func BenchmarkDecode(b *testing.B) {
	octets := marshal(b, registration(b))
	b.SetBytes(int64(len(octets)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(octets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p := registration(b)
	out := make([]byte, 0, p.Size())
	b.SetBytes(int64(p.Size()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Append(out); err != nil {
			b.Fatal(err)
		}
	}
}

// To decode costs the packet, its entries and its extensions; to encode into a
// buffer that is large enough costs nothing.
func TestAllocations(t *testing.T) {
	p := registration(t)
	octets := marshal(t, p)
	if n := testing.AllocsPerRun(100, func() { _, _ = Decode(octets) }); n > 3 {
		t.Errorf("Decode allocates %v times", n)
	}
	out := make([]byte, 0, p.Size())
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Append(out) }); n > 0 {
		t.Errorf("Append allocates %v times", n)
	}
}
