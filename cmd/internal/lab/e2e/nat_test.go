// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// shortened is nil when packets from one spoke's host to another's go directly.
func shortened(c *cloud.Cloud, t *testing.T, from, to int) error {
	t.Helper()
	path, err := c.Hosts[from-1].Trace(t.Context(), cloud.Host(to))
	if err == nil && len(path) != 3 {
		err = fmt.Errorf("host%d to host%d: %d hops", from, to, len(path))
	}
	return err
}

// TestDirectWaysThroughNATs: each pair of spokes finds the direct way that there is.
func TestDirectWaysThroughNATs(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		nats []cloud.NAT // spoke 1 has a public address
		pair [2]int
	}{
		{"one behind a NAT, the other public", []cloud.NAT{{Spokes: []int{2}}}, [2]int{1, 2}},
		{"the NAT asks for it, the public one answers", []cloud.NAT{{Spokes: []int{2}}}, [2]int{2, 1}},
		{"a NAT with a port for each destination, asked from outside", []cloud.NAT{{Spokes: []int{2}, Ports: lab.PortPerDestination}}, [2]int{1, 2}},
		{"and asking", []cloud.NAT{{Spokes: []int{2}, Ports: lab.PortPerDestination}}, [2]int{2, 1}},
		{"NA-09: behind two NATs", []cloud.NAT{{Spokes: []int{2}}, {Spokes: []int{3}}}, [2]int{2, 3}},
		{"NA-08: behind one NAT, by their private addresses", []cloud.NAT{{Spokes: []int{2, 3}}}, [2]int{2, 3}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := guarded(t, cloud.Options{Spokes: 3, NATs: x.nats})
			from, to := x.pair[0], x.pair[1]
			stream, err := c.Hosts[from-1].Stream(c.Hosts[to-1], netip.AddrPortFrom(cloud.Host(to), 4000), 200, 200)
			check(t, err)
			until(t, c, patience, func() error { return shortened(c, t, from, to) })
			spotless(t, "while the way changed", stream.Stop())
		})
	}
}

// byHub is nil when packets from one spoke's network to another's go by the hub, and the
// spoke says that nothing comes from the other's address, and since when.
func byHub(c *cloud.Cloud, t *testing.T, from, to int, silent netip.Addr) error {
	t.Helper()
	spoke := c.Spokes[from-1].Name
	out, err := c.Dmvpn(t.Context(), spoke, "shortcut")
	if err != nil {
		return err
	}
	reason := fmt.Sprintf(`by the hub .* no answer from %s:\d+ since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, regexp.QuoteMeta(silent.String()))
	for line := range strings.Lines(out) {
		if strings.Contains(line, cloud.Network(to).String()) && regexp.MustCompile(reason).MatchString(line) {
			return nil
		}
	}
	return fmt.Errorf("%s: no reason %q in\n%s", spoke, reason, out)
}

// TestWithoutADirectWayTheHubStays: where NATs or a network let nothing through directly,
// packets go by the hub, none is lost, and both spokes say why.
func TestWithoutADirectWayTheHubStays(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name   string
		nats   []cloud.NAT
		silent [2]netip.Addr // spoke 2 as spoke 1 tries it, and the other way round
	}{
		{"behind two NATs with a port for each destination",
			[]cloud.NAT{{Spokes: []int{1}, Ports: lab.PortPerDestination}, {Spokes: []int{2}, Ports: lab.PortPerDestination}},
			[2]netip.Addr{cloud.NATAddress(2), cloud.NATAddress(1)}},
		{"one of two NATs has a port for each destination",
			[]cloud.NAT{{Spokes: []int{1}, Ports: lab.PortPerDestination}, {Spokes: []int{2}}},
			[2]netip.Addr{cloud.NATAddress(2), cloud.NATAddress(1)}},
		{"behind one NAT that keeps them apart",
			[]cloud.NAT{{Spokes: []int{1, 2}, Isolated: true}},
			[2]netip.Addr{cloud.Private(1, 2), cloud.Private(1, 1)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := guarded(t, cloud.Options{Spokes: 2, NATs: x.nats})
			there, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 200, 200)
			check(t, err)
			back, err := c.Hosts[1].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 200, 200)
			check(t, err)
			until(t, c, patience, func() error { return byHub(c, t, 1, 2, x.silent[0]) })
			until(t, c, patience, func() error { return byHub(c, t, 2, 1, x.silent[1]) })
			check(t, there.Run(t.Context(), time.Second))
			until(t, c, patience, func() error { return hops(t, c, 1, 2, byTheHub) })
			spotless(t, "by the hub", there.Stop())
			spotless(t, "by the hub, back", back.Stop())
		})
	}
}

// TestSpokesBehindOneNATRegisterAtOnce: each is a peer of its own.
func TestSpokesBehindOneNATRegisterAtOnce(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 6} {
		t.Run(fmt.Sprint("IPv", version), func(t *testing.T) {
			t.Parallel()
			spokesBehindOneNATRegisterAtOnce(t, version)
		})
	}
}

func spokesBehindOneNATRegisterAtOnce(t *testing.T, version int) {
	const spokes = 5
	c := protected(t, cloud.Options{
		Spokes: spokes, NATs: []cloud.NAT{{Spokes: []int{1, 2, 3, 4, 5}}}, Over: func(string) []int { return []int{version} },
	})
	ctx := t.Context()
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	for _, s := range c.Spokes {
		check(t, c.Start(s.Name))
	}
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	places := map[netip.AddrPort]bool{}
	check(t, c.Ask(ctx, "hub", func(ctx context.Context, client *control.Client) error {
		peers, err := client.Peers(ctx)
		for _, p := range peers {
			if p.NBMA != cloud.NATAddressOf(version, 1) || p.Kind != control.PeerRegistered {
				t.Errorf("the hub has %+v", p)
			}
			places[netip.AddrPortFrom(p.NBMA, p.Port)] = true
		}
		return err
	}))
	if len(places) != spokes {
		t.Errorf("%d spokes are at %v", spokes, places)
	}
	all := func() {
		t.Helper()
		for n := 1; n <= spokes; n++ {
			until(t, c, patience, func() error { // the keys are made anew after the crash
				_, err := c.HubHost.Ping(cloud.Host(n), 0, time.Second)
				return err
			})
		}
	}
	all()
	// The next daemon of the hub's finds them again, each as the one that it was.
	registered := c.PeerNames(ctx, "hub")
	var addresses []netip.Addr
	for n := range spokes {
		addresses = append(addresses, cloud.TunnelAddress(n+1))
	}
	until(t, c, patience, func() error { return saved(c, "hub", addresses...) })
	check(t, c.Kill(ctx, "hub"))
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, patience, func() error {
		if now := c.PeerNames(ctx, "hub"); !slices.Equal(now, registered) {
			return fmt.Errorf("the hub had %q and has %q", registered, now)
		}
		return c.AllRegistered(ctx)
	})
	all()
}
