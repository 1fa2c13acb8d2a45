// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// A thief takes the first so many frames off a wire that are of a kind, from when it is told to, and
// notes how long these and those behind them are.
type thief struct {
	kind func(frame []byte) bool

	mu      sync.Mutex
	left    int
	watches bool
	stolen  []int
	passed  []int
	since   []time.Duration // of each, from the first
	first   time.Time
}

func (x *thief) begin(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left, x.watches = n, true
}

func (x *thief) steals(frame []byte) bool {
	if !x.kind(frame) {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.watches {
		return false
	}
	if x.first.IsZero() {
		x.first = time.Now()
	}
	x.since = append(x.since, time.Since(x.first))
	if x.left == 0 {
		x.passed = append(x.passed, len(frame))
		return false
	}
	x.left--
	x.stolen = append(x.stolen, len(frame))
	return true
}

// purges says what a spoke's purges are among the frames of its wire; encrypted they are all ESP
// that it sends, as it neither probes nor carries anything.
func (m mode) purges(from netip.Addr) func(frame []byte) bool {
	return func(frame []byte) bool {
		if m.encrypted {
			return lab.IsESPInUDP(frame) && netip.AddrFrom4([4]byte(frame[14+12:])) == from
		}
		nhrp := nhrpFrom(frame, from)
		return nhrp != nil && nhrp[17] == 5
	}
}

// nhrpFrom gives the NHRP that a frame on an underlay wire of IPv4 carries in clear, if an address
// has sent it: the fixed header and what is before the addresses at least; else nil.
func nhrpFrom(frame []byte, from netip.Addr) []byte {
	const ip, gre, least = 14, 14 + 20, 28
	if _, _, ok := lab.GRE(frame); !ok || len(frame) < gre+8+least || netip.AddrFrom4([4]byte(frame[ip+12:])) != from ||
		frame[gre+2] != 0x20 || frame[gre+3] != 0x01 {
		return nil
	}
	if frame[gre]&0x20 != 0 { // a key
		return frame[gre+8:]
	}
	return frame[gre+4:]
}

// leaving is a cloud of one spoke, from whose wire purges may be taken.
func leaving(t *testing.T, m mode) (*cloud.Cloud, *thief) {
	x := &thief{kind: m.purges(cloud.NBMA(1))}
	return m.up(t, cloud.Options{Spokes: 1,
		Wire: func(node string, w *lab.Wire) {
			if node == "spoke1" {
				w.Lose = x.steals
			}
		},
		Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `probe = "never"`) },
	}), x
}

// TestWhoLeavesIsHeard: the first purge of a teardown is lost. The next one is answered before
// the daemon ends, and the hub has nothing of the spoke any more.
//
//	host1 → spoke1 ─ ✂ ─ hub
func TestWhoLeavesIsHeard(t *testing.T) { modes(t, whoLeavesIsHeard) } // RG-19

func whoLeavesIsHeard(t *testing.T, m mode) {
	c, x := leaving(t, m)
	ctx := t.Context()
	check(t, has(ctx, c, "hub", cloud.TunnelAddress(1)))
	x.begin(1)
	check(t, c.Teardown(ctx, "spoke1"))
	until(t, c, patience, func() error { // at once, but on a busy machine
		if has(ctx, c, "hub", cloud.TunnelAddress(1)) == nil {
			return errors.New("the hub still has spoke1's registration")
		}
		if c.Routed("hub", cloud.Network(1)) == nil {
			return errors.New("the hub still has the route to spoke1's network")
		}
		return nil
	})
	if came(t, c, "hub", "purge-request") == 0 {
		t.Error("the hub has heard no purge")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t.Logf("lost %v, passed %v octets, at %v", x.stolen, x.passed, x.since)
	if sizes := slices.Compact(slices.Concat(x.stolen, x.passed)); len(x.stolen) != 1 || len(x.passed) == 0 || len(sizes) != 1 {
		t.Errorf("lost %v, passed %v octets: not the same purge again", x.stolen, x.passed)
	}
}

// TestWhoLeavesADeadHubEnds: nobody answers. It is tried for a second, and the end is there all the
// same.
func TestWhoLeavesADeadHubEnds(t *testing.T) { modes(t, whoLeavesADeadHubEnds) }

func whoLeavesADeadHubEnds(t *testing.T, m mode) {
	c, x := leaving(t, m)
	x.begin(1000)
	begin := time.Now()
	check(t, c.Teardown(t.Context(), "spoke1"))
	took := time.Since(begin)
	x.mu.Lock()
	defer x.mu.Unlock()
	t.Logf("lost %v octets at %v; it took %v", x.stolen, x.since, took)
	if len(x.stolen) < 2 || took < time.Second { // a busy machine may not come to the third
		t.Errorf("%d purges in %v, want 3 in a second or more", len(x.stolen), took)
	}
	check(t, has(t.Context(), c, "hub", cloud.TunnelAddress(1)))
}

// has is nil when a node's daemon has an address of the overlay registered.
func has(ctx context.Context, c *cloud.Cloud, node string, protocol netip.Addr) error {
	return c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		entries, err := client.NHRP(ctx)
		if err != nil {
			return err
		}
		own := netip.PrefixFrom(protocol, protocol.BitLen())
		if !slices.ContainsFunc(entries, func(e control.Entry) bool { return e.Prefix == own && slices.Contains(e.Flags, control.FlagRegistered) }) {
			return fmt.Errorf("%s: %v is not registered: %+v", node, protocol, entries)
		}
		return nil
	})
}
