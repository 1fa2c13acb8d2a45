// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// queuesOf gives what the workers of a node's tunnel have carried.
func queuesOf(t *testing.T, c *cloud.Cloud, node string) []control.Queue {
	t.Helper()
	tunnel, err := c.Tunnel(t.Context(), node, cloud.Device)
	check(t, err)
	return tunnel.Queues
}

// TestTwoSpokesHaveAWorkerEach: packets from each of two spokes to the other, by the hub, where
// two workers open and two seal them, at the same time; with the smallest replay window.
//
//	host1 → spoke1 ═══╗            ╔═══ worker of spoke1 ──╗
//	                  ╠═══ hub: ═══╣                       ╠═══ hub ═══ to the other one
//	host2 → spoke2 ═══╝            ╚═══ worker of spoke2 ──╝
func TestTwoSpokesHaveAWorkerEach(t *testing.T) {
	t.Parallel()
	no := false
	c := guarded(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) {
		s.Queues = 2
		s.Tunnels[0].Shortcut, s.Tunnels[0].Redirect = &no, &no
		s.Tunnels[0].IPsec.Lines = append(s.Tunnels[0].IPsec.Lines, "replay-window = 64")
	}})
	ping(t, c.Hosts[0], 2)
	ping(t, c.Hosts[1], 1)
	before := queuesOf(t, c, "hub")
	if len(before) != 2 {
		t.Fatalf("queues %+v", before)
	}
	var streams []*lab.Stream
	for from, to := range map[int]int{1: 2, 2: 1} {
		s, err := c.Hosts[from-1].Stream(c.Hosts[to-1], netip.AddrPortFrom(cloud.Host(to), 4000), 2000, 200)
		check(t, err)
		streams = append(streams, s)
	}
	const enough = 5000 // of each stream
	until(t, c, 2*patience, func() error {
		for _, s := range streams {
			if n := s.Received(); n < enough {
				return fmt.Errorf("%d packets so far", n)
			}
		}
		return nil
	})
	for _, s := range streams {
		r := s.Stop()
		spotless(t, "between the spokes", r)
		// A sender that changes its CPU may be overtaken on its own wire.
		if r.Reordered > r.Sent/1000 {
			t.Errorf("the flow lost its order: %v", r)
		}
	}
	for n, now := range queuesOf(t, c, "hub") {
		// GSO packets count as one.
		if sent, received := now.Sent-before[n].Sent, now.Received-before[n].Received; sent < enough/64 || received < enough/64 {
			t.Errorf("worker %d of the hub has sent %d packets and received %d", n, sent, received)
		}
	}
	for _, node := range []string{"hub", "spoke1", "spoke2"} {
		if d := dropped(t, c, node); d["replay"] > 0 {
			t.Errorf("%s: %v", node, d)
		}
	}
}

// TestQueuesAreKept: the hub's daemon is killed under traffic from its LAN to both spokes, and
// comes back with as many queues, with more, and with less. What waited for it in the device waits
// for the SAs, too; nothing of it is lost, and flows keep their order. The carrier stays.
func TestQueuesAreKept(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) { s.Queues = 2 }})
	ctx := t.Context()
	var streams []*lab.Stream
	for to := 1; to <= 2; to++ {
		ping(t, c.HubHost, to)
		s, err := c.HubHost.Stream(c.Hosts[to-1], netip.AddrPortFrom(cloud.Host(to), 4000), 500, 200)
		check(t, err)
		streams = append(streams, s)
	}
	carrier, err := c.Hub.CarrierLosses(ctx, cloud.Device)
	check(t, err)
	homeless := uint64(0)
	for _, queues := range []int{2, 4, 1, 2} {
		received := []uint64{streams[0].Received(), streams[1].Received()}
		until(t, c, patience, func() error { return saved(c, "hub", cloud.TunnelAddress(1), cloud.TunnelAddress(2)) })
		check(t, c.Kill(ctx, "hub"))
		c.Settings("hub").Queues = queues
		time.Sleep(time.Second)
		check(t, c.Start("hub"))
		check(t, c.Ready(ctx, "hub"))
		until(t, c, patience, func() error {
			for i, s := range streams {
				if s.Received() < received[i]+1000 {
					return fmt.Errorf("%d queues: to spoke%d: %v", queues, i+1, s.Snapshot())
				}
			}
			if got := queuesOf(t, c, "hub"); len(got) != queues {
				return fmt.Errorf("queues %+v, want %d", got, queues)
			}
			return nil
		})
		if now, err := c.Hub.CarrierLosses(ctx, cloud.Device); err != nil || now != carrier {
			t.Errorf("%d queues: the carrier was lost: %d times, before %d, %v", queues, now, carrier, err)
		}
		// New packets have no way for a moment, until the SA stands: those did not wait.
		drops := dropped(t, c, "hub")
		homeless += drops["no-nexthop"]
		if delete(drops, "no-nexthop"); len(drops) > 0 {
			t.Errorf("%d queues: the hub has dropped %v", queues, drops)
		}
		before := queuesOf(t, c, "hub")
		until(t, c, patience, func() error {
			used := 0
			for n, now := range queuesOf(t, c, "hub") {
				if now.Sent > before[n].Sent {
					used++
				}
			}
			if want := min(queues, 2); used != want { // two peers
				return fmt.Errorf("of %d queues %d are used, want %d", queues, used, want)
			}
			return nil
		})
	}
	lost := uint64(0)
	for i, s := range streams {
		r := s.Stop()
		t.Logf("to spoke%d: %v", i+1, r)
		lost += r.Lost()
		if r.Duplicated > 0 || r.Reordered > r.Sent/1000 {
			t.Errorf("to spoke%d: %v", i+1, r)
		}
	}
	if lost != homeless {
		t.Errorf("%d packets are lost, of which %d did not wait for the daemon", lost, homeless)
	}
}
