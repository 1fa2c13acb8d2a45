// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
)

// cleared is a Cloud with a third spoke: S1 has a shortcut to each of the other two, and two negative
// entries of addresses that nobody has.
type cleared struct {
	*nhrptest.Cloud
	net2, net3 netip.Prefix
	nobody     []netip.Addr
}

func newCleared(six, reimport bool) *cleared {
	x, s3, net3, c := &cleared{}, "10.0.0.13/24", "10.10.3.0/24", "10.10.3.5"
	if six {
		x.Cloud, s3, net3, c = nhrptest.NewCloud6(1, reimport, nil), "fd00::13/64", "fd10:0:3::/64", "fd10:0:3::5"
		x.net2, x.nobody = prefix("fd10:0:2::/64"), []netip.Addr{addr("fd00::77"), addr("fd00::78")}
	} else {
		x.Cloud = nhrptest.NewCloud(1, reimport, nil)
		x.net2, x.nobody = prefix("10.10.2.0/24"), []netip.Addr{addr("10.0.0.77"), addr("10.0.0.78")}
	}
	x.net3 = prefix(net3)
	config := nhrptest.SpokeConfig(s3, net3)
	config.NHS = x.S1.Config.NHS
	x.Add("S3", "203.0.113.33", config)
	x.Run(time.Second)
	x.Ping(100)
	x.S1.Send(x.A, c, 100)
	for _, a := range x.nobody {
		x.S1.Input(engine.Miss{NextHop: a})
	}
	x.Run(time.Second)
	return x
}

// left says what S1 has.
func (x *cleared) left() string {
	s, shortcuts, negatives := x.S1.Machine.Snapshot(x.Now), []netip.Prefix{}, []netip.Addr{}
	for _, i := range s.Shortcuts {
		if !x.S1.Installed[i.Prefix].IsValid() {
			continue
		}
		shortcuts = append(shortcuts, i.Prefix)
	}
	for _, n := range s.Negatives {
		negatives = append(negatives, n.Destination)
	}
	return fmt.Sprint(shortcuts, negatives)
}

// TestAClearEndsWhatItNamesAlone: shortcuts that share addresses with it, and the negative entries inside.
func TestAClearEndsWhatItNamesAlone(t *testing.T) {
	for _, c := range []struct {
		name        string
		four, six   []string
		net2, net3  bool // left
		nobody      []int
		ends, fails int // shortcuts, negative entries
	}{
		{"all", nil, nil, false, false, nil, 2, 2},
		{"a shortcut's prefix", []string{"10.10.2.0/24"}, []string{"fd10:0:2::/64"}, false, true, []int{0, 1}, 1, 0},
		{"an address in it", []string{"10.10.2.99/32"}, []string{"fd10:0:2::99/128"}, false, true, []int{0, 1}, 1, 0},
		{"a part of it", []string{"10.10.2.128/25"}, []string{"fd10:0:2:0:8000::/65"}, false, true, []int{0, 1}, 1, 0},
		{"what is around both", []string{"10.10.0.0/16"}, []string{"fd10::/16"}, false, false, []int{0, 1}, 2, 0},
		{"both, one twice", []string{"10.10.3.0/24", "10.10.2.0/24", "10.10.2.1/32"}, []string{"fd10:0:3::/64", "fd10:0:2::/64", "fd10:0:2::1/128"}, false, false, []int{0, 1}, 2, 0},
		{"a negative entry", []string{"10.0.0.78/32"}, []string{"fd00::78/128"}, true, true, []int{0}, 0, 1},
		{"the overlay's prefix: no registration", []string{"10.0.0.0/24"}, []string{"fd00::/64"}, true, true, nil, 0, 2},
		{"a shortcut and a negative entry", []string{"10.10.3.0/24", "10.0.0.77/32"}, []string{"fd10:0:3::/64", "fd00::77/128"}, true, false, []int{1}, 1, 1},
		{"the routed path's prefix beside them", []string{"10.10.4.0/24"}, []string{"fd10:0:4::/64"}, true, true, []int{0, 1}, 0, 0},
		{"all of the other family", []string{"::/0"}, []string{"0.0.0.0/0"}, true, true, []int{0, 1}, 0, 0},
	} {
		for _, six := range []bool{false, true} {
			list := c.four
			if six {
				list = c.six
			}
			scenario(t, fmt.Sprintf("%s: %v", c.name, list), func(t *testing.T, reimport bool) *nhrptest.World {
				x := newCleared(six, reimport)
				all := fmt.Sprint([]netip.Prefix{x.net2, x.net3}, x.nobody)
				want(t, "before", x.left(), all)
				var within []netip.Prefix
				known := false
				for _, p := range list {
					within = append(within, prefix(p))
					known = known || x.S1.Machine.Snapshot(x.Now).Clears(prefix(p))
				}
				if list != nil {
					want(t, "known before", known, c.ends+c.fails > 0)
				}
				bound := len(x.H.Bound)
				x.S1.Input(engine.Clear{Within: within})
				want(t, "ended", x.S1.Machine.Cleared(), engine.Cleared{Shortcuts: c.ends, Negatives: c.fails})
				shortcuts, negatives := []netip.Prefix{}, []netip.Addr{}
				if c.net2 {
					shortcuts = append(shortcuts, x.net2)
				}
				if c.net3 {
					shortcuts = append(shortcuts, x.net3)
				}
				for _, i := range c.nobody {
					negatives = append(negatives, x.nobody[i])
				}
				want(t, "left", x.left(), fmt.Sprint(shortcuts, negatives))
				want(t, "by", x.S1.Follow(addr(x.B)).String() == "S1 S2", c.net2)
				x.Run(time.Second)
				want(t, "registered at the hub", len(x.H.Bound), bound)
				want(t, "S1's server", x.S1.Machine.Snapshot(x.Now).Servers[0].State, engine.Up)
				back := x.S2.Follow(addr(x.A)).String() == "S2 S1"
				want(t, "the other end's", back, c.net2)
				x.S1.Input(engine.Clear{})
				x.S1.Input(engine.Clear{})
				want(t, "ended, when nothing is left", x.S1.Machine.Cleared(), engine.Cleared{})
				return x.World
			})
		}
	}
}

