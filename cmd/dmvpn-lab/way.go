// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// byHub sends the first packets from host1 to host2, and looks at their path.
func (s *story) byHub(ctx context.Context) error {
	s.say(`host1 sends to host2. Spoke1 knows one way for all of 10.10.0.0/16: by the
		hub, which opens the packets and seals them again for spoke2. From now on a
		stream of numbered packets runs beside what we do, to see whether any is lost.`)
	wire, err := s.sniff(ctx, s.Spokes[0], cloud.HubNBMA().String())
	if err != nil {
		return err
	}
	path, err := s.Hosts[0].Trace(ctx, cloud.Host(2))
	if err != nil {
		return err
	}
	if err := s.stream(1, 2); err != nil {
		return err
	}
	s.path(1, 2, path)
	if err := hops(path, cloud.Gateway(1), cloud.HubTunnel(), cloud.TunnelAddress(2), cloud.Host(2)); err != nil {
		return err
	}
	if err := s.seen(ctx, wire); err != nil {
		return err
	}
	s.slow = path[len(path)-1].RTT
	if floor := 2 * (2*hubDelay + 2*spokeDelay); s.slow < floor {
		return fmt.Errorf("the round trip is %v, the wires alone take %v", s.slow, floor)
	}
	s.holds("the packets went by the hub, sealed, there and back in %s", ms(s.slow))
	return nil
}

// resolution waits for the shortcut and shows the messages that made it.
func (s *story) resolution(ctx context.Context) error {
	s.say(`The hub saw packets come in by the tunnel and leave by the tunnel, so it
		tells spoke1 that there is a shorter way. Spoke1 asks who has host2's
		address, by the hub; spoke2 answers with the whole network behind it. Then
		the two agree on keys, directly: spoke2's NAT opens as its own first packet
		goes out. Until ESP stands, packets go by the hub.`)
	if err := s.shortcut(ctx, 1, 2); err != nil {
		return err
	}
	counts, err := s.counts(ctx, "spoke1")
	if err != nil {
		return err
	}
	wanted := []string{"traffic-indication-received", "resolution-request-sent", "resolution-reply-received"}
	s.run("spoke1", "dmvpn stats | egrep '^("+strings.Join(wanted, "|")+")'")
	for _, name := range wanted {
		s.show(fmt.Sprintf("%-28s %5d", name, counts[name]))
		if counts[name] == 0 {
			return fmt.Errorf("spoke1 has a shortcut, but counts no %s", name)
		}
	}
	s.line("")
	sa, err := s.Secured(ctx, "spoke1", "spoke2")
	if err != nil {
		return err
	}
	trace, err := s.Dmvpn(ctx, "spoke1", "ike", "trace", "--last")
	if err != nil {
		return err
	}
	s.run("spoke1", "dmvpn ike trace --last | grep "+sa.Remote.Addr().String()+": | cut -d' ' -f2-6")
	for l := range strings.SplitSeq(trace, "\n") {
		if words := strings.Fields(l); len(words) > 6 && strings.Contains(l, sa.Remote.Addr().String()+":") {
			s.show(strings.Join(words[1:6], " "))
		}
	}
	s.line("")
	out, err := s.Spokes[0].Run(ctx, "ip", "route", "show", "proto", fmt.Sprint(cloud.RouteProtocol), cloud.Network(2).String())
	if err != nil {
		return err
	}
	s.run("spoke1", "ip route show proto "+fmt.Sprint(cloud.RouteProtocol)+" "+cloud.Network(2).String())
	s.show(out)
	s.line("")
	s.holds("spoke1 has a route of its own to %v, and an SA with %s at %v", cloud.Network(2), sa.RemoteID, sa.Remote)
	s.holds("keys by %s, data by %s", sa.KeyExchange+strings.Join(append([]string{""}, sa.Further...), " and "), sa.Children[0].Encryption)
	return nil
}

