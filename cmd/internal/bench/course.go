// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"dmvpn/cmd/internal/lab"
)

// A course is two sites with a tunnel between their gateways, every tunnel on a course
// of its own:
//
//	host-a 10.1.1.2 ── a 192.0.2.1 ══════ 192.0.2.2 b ── 10.1.2.2 host-b
//
// The gateways have no route to each other's site but by the tunnel.
type course struct {
	name               string
	hostA, a, b, hostB *lab.Node
}

const (
	siteA, siteB   = "10.1.1.0/24", "10.1.2.0/24"
	hostAddressA   = "10.1.1.2"
	hostAddressB   = "10.1.2.2"
	gatewayA       = "192.0.2.1"
	gatewayB       = "192.0.2.2"
	tunnelAddressA = "10.0.0.1"
	tunnelAddressB = "10.0.0.2"
	// innerMTU is that of every tunnel.
	innerMTU = 1400
)

func newCourse(l *lab.Lab, name string) *course {
	c := &course{name: name, hostA: l.Node("hosta" + name), a: l.Router("a" + name), b: l.Router("b" + name), hostB: l.Node("hostb" + name)}
	l.Wire(&lab.Wire{A: lab.End{Node: c.hostA.Name, Device: "eth0", Address: hostAddressA + "/24"}, B: lab.End{Node: c.a.Name, Device: "lan0", Address: "10.1.1.1/24"}})
	l.Wire(&lab.Wire{A: lab.End{Node: c.a.Name, Device: "wan0", Address: gatewayA + "/24"}, B: lab.End{Node: c.b.Name, Device: "wan0", Address: gatewayB + "/24"}})
	l.Wire(&lab.Wire{A: lab.End{Node: c.hostB.Name, Device: "eth0", Address: hostAddressB + "/24"}, B: lab.End{Node: c.b.Name, Device: "lan0", Address: "10.1.2.1/24"}})
	c.hostA.Route("10.1.1.1", "default")
	c.hostB.Route("10.1.2.1", "default")
	return c
}

// routed fails unless both gateways route to the other site by the tunnel device, which
// has the MTU of all.
func (c *course) routed(ctx context.Context, device string) error {
	for _, g := range []struct {
		node *lab.Node
		to   string
	}{{c.a, hostAddressB}, {c.b, hostAddressA}} {
		out, err := g.node.Run(ctx, "ip", "route", "get", g.to)
		if err != nil {
			return err
		}
		if !strings.Contains(out, "dev "+device+" ") {
			return fmt.Errorf("%s: packets to %s would go by the tunnel's device: %s", g.node.Name, g.to, out)
		}
		link, err := g.node.Net.LinkByName(device)
		if err != nil {
			return err
		}
		if mtu := link.Attrs().MTU; mtu != innerMTU {
			return fmt.Errorf("%s: the MTU of %s is %d, not %d", g.node.Name, device, mtu, innerMTU)
		}
	}
	return nil
}

// both runs a command with its arguments in both gateways.
func (c *course) both(ctx context.Context, arguments func(self, peer end) []string) error {
	for _, s := range [][2]end{{endA, endB}, {endB, endA}} {
		args := arguments(s[0], s[1])
		if _, err := c.node(s[0]).Run(ctx, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// end is one end of a tunnel.
type end struct{ name, gateway, tunnel, site string }

var (
	endA = end{"a", gatewayA, tunnelAddressA, siteA}
	endB = end{"b", gatewayB, tunnelAddressB, siteB}
)

func (c *course) node(s end) *lab.Node {
	if s == endA {
		return c.a
	}
	return c.b
}
