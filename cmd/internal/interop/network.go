// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"

	"dmvpn/cmd/internal/lab"
)

// A place is a node where one of the two programs runs, with a GRE tunnel to the
// other one's place.
type place struct {
	node    *lab.Node
	address netip.Addr // its own
	seen    netip.Addr // from where its packets seem to come
	wire    string     // the device at the other end of its wire, of inet
	overlay netip.Addr
	lan     netip.Prefix
}

// A network is the wires of one trial:
//
//	left 198.51.100.11 ── 198.51.100.1 ┐
//	                                   inet 192.0.2.1 ── 192.0.2.2 right
//	inside 10.99.2.22 ── nat 203.0.113.22 ┘
//
// Who initiates is left, or inside where a NAT has to be on the way; who responds
// is right. GRE runs between them, 10.0.0.11 to 10.0.0.1. In a DMVPN right is the hub, and
// there may be another spoke, far 203.0.113.22, 10.0.0.12.
type network struct {
	lab           *lab.Lab
	bare          bool // there is no GRE: nothing goes through
	first, second place
	third         place // another spoke, where the scenario has one
}

const (
	grePrefix = "/24"
	greKey    = 42 // of multipoint GRE

	secondAddress, secondOverlay = "192.0.2.2", "10.0.0.1"
	firstOverlay, firstLAN       = "10.0.0.11", "10.10.1.0/24"
	thirdOverlay, thirdLAN       = "10.0.0.12", "10.10.2.0/24"
	lans                         = "10.10.0.0/16" // those of all
)

func newNetwork(ctx context.Context, name string, s *scenario) (*network, error) {
	l, err := lab.New(name)
	if err != nil {
		return nil, err
	}
	w := &network{lab: l, bare: s.both.bare}
	err = w.build(ctx, s.nat)
	switch {
	case err != nil:
	case s.multipoint:
		err = w.sites(s.three)
	default:
		err = w.inside()
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return w, nil
}

func (w *network) build(ctx context.Context, nat bool) error {
	l := w.lab
	l.Router("inet")
	right := l.Node("right")
	l.Wire(&lab.Wire{A: lab.End{Node: "right", Device: "eth0", Address: secondAddress + "/24"}, B: lab.End{Node: "inet", Device: "right", Address: "192.0.2.1/24"}})
	right.Route("192.0.2.1", "default")
	w.second = place{node: right, wire: "right", address: netip.MustParseAddr(secondAddress), overlay: netip.MustParseAddr(secondOverlay)}
	w.second.seen = w.second.address
	if nat {
		inside, gate := l.Node("inside"), l.Router("nat")
		l.Wire(&lab.Wire{A: lab.End{Node: "inside", Device: "eth0", Address: "10.99.2.22/24"}, B: lab.End{Node: "nat", Device: "in", Address: "10.99.2.1/24"}})
		l.Wire(&lab.Wire{A: lab.End{Node: "nat", Device: "out", Address: "203.0.113.22/24"}, B: lab.End{Node: "inet", Device: "nat", Address: "203.0.113.1/24"}})
		inside.Route("10.99.2.1", "default")
		gate.Route("203.0.113.1", "default")
		w.first = place{node: inside, wire: "nat", address: netip.MustParseAddr("10.99.2.22"), seen: netip.MustParseAddr("203.0.113.22")}
		if err := l.Err(); err != nil {
			return err
		}
		// What nobody inside asked for is dropped before it becomes a connection.
		for _, rule := range [][]string{
			{"-t", "nat", "-A", "POSTROUTING", "-o", "out", "-j", "MASQUERADE"},
			{"-A", "INPUT", "-i", "out", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"},
		} {
			if _, err := gate.Run(ctx, "iptables-legacy", rule...); err != nil {
				return err
			}
		}
	} else {
		left := l.Node("left")
		l.Wire(&lab.Wire{A: lab.End{Node: "left", Device: "eth0", Address: "198.51.100.11/24"}, B: lab.End{Node: "inet", Device: "left", Address: "198.51.100.1/24"}})
		left.Route("198.51.100.1", "default")
		w.first = place{node: left, wire: "left", address: netip.MustParseAddr("198.51.100.11")}
		w.first.seen = w.first.address
	}
	w.first.overlay = netip.MustParseAddr(firstOverlay)
	return l.Err()
}

// sites makes the LANs of a DMVPN, and the other spoke.
func (w *network) sites(three bool) error {
	w.first.lan, w.second.lan = netip.MustParsePrefix(firstLAN), netip.MustParsePrefix("10.10.0.0/24")
	all := []*place{&w.first, &w.second}
	if three {
		l := w.lab
		far := l.Node("far")
		l.Wire(&lab.Wire{A: lab.End{Node: "far", Device: "eth0", Address: "203.0.113.22/24"}, B: lab.End{Node: "inet", Device: "far", Address: "203.0.113.1/24"}})
		far.Route("203.0.113.1", "default")
		w.third = place{node: far, wire: "far", address: netip.MustParseAddr("203.0.113.22"), overlay: netip.MustParseAddr(thirdOverlay), lan: netip.MustParsePrefix(thirdLAN)}
		w.third.seen = w.third.address
		all = append(all, &w.third)
	}
	for _, p := range all {
		if err := p.node.Net.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}); err != nil {
			return fmt.Errorf("node %s: lan: %w", p.node.Name, err)
		}
		p.node.Address("lan", p.gateway().String()+"/24")
		p.node.Sysctl("net/ipv4/ip_forward", "1")
		if err := p.node.SetUp("lan", true); err != nil {
			return err
		}
	}
	return w.lab.Err()
}

