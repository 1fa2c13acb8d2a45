// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// expiry makes a third shortcut, and waits until it is gone at both ends, while the
// others are in use.
func (s *story) expiry(ctx context.Context) error {
	s.say(`host1 sends to host3, once: a third shortcut. One without traffic goes: after
		five minutes as a rule, here after %v. The streams go on by the other two.`, demoIdle)
	if err := s.shortcut(ctx, 1, 3); err != nil {
		return err
	}
	if err := s.draw(ctx); err != nil {
		return err
	}
	s.holds("spoke1 and spoke3 have routes and SAs with each other")
	began := time.Now()
	err := s.Until(ctx, 5*demoIdle, func() error {
		for _, end := range []pair{{1, 3}, {3, 1}} {
			node := fmt.Sprint("spoke", end.from)
			if err := s.Indirect(ctx, node, cloud.Network(end.to)); err != nil {
				return err
			}
			if err := s.OnlySecured(ctx, node, "hub", "spoke2"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.line("")
	for _, command := range []string{"shortcut", "ike"} {
		if _, err := s.dmvpn(ctx, "spoke3", command); err != nil {
			return err
		}
	}
	s.holds("after %.0f s the shortcut, its routes, its Child SA and its IKE SA are gone, on spoke1 and on spoke3", took.Seconds())
	s.holds("what is in use stays: the SAs with the hub, and the other shortcuts")
	return s.draw(ctx)
}

// shown prints the command line's summary on hub and spoke.
func (s *story) shown(ctx context.Context) error {
	s.say("The command line is modelled on what operators know from Cisco.")
	for _, node := range []string{"hub", "spoke1"} {
		out, err := s.dmvpn(ctx, node, "show dmvpn")
		if err != nil {
			return err
		}
		want := []string{cloud.NATAddress(1).String(), cloud.TunnelAddress(2).String()}
		if node == "spoke1" {
			want = append(want, cloud.HubNBMA().String(), cloud.HubTunnel().String())
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				return fmt.Errorf("%s: dmvpn show dmvpn does not show %s", node, w)
			}
		}
	}
	s.holds("the hub lists its spokes, spoke1 the hub and spoke2")
	return nil
}

// proof says what was on the wires outside.
func (s *story) proof(ctx context.Context) error {
	s.say(`Every frame on every wire outside was looked at, before and behind the NAT,
		since before the first daemon ran: while the tunnels came up, while daemons
		were dead, while SAs came and went.`)
	for p := range s.traffic {
		s.end(p.from, p.to)
	}
	sight, err := s.outside.Look()
	if err != nil {
		return err
	}
	s.show(strings.ReplaceAll(sight.String(), ", ", "\n"))
	s.line("")
	if sight.Seen[cloud.KindIKE] == 0 || sight.Seen[cloud.KindESPinUDP] == 0 {
		return fmt.Errorf("neither IKE nor ESP was seen: %v", sight)
	}
	s.holds("that is all that %d wires carried: nothing of it was in clear", sight.Wires)
	s.holds("no address of the overlay or of a LAN stood in an outer header")
	s.holds("of %d packets that were sealed, no two had the same key and IV", sight.Sealed)
	return nil
}

// nothingLeft tears the daemons down and looks for remains.
func (s *story) nothingLeft(ctx context.Context) error {
	s.say(`dmvpn teardown ends the daemon and takes device, routes and programs away. Only
		unreachable routes stay, so that nothing follows the default route instead.`)
	nodes := []string{"hub"}
	for _, spoke := range s.Spokes {
		nodes = append(nodes, spoke.Name)
	}
	for _, node := range nodes {
		if err := s.Teardown(ctx, node); err != nil {
			return err
		}
		if err := s.Until(ctx, stepPatience, func() error { return s.Clean(ctx, node) }); err != nil {
			return err
		}
	}
	s.holds("no device, no way through, no pin, no program, no process remains on hub and spokes")
	if e, err := s.Hosts[0].Ping(cloud.Host(2), 0, 300*time.Millisecond); err == nil && e.Reached {
		return fmt.Errorf("host1 reaches host2 though there is no tunnel any more")
	}
	if _, err := s.outside.Close(); err != nil {
		return err
	}
	s.holds("and to the last, nothing went in clear")
	return nil
}
