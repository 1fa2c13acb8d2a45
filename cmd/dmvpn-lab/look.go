// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// A sniff is tcpdump on a node's underlay, which ends with the first packet.
type sniff struct {
	node    *lab.Node
	process *lab.Process
	filter  string
}

// sniff starts tcpdump for ESP in UDP and waits until it listens. What begins with four
// octets of zero is IKE.
func (s *story) sniff(ctx context.Context, node *lab.Node, to string) (*sniff, error) {
	filter := "udp port 4500 and udp[8:4] != 0 and greater 100 and dst " + to
	p, err := node.Launch("tcpdump"+to, "tcpdump", "-tnqlc1", "-i", cloud.Underlay, filter)
	if err != nil {
		return nil, err
	}
	return &sniff{node, p, filter}, s.Until(ctx, stepPatience, func() error {
		if text := p.Output(); !strings.Contains(text, "listening on") {
			return fmt.Errorf("%s: tcpdump does not listen: %s", node.Name, text)
		}
		return nil
	})
}

// seen shows the packet.
func (s *story) seen(ctx context.Context, f *sniff) error {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if _, err := f.process.Wait(ctx); err != nil {
		return err
	}
	for line := range strings.SplitSeq(f.process.Output(), "\n") {
		if strings.HasPrefix(line, "IP ") {
			s.run(f.node.Name, "tcpdump -tnqlc1 -i "+cloud.Underlay+" '"+f.filter+"'")
			s.show(line)
			s.line("")
			return nil
		}
	}
	return fmt.Errorf("%s: tcpdump shows no packet: %s", f.node.Name, f.process.Output())
}

// passing counts what is as long as the packets of a stream on a node's underlay in a
// second.
func (s *story) passing(ctx context.Context, node *lab.Node, size int) (int, error) {
	c, err := node.Capture(cloud.Underlay, func(f lab.Frame) bool { return len(f.Data) > size && lab.IsESPInUDP(f.Data) })
	if err != nil {
		return 0, err
	}
	time.Sleep(time.Second)
	return len(c.Close()), ctx.Err()
}

// counts are a node's NHRP counters.
func (s *story) counts(ctx context.Context, node string) (counts map[string]uint64, err error) {
	err = s.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		stats, err := client.Stats(ctx)
		if err == nil {
			counts = stats.Tunnels[0].NHRP
		}
		return err
	})
	return counts, err
}

// path shows the hops of a trace.
func (s *story) path(from, to int, path []lab.Echo) {
	s.line(fmt.Sprintf("   the way from host%d to host%d, %v, by its hops:", from, to, cloud.Host(to)))
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
