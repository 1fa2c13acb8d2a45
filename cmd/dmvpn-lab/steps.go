// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/nhrpd/wire"
)

// wires shows the lab, and that without tunnels no LAN reaches another.
func (s *story) wires(ctx context.Context) error {
	s.say(`Every box is a network namespace with a network of its own. Hub and spokes
		run dmvpnd; the Internet between them knows nothing of the networks behind
		them, and the hub is far away.`)
	s.show(picture(3))
	s.line("")
	if _, err := s.Spokes[0].Ping(cloud.NBMA(2), 0, time.Second); err != nil {
		return fmt.Errorf("the Internet does not carry packets from spoke1 to spoke2: %w", err)
	}
	if e, err := s.Hosts[0].Ping(cloud.Host(2), 0, 300*time.Millisecond); err == nil && e.Reached {
		return fmt.Errorf("host1 reaches host2 though there is no tunnel yet")
	}
	s.holds("the Internet carries packets between hub and spokes")
	s.holds("host1 does not reach host2 at %v: nobody on the way knows that network", cloud.Host(2))
	return nil
}

// registration starts the daemons and waits for the spokes' registrations.
func (s *story) registration(ctx context.Context) error {
	s.say(`Of the others, each spoke is told the hub's address and nothing else. It
		registers its own tunnel address, where it is on the Internet, and the
		network behind it. The hub is told of no spoke: a fourth one would change
		nothing on it.`)
	if err := s.StartAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	for _, node := range []string{"hub", "spoke1"} {
		_, tunnel, _ := strings.Cut(s.Settings(node).TOML(), "\n[tunnel.")
		s.run(node, `sed -n '/^\[tunnel/,$p' dmvpn.toml`)
		s.show("[tunnel." + tunnel)
		s.line("")
	}
	if err := s.Until(ctx, 15*time.Second, func() error { return s.AllRegistered(ctx) }); err != nil {
		return err
	}
	out, err := s.Dmvpn(ctx, "hub", "show", "ip", "nhrp")
	if err != nil {
		return err
	}
	s.run("hub", "dmvpn show ip nhrp")
	s.show(out)
	s.line("")
	s.holds("three spokes are registered, %.1f s after the daemons were up", time.Since(began).Seconds())
	for n := range s.Spokes {
		if _, err := s.Hosts[n].Ping(cloud.Host(0), 0, 2*time.Second); err != nil {
			return err
		}
	}
	s.holds("every host reaches host0 behind the hub")
	return nil
}

// byHub sends the first packets from host1 to host2, and looks at their path.
func (s *story) byHub(ctx context.Context) (err error) {
	s.say(`host1 sends to host2. Spoke1 knows one way for all of 10.10.0.0/16: by the
		hub, which passes the packets on. From now on a stream of numbered packets
		runs beside what we do, to see whether any is lost.`)
	if s.nhrp, err = s.Spokes[0].Capture(cloud.Underlay, isNHRP); err != nil {
		return err
	}
	wire, err := s.sniff(ctx, s.Spokes[0], cloud.HubNBMA().String())
	if err != nil {
		return err
	}
	path, err := s.Hosts[0].Trace(ctx, cloud.Host(2))
	if err != nil {
		return err
	}
	if s.traffic, err = s.Hosts[0].Stream(s.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 100, 200); err != nil {
		return err
	}
	s.path(path)
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
	s.holds("the packets went by the hub, there and back in %s", ms(s.slow))
	return nil
}