// shortcut lets hosts behind two spokes ask each other until both spokes have routes and
// SAs with one another.
func (s *story) shortcut(ctx context.Context, a, b int) error {
	for _, ends := range [][2]int{{a, b}, {b, a}} {
		node, other := fmt.Sprint("spoke", ends[0]), fmt.Sprint("spoke", ends[1])
		err := s.Until(ctx, stepPatience, func() error {
			if _, err := s.Hosts[ends[0]-1].Ping(cloud.Host(ends[1]), 0, time.Second); err != nil {
				return err
			}
			if _, err := s.Secured(ctx, node, other); err != nil {
				return err
			}
			return s.Direct(ctx, node, cloud.Network(ends[1]))
		})
		if err != nil {
			return err
		}
	}
	s.had[pair{min(a, b), max(a, b)}] = true
	return nil
}

// directly traces until a host's packets go by the two spokes alone, and faster than
// before: on a busy machine a packet may be late, then the next one is looked at.
func (s *story) directly(ctx context.Context, from, to int) (path []lab.Echo, err error) {
	err = s.Until(ctx, stepPatience, func() (err error) {
		if path, err = s.Hosts[from-1].Trace(ctx, cloud.Host(to)); err != nil {
			return err
		}
		if fast := path[len(path)-1].RTT; fast > s.slow/2 {
			return fmt.Errorf("the round trip is %v directly, and %v by the hub", fast, s.slow)
		}
		return hops(path, cloud.Gateway(from), cloud.TunnelAddress(to), cloud.Host(to))
	})
	return path, err
}

// direct looks at the path again, in both directions.
func (s *story) direct(ctx context.Context) error {
	s.say(`The same packets again, and those the other way. Spoke1 sends to the port
		that the NAT has for spoke2; the hub sees nothing of them any more.`)
	fast := [2]time.Duration{}
	for i, ends := range [][2]int{{1, 2}, {2, 1}} {
		path, err := s.directly(ctx, ends[0], ends[1])
		if err != nil {
			return err
		}
		s.path(ends[0], ends[1], path)
		fast[i] = path[len(path)-1].RTT
	}
	wire, err := s.sniff(ctx, s.Spokes[0], cloud.NATAddress(1).String())
	if err != nil {
		return err
	}
	if err := s.seen(ctx, wire); err != nil {
		return err
	}
	s.holds("there and back in %s instead of %s, from host2 in %s", ms(fast[0]), ms(s.slow), ms(fast[1]))
	if n, err := s.passing(ctx, s.Hub, streamSize(1, 2)); err != nil || n > 0 {
		return fmt.Errorf("the hub still sees %d packets of the stream in a second: %v", n, err)
	}
	s.holds("the stream goes on, and the hub sees no packet of it")
	sent, err := s.whole(1, 2)
	if err != nil {
		return err
	}
	s.holds("of its %d numbered packets, sent before, while and after the way changed, none was lost", sent)
	return errors.Join(s.both(1, 2), s.draw(ctx))
}

// inside is about the two spokes that share a NAT.
func (s *story) inside(ctx context.Context) error {
	s.say(`host2 sends to host3. Both spokes have the same public address, and few NATs
		lead back to where a packet came from. But each has told the hub its own
		address too: those are tried first.`)
	if err := s.both(2, 3); err != nil {
		return err
	}
	if err := s.shortcut(ctx, 2, 3); err != nil {
		return err
	}
	path, err := s.directly(ctx, 2, 3)
	if err != nil {
		return err
	}
	s.path(2, 3, path)
	sa, err := s.Secured(ctx, "spoke2", "spoke3")
	if err != nil {
		return err
	}
	if sa.Remote.Addr() != cloud.Private(1, 3) {
		return fmt.Errorf("spoke2 has spoke3 at %v, not at %v", sa.Remote, cloud.Private(1, 3))
	}
	wire, err := s.sniff(ctx, s.Spokes[1], cloud.Private(1, 3).String())
	if err != nil {
		return err
	}
	if err := s.seen(ctx, wire); err != nil {
		return err
	}
	if n, err := s.passing(ctx, s.NATs[0], streamSize(2, 3)); err != nil || n > 0 {
		return fmt.Errorf("%d packets of the streams left the NAT in a second: %v", n, err)
	}
	s.holds("there and back in %s, by the private addresses: not a packet leaves the NAT", ms(path[len(path)-1].RTT))
	return s.draw(ctx)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
