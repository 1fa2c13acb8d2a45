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

func isRawESP(f lab.Frame) bool   { return lab.IsRawESP(f.Data) }
func isESPInUDP(f lab.Frame) bool { return lab.IsESPInUDP(f.Data) }

// without fails the test if such frames cross an underlay wire before it ends.
func without(t *testing.T, c *cloud.Cloud, what string, is func(lab.Frame) bool) {
	t.Helper()
	for _, n := range slices.Concat([]*lab.Node{c.Hub}, c.Spokes) {
		capture, err := n.Capture(cloud.Underlay, is)
		check(t, err)
		t.Cleanup(func() {
			if frames := capture.Close(); len(frames) > 0 {
				t.Errorf("%s: %d frames of %s, the first % x", n.Name, len(frames), what, frames[0].Data[:min(64, len(frames[0].Data))])
			}
		})
	}
}

// nearlySpotless is spotless, but for a few packets in the second of the switch.
func nearlySpotless(t *testing.T, what string, r lab.Report) {
	t.Helper()
	const most, second = 20, 1000 // packets
	if lost := r.Lost(); lost > 0 && lost <= most && r.LastLost-r.FirstLost < second && r.Duplicated+r.Refused == 0 && r.Received > 0 {
		t.Logf("%s: %v", what, r)
		return
	}
	spotless(t, what, r)
}

// TestESPByItself: phase 3 with ESP in UDP or without, and in either mode, by what the nodes
// are configured with.
func TestESPByItself(t *testing.T) {
	t.Parallel()
	raw, inUDP := isRawESP, isESPInUDP
	for _, c := range []struct {
		name    string
		lines   func(node string) []string // of [tunnel.NAME.ipsec]
		only    string
		is, not func(lab.Frame) bool
	}{
		{"raw everywhere", func(string) []string { return []string{`encapsulation = "raw"`} }, "raw ESP", raw, inUDP},
		{"raw at one spoke", func(node string) []string {
			if node == "spoke1" {
				return []string{`encapsulation = "raw"`}
			}
			return nil
		}, "ESP in UDP", inUDP, raw},
		{"tunnel mode", func(string) []string { return []string{`mode = "tunnel"`} }, "ESP in UDP", inUDP, raw},
		{"tunnel mode, raw", func(string) []string { return []string{`mode = "tunnel"`, `encapsulation = "raw"`} }, "raw ESP", raw, inUDP},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			net := protected(t, cloud.Options{Spokes: 2, Settings: func(node string, s *cloud.Settings) {
				s.Tunnels[0].IPsec.Lines = c.lines(node)
			}})
			without(t, net, "what is not "+c.only, c.not)
			ctx := t.Context()
			check(t, net.StartAll(ctx))
			until(t, net, patience, func() error { return net.AllRegistered(ctx) })
			stream, err := net.Hosts[0].Stream(net.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
			check(t, err)
			talk, err := net.HubHost.Talk(net.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4001))
			check(t, err)
			until(t, net, patience, func() error { return net.Direct(ctx, "spoke1", cloud.Network(2)) })
			leads(t, net, net.Hosts[0], cloud.Host(2), directly(4)...)
			atSpoke, err := net.Spokes[1].Capture(cloud.Underlay, c.is)
			check(t, err)
			time.Sleep(500 * time.Millisecond)
			if n := len(atSpoke.Close()); n == 0 {
				t.Errorf("no %s", c.only)
			}
			nearlySpotless(t, "while the way changed", stream.Stop())
			if r := talk.Stop(); r.Blocks == 0 || r.Err != nil {
				t.Errorf("TCP: %+v", r)
			}
		})
	}
}

// TestTunnelModeBehindANAT: the inner addresses are those that the spoke has behind its NAT,
// and ESP goes in UDP whatever is configured.
//
//	host1 ── spoke1 ── nat1 ── internet ── hub ── host0
func TestTunnelModeBehindANAT(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, NATs: []cloud.NAT{{Spokes: []int{1}}}, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].IPsec.Lines = []string{`mode = "tunnel"`, `encapsulation = "raw"`}
	}})
	without(t, c, "raw ESP", isRawESP)
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.Hosts[0], 0)
	for _, node := range []string{"hub", "spoke1"} {
		peer := map[string]string{"hub": "spoke1.example.net", "spoke1": "hub.example.net"}[node]
		_, err := c.Dmvpn(ctx, node, "ike", "rekey", peer, "--child")
		check(t, err)
		ping(t, c.Hosts[0], 0)
		ping(t, c.HubHost, 1)
	}
}
