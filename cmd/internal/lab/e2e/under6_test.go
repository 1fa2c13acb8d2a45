// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// hops is nil when packets from a LAN reach another one by so many routers and the host:
// three directly, four by the hub.
func hops(t *testing.T, c *cloud.Cloud, from, to, want int) error {
	t.Helper()
	path, err := c.Hosts[from-1].Trace(t.Context(), cloud.Host(to))
	if err == nil && len(path) != want {
		err = fmt.Errorf("%d hops, expected %d", len(path), want)
	}
	return err
}

const shortWay, byTheHub = 3, 4

// TestTwoFamiliesOfOneHub: spoke1 has IPv4 alone, spoke2 IPv6 alone, spoke3 both. Who has no
// family in common goes by the hub, and is told why; the others go directly.
//
//	                   hub 192.0.2.1, 2001:db8::1
//	                  ╱        │         ╲
//	spoke1 198.18.1.1   spoke3 both, by 6   spoke2 2001:db8:2::1
func TestTwoFamiliesOfOneHub(t *testing.T) { modes(t, twoFamiliesOfOneHub) }

func twoFamiliesOfOneHub(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 3, Over: func(node string) []int {
		return map[string][]int{"hub": {4, 6}, "spoke1": {4}, "spoke2": {6}, "spoke3": {6, 4}}[node]
	}, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke3" { // its server's address alone would leave IPv4 out
			s.Tunnels[0].Addresses = []string{cloud.NBMAOf(4, 3).String(), cloud.NBMAOf(6, 3).String()}
		}
	}})
	ctx := t.Context()
	pairs := [][2]int{{1, 2}, {2, 1}, {1, 3}, {2, 3}, {3, 2}}
	for _, p := range pairs {
		until(t, c, patience, func() error { return pinged(c.Hosts[p[0]-1], 4, p[1]) })
	}
	for _, p := range [][2]int{{1, 3}, {2, 3}, {3, 2}} {
		until(t, c, patience, func() error {
			if err := pinged(c.Hosts[p[0]-1], 4, p[1]); err != nil {
				return err
			}
			return hops(t, c, p[0], p[1], shortWay)
		})
	}
	for _, p := range [][2]int{{1, 2}, {2, 1}} {
		family := map[int]string{1: "IPv4", 2: "IPv6"}[p[0]]
		want := fmt.Sprintf("%v has no underlay address of %s, by which we are reached", cloud.TunnelAddress(p[1]), family)
		until(t, c, patience, func() error {
			if err := pinged(c.Hosts[p[0]-1], 4, p[1]); err != nil {
				return err
			}
			out, err := c.Dmvpn(ctx, fmt.Sprint("spoke", p[0]), "nhrp")
			if err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("spoke%d does not say %q:\n%s", p[0], want, out)
			}
			return err
		})
		until(t, c, patience, func() error { return hops(t, c, p[0], p[1], byTheHub) })
	}
}

// TestAFamilyThatComesLater: spoke1 has no IPv6 when its daemon starts, by which it is to find the
// hub and spoke2. With the address it does, without a restart.
func TestAFamilyThatComesLater(t *testing.T) { modes(t, aFamilyThatComesLater) }

func aFamilyThatComesLater(t *testing.T, m mode) {
	c := m.build(t, cloud.Options{Spokes: 2, Over: func(node string) []int {
		return map[string][]int{"hub": {4, 6}, "spoke1": {6, 4}, "spoke2": {6}}[node]
	}, Settings: func(node string, s *cloud.Settings) {
		if node == "spoke1" {
			s.Tunnels[0].Addresses = []string{cloud.NBMAOf(4, 1).String(), cloud.NBMAOf(6, 1).String()}
		}
	}})
	ctx, late := t.Context(), cloud.NBMAOf(6, 1)
	check(t, c.Spokes[0].DeleteAddress(cloud.Underlay, late.String()+"/64"))
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke2") })
	if c.Registered(ctx, "spoke1") == nil {
		t.Fatal("spoke1 is registered without an address of the hub's family")
	}
	check(t, c.Spokes[0].AddAddress(cloud.Underlay, late.String()+"/64"))
	check(t, c.Spokes[0].AddRoute(cloud.InternetOf(late).String(), "::/0"))
	until(t, c, 5*patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error {
		if err := pinged(c.Hosts[0], 4, 2); err != nil {
			return err
		}
		return hops(t, c, 1, 2, shortWay)
	})
}

