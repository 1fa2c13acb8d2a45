// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"runtime"
	"testing"
	"time"

	"dmvpn/ikev2/iketest/pair"
)

// heap is what is reachable, in octets.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAnEstablishedSATakesAtMost16KiB, with its Child SA, its peer, its timer and the
// response that it keeps, and with what the model of a data plane notes of it.
func TestAnEstablishedSATakesAtMost16KiB(t *testing.T) {
	const peers = 300
	for _, c := range policies {
		p := pair.New(1, c.policy)
		crowd(t, p, 0, 1) // what is made once
		before := heap()
		crowd(t, p, 1, peers)
		fresh := (heap() - before) / peers
		// Past every retransmission and half-open time.
		for range 5 {
			p.Now = p.Now.Add(5 * time.Second)
			p.Input(1, elapsed)
		}
		kept := (heap() - before) / peers
		t.Logf("%s: %d octets, %d after a while", c.name, fresh, kept)
		if fresh > 16<<10 || kept > 16<<10 {
			t.Errorf("%s: %d octets, %d after a while", c.name, fresh, kept)
		}
		runtime.KeepAlive(p)
	}
}