// gateway is the place's address in its LAN.
func (p place) gateway() netip.Addr { return p.lan.Addr().Next() }

// inside makes what the SAs are for.
func (w *network) inside() error {
	if w.bare {
		return errors.Join(w.first.node.AddAddress("lo", w.first.overlay.String()+"/32"), w.second.node.AddAddress("lo", w.second.overlay.String()+"/32"))
	}
	if err := tunnel(w.first, w.second); err != nil {
		return err
	}
	return tunnel(w.second, w.first)
}

// tunnel makes the GRE tunnel of one place to another.
func tunnel(at, to place) error {
	gre := &netlink.Gretun{
		LinkAttrs: netlink.LinkAttrs{Name: "gre1", MTU: 1400},
		Local:     net.IP(at.address.AsSlice()), Remote: net.IP(to.seen.AsSlice()), Ttl: 64, PMtuDisc: 1,
	}
	if err := at.node.Net.LinkAdd(gre); err != nil {
		return fmt.Errorf("node %s: GRE tunnel: %w", at.node.Name, err)
	}
	if err := at.node.AddAddress("gre1", at.overlay.String()+grePrefix); err != nil {
		return err
	}
	// IPv6 would look for neighbours, in clear while no SA is there.
	err := at.node.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/gre1/disable_ipv6", []byte("1"), 0) })
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node %s: %w", at.node.Name, err)
	}
	return at.node.SetUp("gre1", true)
}

// cut takes the wire to the first place away; nobody is told.
func (w *network) cut() error { return w.wire(false) }

// mend gives it back.
func (w *network) mend() error { return w.wire(true) }

func (w *network) wire(up bool) error { return w.lab.Get("inet").SetUp(w.first.wire, up) }

// ping sends so many pings through the tunnel, from the first to the second; all
// must be answered. Without a tunnel there is nothing to ask.
func (w *network) ping(count int) error {
	if w.bare {
		return nil
	}
	for range count {
		if _, err := w.first.node.Ping(w.second.overlay, 0, 5*time.Second); err != nil {
			return fmt.Errorf("through the tunnel: %w", err)
		}
	}
	return nil
}
