// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestBehindTwoNATsTheDirectWayIsMadeAnew: nothing comes through the other's NAT from the new
// port before the hub has told it.
func TestBehindTwoNATsTheDirectWayIsMadeAnew(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2, NATs: []cloud.NAT{{Spokes: []int{1}}, {Spokes: []int{2}}}, Settings: func(_ string, s *cloud.Settings) {
		s.Tunnels[0].IPsec.DPD = 3 * time.Second
	}})
	there, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 100, 200)
	check(t, err)
	back, err := c.Hosts[1].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 100, 200)
	check(t, err)
	until(t, c, patience, func() error { return shortened(c, t, 1, 2) })
	// The new port is one that stays, too.
	check(t, c.NATs[1].NAT(cloud.Underlay, lab.OtherPorts))
	check(t, c.NATs[1].ForgetConnections())
	until(t, c, patience, func() error {
		if shortened(c, t, 1, 2) == nil {
			return errors.New("packets go directly still")
		}
		return nil
	})
	until(t, c, 3*time.Minute, func() error { return shortened(c, t, 1, 2) })
	until(t, c, patience, func() error { return shortened(c, t, 2, 1) })
	t.Logf("there: %v", there.Stop())
	t.Logf("back: %v", back.Stop())
}

// TestAnIdleWayThroughANATGoesWithItsKeys: at both ends, wherever the NAT let it through.
func TestAnIdleWayThroughANATGoesWithItsKeys(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{
		Spokes: 2, NATs: []cloud.NAT{{Spokes: []int{2}, Ports: lab.PortPerDestination}},
		Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].Idle = 4 * time.Second },
	})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	until(t, c, patience, func() error { return shortened(c, t, 1, 2) })
	for i, other := range []string{"spoke2.example.net", "spoke1.example.net"} {
		until(t, c, 2*patience, func() error {
			out, err := c.Dmvpn(ctx, c.Spokes[i].Name, "ike")
			if err == nil && strings.Contains(out, other) {
				err = fmt.Errorf("%s has %s still:\n%s", c.Spokes[i].Name, other, out)
			}
			return err
		})
		check(t, c.Registered(ctx, c.Spokes[i].Name))
	}
	ping(t, c.Hosts[0], 2)
}

// ended is what a daemon logs of a registration or a shortcut that is no more.
var ended = regexp.MustCompile(`is no longer registered|shortcut to .* ended`)

// lasting is what a NAT's rebinding must not change of a peer.
type lasting struct {
	registered, shortcut time.Time
	id                   uint32
	received             uint64
}

// another says whether two instants are not the same one, as the daemon tells it at two times.
func another(a, b time.Time) bool { return a.Sub(b).Abs() > 100*time.Millisecond }

// TestANATForgetsItsMappings: a NAT that was restarted gives a spoke another port towards
// everybody. Hub and spoke follow it; registration, shortcut and peers are what they were.
func TestANATForgetsItsMappings(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 6} {
		t.Run(fmt.Sprint("IPv", version), func(t *testing.T) {
			t.Parallel()
			aNATForgetsItsMappings(t, version)
		})
	}
}

func aNATForgetsItsMappings(t *testing.T, version int) {
	c := guarded(t, cloud.Options{Spokes: 2, NATs: []cloud.NAT{{Spokes: []int{2}}}, Over: func(string) []int { return []int{version} }})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	until(t, c, patience, func() error { return shortened(c, t, 1, 2) })
	out, err := c.Hosts[1].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 1000, 200)
	check(t, err)
	in, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4001), 1000, 200)
	check(t, err)
	toHub, err := c.Hosts[1].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4002), 1000, 200)
	check(t, err)
	// spoke2 gives where, and as what, a node has spoke 2.
	spoke2 := func(node string) (at netip.AddrPort, l lasting) {
		t.Helper()
		check(t, c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
			peers, err := client.Peers(ctx)
			for _, p := range peers {
				if p.Protocol == cloud.TunnelAddress(2) {
					at, l.id, l.received, l.registered = netip.AddrPortFrom(p.NBMA, p.Port), p.ID, p.RxPackets, p.Since
				}
			}
			if err != nil {
				return err
			}
			list, err := client.Shortcuts(ctx)
			for _, s := range list {
				if s.NextHop == cloud.TunnelAddress(2) {
					l.shortcut = s.Created
				}
			}
			return err
		}))
		if l.id == 0 {
			t.Fatalf("%s has no spoke 2", node)
		}
		return at, l
	}
	check(t, out.Run(ctx, time.Second))
	nodes := []string{"hub", "spoke1"}
	before, was := map[string]lasting{}, map[string]netip.AddrPort{}
	for _, node := range nodes {
		was[node], before[node] = spoke2(node)
	}
	check(t, c.NATs[0].NAT(cloud.Underlay, lab.PortPerDestination))
	check(t, c.NATs[0].ForgetConnections())
	until(t, c, patience, func() error {
		for _, node := range nodes {
			if at, _ := spoke2(node); at == was[node] || at.Addr() != cloud.NATAddressOf(version, 1) {
				return fmt.Errorf("%s has spoke 2 at %v still", node, at)
			}
		}
		return nil
	})
	check(t, out.Run(ctx, time.Second))
	for _, node := range nodes {
		_, now := spoke2(node)
		old := before[node]
		if now.id != old.id || now.received <= old.received || another(now.registered, old.registered) || another(now.shortcut, old.shortcut) {
			t.Errorf("%s: spoke 2 was %+v and is %+v", node, old, now)
		}
		if ended.MatchString(c.Daemon(node).Output()) {
			t.Errorf("%s: something ended:\n%s", node, c.Log(node, 40))
		}
	}
	check(t, shortened(c, t, 1, 2))
	// What the NAT did not know was lost; what it let out was not.
	spotless(t, "out of the NAT, to spoke 1", out.Stop())
	spotless(t, "out of the NAT, to the hub", toHub.Stop())
	r := in.Stop()
	t.Logf("into the NAT: %v", r)
	if r.Received == 0 || r.Duplicated > 0 || r.Lost() > 0 && r.LastLost-r.FirstLost > 1000 {
		t.Errorf("into the NAT: %v, the last lost is %d", r, r.LastLost)
	}
}
