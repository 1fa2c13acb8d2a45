// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/routing"
)

// TestOneCloudStandsInForTheOther: a hub each, sites in both, BGP by both. What goes by the first
// cloud goes by the second when the first one's hub has died, and back when it has returned. Shortcuts
// are made in either.
//
//	hub, key 42 ✂        hub2, key 43
//	    ╲   dmvpn0         dmvpn1   ╱
//	host1 ── spoke1      spoke2 ── host2
func TestOneCloudStandsInForTheOther(t *testing.T) { modes(t, oneCloudStandsInForTheOther) }

func oneCloudStandsInForTheOther(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 2, MoreHubs: 1, Settings: func(node string, s *cloud.Settings) {
		n := 0
		_, _ = fmt.Sscanf(node, "spoke%d", &n)
		text := example(t, "spoke-two-clouds.toml", n)
		switch node {
		case "hub":
			text = example(t, "hub.toml", 0)
		case "hub2":
			text = example(t, "second-hub.toml", 0)
		}
		// The first hub comes back without memory.
		s.Text = strings.Replace(m.adapted(text, s), "psk-file", "dpd = \"2s\"\npsk-file", 1)
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	for _, s := range c.Spokes {
		for _, device := range []string{cloud.Device, "dmvpn1"} {
			until(t, c, patience, func() error {
				tunnel, err := c.Tunnel(ctx, s.Name, device)
				if err == nil && tunnel.NHSUp != 1 {
					err = fmt.Errorf("%s: %s is not registered", s.Name, device)
				}
				return err
			})
		}
	}
	spokes := twoClouds(t, c)
	second := netip.MustParseAddr("10.1.0.1")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, "hub2", cloud.Network(n), netip.AddrFrom4([4]byte{10, 1, 0, byte(10 + n)}))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	by := func(hop netip.Addr) {
		t.Helper()
		until(t, c, patience, func() error {
			if _, err := c.Hosts[0].Ping(cloud.Host(2), 0, shortly); err != nil {
				return err
			}
			path, err := c.Hosts[0].Trace(ctx, cloud.Host(2))
			if err == nil && (len(path) != 3 || path[1].From != hop) {
				err = fmt.Errorf("host1 to host2: %v, expected %v in between", path, hop)
			}
			return err
		})
	}
	by(cloud.TunnelAddress(2))
	for n := range spokes { // BFD has both sessions
		until(t, c, 3*patience, func() error {
			if out := spokes.typed(t, n, "show bfd peers brief"); strings.Count(out, " up") != 2 {
				return fmt.Errorf("spoke%d: %s", n+1, out)
			}
			return nil
		})
	}
	check(t, c.Kill(ctx, "hub"))
	_, err := c.Dmvpn(ctx, "hub", "teardown")
	check(t, err)
	died := time.Now()
	for n := 1; n <= 2; n++ {
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), second)
	}
	until(t, c, patience, func() error {
		_, err := c.Hosts[0].Ping(cloud.Host(2), 0, shortly)
		return err
	})
	// BGP's keepalives alone leave it at least 20 s.
	if took := time.Since(died); took > 15*time.Second {
		t.Errorf("the second cloud stands in after %v", took)
	} else {
		t.Logf("after %v", took)
	}
	by(netip.MustParseAddr("10.1.0.12"))
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	for n := 1; n <= 2; n++ {
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	by(cloud.TunnelAddress(2))
}

// twoClouds starts FRR on the hubs and the spokes, and gives the spokes'.
func twoClouds(t *testing.T, c *cloud.Cloud) suite {
	t.Helper()
	type place struct {
		node *lab.Node
		text string
	}
	all := []place{{c.Hub, example(t, "frr-ibgp-bfd-hub.conf", 0)}, {c.MoreHubs[0], example(t, "frr-ibgp-second-hub.conf", 0)}}
	for n, s := range c.Spokes {
		all = append(all, place{s, example(t, "frr-ibgp-two-clouds-spoke.conf", n+1)})
	}
	running, errs := make(suite, len(all)), make([]error, len(all))
	var starting sync.WaitGroup
	for i, p := range all {
		starting.Go(func() { running[i], errs[i] = routing.StartFRR(t.Context(), p.node, p.text, "bfdd", "bgpd") })
	}
	starting.Wait()
	check(t, errors.Join(errs...))
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for i, f := range running {
			for _, show := range []string{"show ip route", "show bgp ipv4 unicast"} {
				out, _ := f.Vtysh(context.Background(), show)
				t.Logf("%s: %s:\n%s", all[i].node.Name, show, strings.TrimSpace(out))
			}
		}
	})
	return running[2:]
}