// TestAClearLosesNothing: packets go by the hub, and a Traffic Indication makes the shortcut anew, which
// a clear at the other end, or at both at once, ends likewise. What is registered and mapped stays.
func TestAClearLosesNothing(t *testing.T) {
	for _, ends := range [][]string{{"S1"}, {"S2"}, {"S1", "S2"}} {
		for _, six := range []bool{false, true} {
			for _, probe := range []time.Duration{0, time.Second} {
				scenario(t, fmt.Sprintf("at %v, IPv6 %v, probes %v", ends, six, probe), func(t *testing.T, reimport bool) *nhrptest.World {
					change := func(hub, s1, s2 *engine.Config) { hub.Probe, s1.Probe, s2.Probe = probe, probe, probe }
					c := nhrptest.NewCloud(1, reimport, change)
					if six {
						c = nhrptest.NewCloud6(1, reimport, change)
					}
					byHub, since := 0, c.Now
					c.After(20*time.Second, func() {
						want(t, "direct before", c.S1.Follow(addr(c.B)).String()+", "+c.S2.Follow(addr(c.A)).String(), "S1 S2, S2 S1")
						for _, n := range c.Nodes {
							if !slices.Contains(ends, n.Name) {
								continue
							}
							n.Input(engine.Clear{})
							want(t, n.Name+" ended", n.Machine.Cleared(), engine.Cleared{Shortcuts: 1})
						}
						if c.S1.Follow(addr(c.B)).String() == "S1 H S2" || c.S2.Follow(addr(c.A)).String() == "S2 H S1" {
							byHub++
						}
						since = c.Now
					})
					c.Run(time.Second)
					want(t, "lost", len(c.Stream(time.Minute, 20*time.Millisecond, 1400)), 0)
					want(t, "by the hub at once", byHub, 1)
					paths(t, c, "S1 S2", "S2 S1")
					for _, s := range c.S1.Machine.Snapshot(c.Now).Shortcuts {
						want(t, "made anew", s.Created.After(since), true)
					}
					return c.World
				})
			}
		}
	}
}

// TestAClearIsNothingToWhoStops, and does not hold the end up.
func TestAClearIsNothingToWhoStops(t *testing.T) {
	x := newCleared(false, false)
	x.S1.Input(engine.Stop{})
	x.S1.Input(engine.Clear{})
	want(t, "ended", x.S1.Machine.Cleared(), engine.Cleared{})
	x.Run(2 * time.Second)
	want(t, "stopped", x.S1.Machine.Stopped(), true)
	x.S1.Input(engine.Clear{})
	want(t, "ended", x.S1.Machine.Cleared(), engine.Cleared{})
}

// TestAClearLeavesWhatIsRegisteredAndMapped, at a hub and at a spoke.
func TestAClearLeavesWhatIsRegisteredAndMapped(t *testing.T) {
	for name, b := range map[string]*bench{
		"hub": hub(t),
		"spoke with a map": spoke(t, func(c *engine.Config) {
			c.Maps = []engine.Map{{Protocol: addr(s2Protocol), NBMA: addr(s2NBMA)}}
		}),
	} {
		before := fmt.Sprint(b.n.Bound, b.n.Installed, b.n.Accepted)
		b.take()
		b.n.Input(engine.Clear{})
		b.n.Input(engine.Clear{Within: []netip.Prefix{prefix(s2Protocol + "/32")}})
		b.silent()
		want(t, name, fmt.Sprint(b.n.Bound, b.n.Installed, b.n.Accepted), before)
		want(t, name+": S2 is bound", b.n.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
	}
}
