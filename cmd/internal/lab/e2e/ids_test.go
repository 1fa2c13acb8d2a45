// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestRequestIDsGrowAcrossRestarts is RG-13 on the wire: whatever ends the daemon, no request after it
// has an id that is not beyond those before (RFC 2332, section 5.2.3).
func TestRequestIDsGrowAcrossRestarts(t *testing.T) { // RG-13
	t.Parallel()
	var mu sync.Mutex
	var ids []uint32 // of the spoke's registrations, resolutions and purges, as they were sent
	seen := func() []uint32 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
	c := up(t, cloud.Options{Spokes: 1, Wire: func(node string, w *lab.Wire) {
		if node != "spoke1" {
			return
		}
		w.Inspect = func(frame []byte) {
			nhrp := nhrpFrom(frame, cloud.NBMA(1))
			if nhrp == nil || !slices.Contains([]byte{1, 3, 5}, nhrp[17]) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, binary.BigEndian.Uint32(nhrp[24:]))
		}
	}})
	ctx := t.Context()
	nobody := 100
	asks := func() { // for an address that nobody has
		nobody++
		had := len(seen())
		until(t, c, patience, func() error {
			_, _ = c.Spokes[0].Ping(cloud.TunnelAddress(nobody), 0, 50*time.Millisecond) // nobody answers
			if len(seen()) == had {
				return fmt.Errorf("spoke1 has sent %d requests, and none for %v", had, cloud.TunnelAddress(nobody))
			}
			return nil
		})
	}
	asks()
	for _, x := range []struct {
		how string
		end func(context.Context, string) error
	}{{"a crash", c.Kill}, {"a stop", c.Stop}, {"another crash", c.Kill}} {
		asks() // the last one before it may not be on the disk yet
		check(t, x.end(ctx, "spoke1"))
		before := seen()
		check(t, c.Start("spoke1"))
		check(t, c.Ready(ctx, "spoke1"))
		asks()
		for _, id := range seen()[len(before):] {
			for _, old := range before {
				if int32(id-old) <= 0 {
					t.Errorf("after %s: %d, and there was %d before", x.how, id, old)
				}
			}
		}
	}
	t.Log(seen())
}
