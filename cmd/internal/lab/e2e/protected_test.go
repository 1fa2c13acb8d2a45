// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// guarded is protected with every daemon started and every spoke registered.
func guarded(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	c := protected(t, o)
	check(t, c.StartAll(t.Context()))
	until(t, c, patience, func() error { return c.AllRegistered(t.Context()) })
	return c
}

// protected watches every underlay wire of a cloud under IPsec from before the first
// daemon starts until the test ends: IKE and ESP alone may be there, and no IV twice.
func protected(t *testing.T, o cloud.Options) *cloud.Cloud {
	t.Helper()
	o.Protected = true
	c := build(t, o)
	outside, err := c.Outside()
	check(t, err)
	watched(t, outside)
	return c
}

// watched ends with the test, and fails it for what should not have been outside.
func watched(t *testing.T, outside *cloud.Outside) {
	t.Cleanup(func() {
		sight, err := outside.Close()
		t.Logf("outside: %v; %d sealed", sight, sight.Sealed)
		if err != nil {
			t.Errorf("outside: %v", err)
		}
	})
}

// isESP says whether a frame is ESP in UDP with a packet in it.
func isESP(f lab.Frame) bool {
	const least = 14 + 40 + 8 + 8 + 180
	return len(f.Data) >= least && lab.IsESPInUDP(f.Data)
}

// TestTheWayGetsShorterEncrypted: phase 3 under IPsec. The stream that runs meanwhile
// loses nothing: it goes by the hub until the direct SA stands.
func TestTheWayGetsShorterEncrypted(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 3})
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
	check(t, err)
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
	notByTheHub(t, c, isESP)
	spotless(t, "while the way changed", stream.Stop())
}

// TestNothingGoesInClearWithoutAPeer: no SA, no packet, and no way round by the default
// route.
func TestNothingGoesInClearWithoutAPeer(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	ping(t, c.Hosts[0], 0)
	check(t, c.Kill(ctx, "hub"))
	for range 20 {
		_, _ = c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond) // it need not arrive, but must not be seen
	}
	check(t, c.Teardown(ctx, "spoke1"))
	for range 20 {
		if _, err := c.Hosts[0].Ping(cloud.Host(0), 0, 50*time.Millisecond); err == nil {
			t.Error("a packet came through without a tunnel")
		}
	}
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
}

// saved is nil when a node's daemon has these addresses and prefixes in its state on the disk: what
// is not there is forgotten by a crash.
func saved[T fmt.Stringer](c *cloud.Cloud, node string, known ...T) error {
	state, err := os.ReadFile(filepath.Join(c.Get(node).Dir, "run", "default", "state.json"))
	for _, a := range known {
		if err == nil && !strings.Contains(string(state), strconv.Quote(a.String())) {
			err = fmt.Errorf("%s: the saved state lacks %v", node, a)
		}
	}
	return err
}
