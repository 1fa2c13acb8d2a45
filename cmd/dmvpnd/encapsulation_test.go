// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"dmvpn/ikev2/wire"
	"dmvpn/loader/underlay"
)

// TestTheSocketSortsDatagramsAsIKEDoes: loader and ikev2 do not know each other,
// and must agree on what a datagram on port 4500 is.
func TestTheSocketSortsDatagramsAsIKEDoes(t *testing.T) {
	kinds := map[wire.Encapsulation]underlay.Kind{wire.Garbage: underlay.Garbage, wire.IKE: underlay.IKE, wire.ESP: underlay.ESP, wire.Keepalive: underlay.Keepalive}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[underlay.Kind]int{}
	for range 100000 {
		b := make([]byte, random.IntN(12))
		for i := range b {
			b[i] = []byte{0, 0, 0, 0, 0xFF, 1}[random.IntN(6)]
		}
		want, inside := wire.Classify(b)
		got, data := underlay.Classify(b)
		if got != kinds[want] || !bytes.Equal(data, inside) {
			t.Fatalf("%x: IKE says %d, %x; the socket %d, %x", b, want, inside, got, data)
		}
		seen[got]++
	}
	for _, kind := range kinds {
		if seen[kind] < 100 {
			t.Errorf("kind %d came %d times", kind, seen[kind])
		}
	}
}