// resolution waits for the shortcut and shows the messages that made it.
func (s *story) resolution(ctx context.Context) error {
	s.say(`The hub saw packets come in by the tunnel and leave by the tunnel, so it
		tells spoke1 that there is a shorter way. Spoke1 asks who has host2's
		address, by the hub; spoke2 answers with the whole network behind it.`)
	if err := s.Until(ctx, 5*time.Second, func() error { return s.Direct(ctx, "spoke1", cloud.Network(2)) }); err != nil {
		return err
	}
	seen := map[wire.Type]bool{}
	var first time.Time
	s.run("spoke1", "NHRP on eth0")
	for _, f := range s.nhrp.Frames() {
		m, ok := readNHRP(f)
		if !ok || m.packet.Type == wire.RegistrationRequest || m.packet.Type == wire.RegistrationReply {
			continue
		}
		if first.IsZero() {
			first = m.at
		}
		if !seen[m.packet.Type] || m.packet.Type != wire.TrafficIndication {
			s.show(fmt.Sprintf("%4d ms  %v → %v", m.at.Sub(first).Milliseconds(), m.from, m.to))
			s.show("         " + m.text())
		}
		seen[m.packet.Type] = true
	}
	for _, t := range []wire.Type{wire.TrafficIndication, wire.ResolutionRequest, wire.ResolutionReply} {
		if !seen[t] {
			return fmt.Errorf("spoke1 has a shortcut, but no %v was on its wire", t)
		}
	}
	out, err := s.Spokes[0].Run(ctx, "ip", "route", "show", "proto", fmt.Sprint(cloud.RouteProtocol))
	if err != nil {
		return err
	}
	s.line("")
	s.run("spoke1", "ip route show proto "+fmt.Sprint(cloud.RouteProtocol))
	s.show(out)
	s.line("")
	s.holds("spoke1 has a route of its own to %v, by %v", cloud.Network(2), cloud.TunnelAddress(2))
	return nil
}

// direct looks at the path again.
func (s *story) direct(ctx context.Context) error {
	if err := s.Until(ctx, 5*time.Second, func() error { return s.Direct(ctx, "spoke2", cloud.Network(1)) }); err != nil {
		return fmt.Errorf("the way back: %w", err)
	}
	s.say(`The same packets again. Spoke2 has found the way back in the same manner;
		the hub sees nothing of them any more.`)
	// On a busy machine a packet may be late: then the next one is looked at.
	var path []lab.Echo
	err := s.Until(ctx, 5*time.Second, func() (err error) {
		if path, err = s.Hosts[0].Trace(ctx, cloud.Host(2)); err != nil {
			return err
		}
		if fast := path[len(path)-1].RTT; fast > s.slow/2 {
			return fmt.Errorf("the round trip is %v directly, and %v by the hub", fast, s.slow)
		}
		return hops(path, cloud.Gateway(1), cloud.TunnelAddress(2), cloud.Host(2))
	})
	if err != nil {
		return err
	}
	s.path(path)
	fast := path[len(path)-1].RTT
	wire, err := s.sniff(ctx, s.Spokes[0], cloud.NBMA(2).String())
	if err != nil {
		return err
	}
	if err := s.seen(ctx, wire); err != nil {
		return err
	}
	s.holds("there and back in %s instead of %s", ms(fast), ms(s.slow))
	atHub, err := s.Hub.Capture(cloud.Underlay, func(f lab.Frame) bool { _, _, gre := lab.GRE(f.Data); return gre && !isNHRP(f) })
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	if n := len(atHub.Close()); n > 0 {
		return fmt.Errorf("the hub still sees %d packets of the stream in a second", n)
	}
	s.holds("the stream goes on, and the hub sees no packet of it")
	r := s.traffic.Stop()
	if r.Lost() > 0 || r.Duplicated > 0 {
		return fmt.Errorf("the stream: %v", r)
	}
	s.holds("of its %d numbered packets, sent before, while and after the way changed, none was lost", r.Sent)
	return nil
}

// path shows the hops of a trace.
func (s *story) path(path []lab.Echo) {
	s.line(fmt.Sprintf("   the way from host1 to %v, by its hops:", cloud.Host(2)))
	for i, e := range path {
		s.show(fmt.Sprintf("%d  %-12v %8s   %s", i+1, e.From, ms(e.RTT), whose(e.From)))
	}
	s.line("")
}

// hops is nil when a trace went exactly this way.
func hops(path []lab.Echo, want ...netip.Addr) error {
	same := len(path) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = path[i].From == want[i]
	}
	if same {
		return nil
	}
	var got []netip.Addr
	for _, e := range path {
		got = append(got, e.From)
	}
	return fmt.Errorf("the path is %v, not %v", got, want)
}

// whose names the owner of an address.
func whose(a netip.Addr) string {
	if a == cloud.HubTunnel() || a == cloud.Gateway(0) {
		return "hub"
	}
	for n := 1; n <= 3; n++ {
		switch a {
		case cloud.Gateway(n), cloud.TunnelAddress(n):
			return fmt.Sprint("spoke", n)
		case cloud.Host(n):
			return fmt.Sprint("host", n)
		}
	}
	return ""
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
