// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

var errNotYet = errors.New("not yet")

func addr(a [4]byte) netip.Addr { return netip.AddrFrom4(a) }

// leads waits until packets to an address take these hops. One trace may not tell: a router says
// that a packet was too old a few times, and then once a second.
func leads(t *testing.T, c *cloud.Cloud, from *lab.Node, to netip.Addr, want ...netip.Addr) {
	t.Helper()
	until(t, c, patience, func() error {
		path, err := from.Trace(t.Context(), to)
		if err == nil && !slices.EqualFunc(path, want, func(e lab.Echo, a netip.Addr) bool { return e.From == a }) {
			err = fmt.Errorf("path %v, expected %v", path, want)
		}
		return err
	})
}

// directly are the hops from host1 to host2 on a shortcut, by a version of IP.
func directly(version int) []netip.Addr {
	return []netip.Addr{cloud.GatewayOf(version, 1), cloud.TunnelOf(version, 2), cloud.HostOf(version, 2)}
}

// notByTheHub waits until the hub sees none of what is sent all the time. A spoke whose daemon
// gets no CPU for a second does not answer probes, and packets go by the hub for a moment.
func notByTheHub(t *testing.T, c *cloud.Cloud, is func(lab.Frame) bool) {
	t.Helper()
	until(t, c, patience, func() error {
		atHub, err := c.Hub.Capture(cloud.Underlay, is)
		check(t, err)
		time.Sleep(500 * time.Millisecond)
		if n := len(atHub.Close()); n > 0 {
			return fmt.Errorf("%d packets went by the hub though there is a shortcut", n)
		}
		return nil
	})
}

// TestTheWayGetsShorter: phase 3. Each pair of spokes finds its direct way, one
// shortcut serves the whole LAN behind the other, and the stream that is
// running meanwhile loses nothing.
func TestTheWayGetsShorter(t *testing.T) {
	t.Parallel()
	c := up(t, cloud.Options{Spokes: 3})
	early, err := c.Hub.Capture(cloud.Underlay, isData)
	check(t, err)
	stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
	check(t, err)
	until(t, c, patience, func() error { return c.Direct(t.Context(), "spoke1", cloud.Network(2)) })
	if first := early.Close(); len(first) == 0 {
		t.Error("no packet went by the hub before there was a shortcut")
	}
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
	notByTheHub(t, c, isData)
	spotless(t, "while the way changed", stream.Stop())
	noICMPRedirects(t, c)
	for _, pair := range [][2]int{{1, 3}, {3, 2}} {
		shortcut(t, c, pair[0], pair[1])
	}
	for n, spoke := range c.Spokes {
		list, err := c.Shortcuts(t.Context(), spoke.Name)
		check(t, err)
		if len(list) != 2 {
			t.Errorf("spoke%d has shortcuts %v, expected one to each of the two others", n+1, list)
		}
	}
}

// TestAShortcutServesAPrefix: a second host behind spoke2 needs no resolution of
// its own.
//
//	host1 ── spoke1 ═══ spoke2 ── host2 10.10.2.10 and 10.10.2.77
func TestAShortcutServesAPrefix(t *testing.T) { modes(t, aShortcutServesAPrefix) }

func aShortcutServesAPrefix(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2})
	second := addr([4]byte{10, 10, 2, 77})
	check(t, c.Hosts[1].AddAddress("eth0", second.String()+"/24"))
	shortcut(t, c, 1, 2)
	leads(t, c, c.Hosts[0], second, cloud.Gateway(1), cloud.TunnelAddress(2), second)
}

// TestATunnelAddressIsResolvedToo: spoke to spoke by their tunnel addresses.
func TestATunnelAddressIsResolvedToo(t *testing.T) { modes(t, aTunnelAddressIsResolvedToo) }

func aTunnelAddressIsResolvedToo(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2})
	until(t, c, patience, func() error {
		if _, err := c.Spokes[0].Ping(cloud.TunnelAddress(2), 0, time.Second); err != nil {
			return err
		}
		path, err := c.Spokes[0].Trace(t.Context(), cloud.TunnelAddress(2))
		if err == nil && len(path) != 1 {
			err = fmt.Errorf("%d hops to spoke2's tunnel address", len(path))
		}
		return err
	})
	noICMPRedirects(t, c)
}

// noICMPRedirects: the hub's kernel would send them for what came by the tunnel
// and leaves by it; they mean nothing there.
func noICMPRedirects(t *testing.T, c *cloud.Cloud) {
	t.Helper()
	counters, err := c.Hub.Counters()
	check(t, err)
	if n := counters["IcmpOutRedirects"]; n > 0 {
		t.Errorf("the hub's kernel sent %d ICMP redirects", n)
	}
}