// TestESPByItselfOverIPv6: phase 3 with raw ESP, in either mode.
func TestESPByItselfOverIPv6(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"transport mode":      {`encapsulation = "raw"`},
		"tunnel mode":         {`mode = "tunnel"`, `encapsulation = "raw"`},
		"tunnel mode, in UDP": {`mode = "tunnel"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := guarded(t, cloud.Options{Spokes: 2, Over: overIPv6, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].IPsec.Lines = lines }})
			without(t, c, "ESP in the other form", func(f lab.Frame) bool {
				return isESP(f) && !strings.Contains(name, "UDP") || isRawESP(f) && strings.Contains(name, "UDP")
			})
			until(t, c, patience, func() error { return pinged(c.Hosts[0], 4, 2) })
			stream, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 1000, 200)
			check(t, err)
			for _, p := range [][2]int{{1, 2}, {2, 1}} {
				until(t, c, patience, func() error {
					if err := pinged(c.Hosts[p[0]-1], 4, p[1]); err != nil {
						return err
					}
					return hops(t, c, p[0], p[1], shortWay)
				})
			}
			nearlySpotless(t, "while the way changed", stream.Stop())
			talk, err := c.HubHost.Talk(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4001))
			check(t, err)
			until(t, c, patience, func() error {
				if talk.Blocks() < 20 {
					return fmt.Errorf("%d blocks", talk.Blocks())
				}
				return nil
			})
			if r := talk.Stop(); r.Err != nil {
				t.Errorf("TCP: %+v", r)
			}
		})
	}
}

// TestGREInClearOverIPv6: somebody on the way sends what a spoke could have sent, as it is,
// behind another header, and in fragments. On a protected tunnel none of it comes in.
func TestGREInClearOverIPv6(t *testing.T) {
	t.Parallel()
	for _, protected := range []bool{false, true} {
		t.Run(fmt.Sprintf("protected %t", protected), func(t *testing.T) {
			t.Parallel()
			c := up(t, cloud.Options{Spokes: 1, Over: overIPv6, Protected: protected})
			inner := lab.IPv4{From: cloud.Host(1), To: cloud.Host(0), Protocol: 17}.Packet([]byte{0, 9, 17, 92, 0, 8, 0, 0})
			gre := slices.Concat([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, inner)
			const fragment, options = 44, 60
			part := func(offset int, more byte, b []byte) []byte {
				return packet6(c, fragment, slices.Concat([]byte{47, 0, byte(offset >> 8), byte(offset) | more, 0, 0, 0, 7}, b))
			}
			for name, packets := range map[string][][]byte{
				"as it is":                   {packet6(c, 47, gre)},
				"behind destination options": {packet6(c, options, slices.Concat([]byte{47, 0, 1, 4, 0, 0, 0, 0}, gre))},
				"in fragments":               {part(0, 1, gre[:16]), part(16, 0, gre[16:])},
			} {
				came, err := c.HubHost.Capture("eth0", func(f lab.Frame) bool {
					return !f.Outgoing && len(f.Data) >= 42 && f.Data[14+9] == 17 && binary.BigEndian.Uint16(f.Data[14+22:]) == 4444
				})
				check(t, err)
				before := dropsAtHub(t, c, "cleartext")
				if protected {
					until(t, c, patience, func() error {
						check(t, c.Internet.Forge(packets...))
						if dropsAtHub(t, c, "cleartext") == before {
							return fmt.Errorf("%s: not counted", name)
						}
						return nil
					})
				} else {
					until(t, c, patience, func() error {
						check(t, c.Internet.Forge(packets...))
						if len(came.Frames()) == 0 {
							return fmt.Errorf("%s: nothing came", name)
						}
						return nil
					})
				}
				if n := len(came.Close()); protected && n > 0 {
					t.Errorf("%s: %d packets came in", name, n)
				}
			}
		})
	}
}

// packet6 is what comes from spoke1's underlay address to the hub's.
func packet6(_ *cloud.Cloud, next byte, body []byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), next, 64}
	return slices.Concat(b, cloud.NBMAOf(6, 1).AsSlice(), cloud.NBMAOf(6, 0).AsSlice(), body)
}

// dropsAtHub is the hub's count of a reason.
func dropsAtHub(t *testing.T, c *cloud.Cloud, reason string) (n uint64) {
	t.Helper()
	out, err := c.Dmvpn(t.Context(), "hub", "drops")
	check(t, err)
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); slices.Contains(words, reason) {
			var packets uint64
			_, err := fmt.Sscan(words[slices.Index(words, reason)+1], &packets)
			check(t, err)
			n += packets
		}
	}
	return n
}

// TestAPrefixOfIPv6LeadsNowhereInClear: spoke and underlay have IPv6 with a default route. What the
// tunnel carried of IPv6 does not follow it while the hub is away, when the device is down, or after a
// teardown.
func TestAPrefixOfIPv6LeadsNowhereInClear(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 1, Inside: []int{4, 6}, Over: overIPv6})
	ctx := t.Context()
	until(t, c, patience, func() error { return pinged(c.Hosts[0], 6, 0) })
	nowhere := func(when string) {
		t.Helper()
		for range 10 {
			if _, err := c.Hosts[0].Ping(cloud.HostOf(6, 0), 0, 50*time.Millisecond); err == nil {
				t.Errorf("%s: a packet came through", when)
			}
		}
	}
	check(t, c.Kill(ctx, "hub"))
	nowhere("the hub is dead")
	_, err := c.Spokes[0].Run(ctx, "ip", "link", "set", cloud.Device, "down")
	check(t, err)
	nowhere("the device is down")
	check(t, c.Teardown(ctx, "spoke1"))
	nowhere("the spoke is torn down")
	out, err := c.Spokes[0].Run(ctx, "ip", "-6", "route", "get", cloud.HostOf(6, 0).String())
	if err == nil && !strings.Contains(out, "unreachable") {
		t.Errorf("a packet to %v would go %s", cloud.HostOf(6, 0), out)
	}
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	until(t, c, patience, func() error { return pinged(c.Hosts[0], 6, 0) })
}
