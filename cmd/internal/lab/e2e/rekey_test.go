// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

const (
	rekeysEach = 20 // of the Child SA, and of the IKE SA
	rekeysTime = time.Minute
)

// TestRekeysLoseNothing: rekeys of Child and IKE SAs, by both ends in turns, under numbered UDP
// and TCP at half the rate that it has by itself.
func TestRekeysLoseNothing(t *testing.T) {
	raw := []string{`encapsulation = "raw"`, `mode = "tunnel"`}
	for _, c := range []struct {
		name  string
		lines []string
		most  float64 // bits a second; 0: what there is
		watch func(*cloud.Cloud) (*cloud.Outside, error)
	}{
		{"in UDP", nil, 0, (*cloud.Cloud).OutsideFast},
		{"raw, tunnel mode", raw, 0, (*cloud.Cloud).OutsideFast},
		{"each IV looked at", nil, 100e6, (*cloud.Cloud).Outside},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := build(t, cloud.Options{Spokes: 1, Protected: true, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].IPsec.Lines = c.lines }})
			outside, err := c.watch(n)
			check(t, err)
			watched(t, outside)
			check(t, n.StartAll(t.Context()))
			until(t, n, patience, func() error { return n.AllRegistered(t.Context()) })
			rekeysLoseNothing(t, n, c.most)
		})
	}
}

func rekeysLoseNothing(t *testing.T, c *cloud.Cloud, most float64) {
	full := fullRate(t, c, most)
	pace := full / 2
	tcp, err := c.HubHost.Bulk(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4002), pace)
	check(t, err)
	to, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 1000, 200)
	check(t, err)
	from, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 1000, 200)
	check(t, err)
	time.Sleep(2 * time.Second)
	calm, err := tcp.Lap() // how long this machine lets it wait without any rekey
	check(t, err)
	drops := map[string]map[string]uint64{"hub": dropped(t, c, "hub"), "spoke1": dropped(t, c, "spoke1")}
	began := time.Now()
	for round := range 2 * rekeysEach {
		node, peer := "hub", "spoke1.example.net"
		if round%2 == 1 {
			node, peer = "spoke1", "hub.example.net"
		}
		rekey(t, c, node, peer, round%4 < 2)
		time.Sleep(100 * time.Millisecond) // packets come by each of them
	}
	took := time.Since(began)
	got, err := tcp.Stop()
	check(t, err)
	beside := from.Stop()
	spotless(t, fmt.Sprintf("numbered UDP under %d rekeys in %v, from the hub", 2*rekeysEach, took.Round(time.Millisecond)), beside)
	spotless(t, "to the hub", to.Stop())
	if took > rekeysTime {
		t.Errorf("%d rekeys of each kind took %v", rekeysEach, took)
	}
	after := fullRate(t, c, most) // the machine may have become a slower one
	t.Logf("TCP by itself: %.0f Mbit/s before, %.0f after; at half of the first: %v; without rekeys: %v", full/1e6, after/1e6, got, calm)
	if want := 0.9 * min(pace, after/2, calm.Rate()); got.Rate() < want {
		t.Errorf("TCP had %v, want %.0f", got, want/1e6)
	}
	// A busy machine may let all wait; what has lost a packet waits alone.
	if most := 200*time.Millisecond + beside.Gap; got.Longest > most || beside.Gap > time.Second {
		t.Errorf("TCP stood still: %v, the longest gap of UDP beside it %v", got, beside.Gap)
	}
	for node, before := range drops {
		if now := dropped(t, c, node); !maps.Equal(before, now) {
			t.Errorf("%s has dropped %v, before the rekeys %v", node, now, before)
		}
	}
}

// fullRate is what TCP has by itself, bits a second; up to most, if that is not 0.
func fullRate(t *testing.T, c *cloud.Cloud, most float64) float64 {
	t.Helper()
	b, err := c.HubHost.Bulk(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4001), most)
	check(t, err)
	time.Sleep(2 * time.Second)
	r, err := b.Stop()
	check(t, err)
	if r.Octets == 0 {
		t.Fatal("TCP carries nothing")
	}
	return r.Rate()
}

// rekey makes a node rekey its SA with a peer, and waits until the SPIs are others.
func rekey(t *testing.T, c *cloud.Cloud, node, peer string, child bool) {
	t.Helper()
	ctx, args := t.Context(), []string{"ike", "rekey", peer}
	if child {
		args = append(args, "--child")
	}
	before, err := spis(ctx, c, node, child)
	check(t, err)
	_, err = c.Dmvpn(ctx, node, args...)
	check(t, err)
	until(t, c, patience, func() error {
		now, err := spis(ctx, c, node, child)
		if err == nil && now == before {
			err = fmt.Errorf("%v at %s has not changed %s", args, node, now)
		}
		return err
	})
}

// spis gives the SPIs in use between two ends, of the IKE SA or of the Child SA; an error
// where there is not one of each.
func spis(ctx context.Context, c *cloud.Cloud, node string, child bool) (text string, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		all, err := client.IKE(ctx)
		if err != nil {
			return err
		}
		err = errors.New("no IKE SA with one Child SA is in use")
		for _, s := range all.SAs {
			if s.State == control.IKEEstablished && len(s.Children) == 1 {
				if text, err = s.SPIi+" "+s.SPIr, nil; child {
					text = s.Children[0].Inbound + " " + s.Children[0].Outbound
				}
			}
		}
		return err
	})
	return text, err
}

// TestUseMakesKeysAnew: octets or packets, of both ways together, bring about the next keys while
// traffic goes on.
func TestUseMakesKeysAnew(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"octets": "child-bytes = 1048576", "packets": "child-packets = 10000"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const keys = 3
			c := guarded(t, cloud.Options{Spokes: 1, Settings: func(node string, s *cloud.Settings) {
				if node == "spoke1" { // one end alone counts
					s.Tunnels[0].IPsec.Lines = []string{line}
				}
			}})
			there, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 1000, 200)
			check(t, err)
			back, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 1000, 200)
			check(t, err)
			seen := map[string]bool{}
			until(t, c, 3*patience, func() error {
				now, err := spis(t.Context(), c, "spoke1", true)
				if err != nil {
					return err
				}
				if seen[now] = true; len(seen) <= keys {
					return fmt.Errorf("%d keys so far", len(seen))
				}
				return nil
			})
			a, b := there.Stop(), back.Stop()
			t.Logf("there %v, back %v", a, b)
			// A busy machine may come to the hard limit before the next keys stand.
			for _, r := range []lab.Report{a, b} {
				if r.Duplicated > 0 || r.Lost() > r.Sent/20 {
					t.Errorf("under the changes of keys: %v", r)
				}
			}
		})
	}
}
