// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// Every daemon stays dead for so long.
const deadTime = 30 * time.Second

// flow is numbered UDP and a TCP connection between the same two hosts.
type flow struct {
	what   string
	stream *lab.Stream
	talk   *lab.Talk
}

func startFlow(t *testing.T, c *cloud.Cloud, what string, from, to, port int) flow {
	t.Helper()
	f := flow{what: what}
	var err error
	sender, receiver := c.Hosts[from-1], c.Hosts[to-1]
	f.stream, err = sender.Stream(receiver, netip.AddrPortFrom(cloud.Host(to), uint16(port)), 1000, 200)
	check(t, err)
	f.talk, err = sender.Talk(receiver, netip.AddrPortFrom(cloud.Host(to), uint16(port)))
	check(t, err)
	return f
}

func (f flow) stop(t *testing.T) {
	t.Helper()
	spotless(t, f.what, f.stream.Stop())
	r := f.talk.Stop()
	t.Logf("%s, TCP: %d blocks, longest wait %v, %d retransmissions", f.what, r.Blocks, r.Longest, r.Retransmissions)
	if r.Err != nil || r.Retransmissions > 0 || r.Blocks < 1000 {
		t.Errorf("%s, TCP: %+v", f.what, r)
	}
}

// TestKilledDaemonsLoseNothing: the daemons of the hub and of all spokes are
// killed, stay dead for 30 s and are started again, under numbered UDP and TCP.
//
//	host1 → spoke1 ═══════════ spoke2 → host2    on a shortcut
//	host3 → spoke3 ═══ hub ═══ spoke1 → host1    spoke3 takes no shortcuts
func TestKilledDaemonsLoseNothing(t *testing.T) {
	no := false
	c := up(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke3" {
			s.Tunnels[0].Shortcut = &no
		}
	}})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	nodes := []string{"hub", "spoke1", "spoke2", "spoke3"}
	carriers, peers := map[string]int{}, map[string][]string{}
	for _, node := range nodes {
		var err error
		carriers[node], err = c.Get(node).CarrierLosses(ctx, cloud.Device)
		check(t, err)
		peers[node] = c.PeerNames(t.Context(), node)
		if len(peers[node]) == 0 {
			t.Fatalf("%s has no peers", node)
		}
	}
	flows := []flow{startFlow(t, c, "on the shortcut", 1, 2, 4000), startFlow(t, c, "by the hub", 3, 1, 4100)}
	time.Sleep(time.Second)
	for _, node := range nodes {
		check(t, c.Kill(ctx, node))
	}
	time.Sleep(deadTime)
	for i, f := range flows {
		if r := f.stream.Snapshot(); r.Lost() > 20 { // a few are on their way
			t.Errorf("flow %d with dead daemons: %v", i, r)
		}
	}
	for _, node := range nodes {
		check(t, c.Start(node))
	}
	for _, node := range nodes {
		check(t, c.Ready(ctx, node))
		if now := c.PeerNames(t.Context(), node); !slices.Equal(now, peers[node]) {
			t.Errorf("%s had peers %v, and after the restart %v", node, peers[node], now)
		}
	}
	until(t, c, 15*time.Second, func() error { return c.AllRegistered(ctx) })
	check(t, c.Direct(ctx, "spoke1", cloud.Network(2)))
	time.Sleep(3 * time.Second)
	for _, f := range flows {
		f.stop(t)
	}
	for _, node := range nodes {
		losses, err := c.Get(node).CarrierLosses(ctx, cloud.Device)
		check(t, err)
		if losses != carriers[node] {
			t.Errorf("%s: the tunnel lost its carrier %d times", node, losses-carriers[node])
		}
	}
}
