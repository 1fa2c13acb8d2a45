// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// The daemons stay dead for so long.
const demoDead = 3 * time.Second

// crash kills daemons under two streams, and starts them again.
func (s *story) crash(ctx context.Context) error {
	s.say(`To prove it: dmvpnd is killed on hub, spoke1 and spoke2, all at once and
		without a word, under 1,000 packets a second from host1 to host2 (directly)
		and as many to host0 (at the hub).`)
	nodes := []string{"hub", "spoke1", "spoke2"}
	var streams []*lab.Stream
	for _, to := range []struct {
		node *lab.Node
		n    int
	}{{s.Hosts[1], 2}, {s.HubHost, 0}} {
		stream, err := s.Hosts[0].Stream(to.node, netip.AddrPortFrom(cloud.Host(to.n), 4001), 1000, 200)
		if err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	if err := s.Until(ctx, 5*time.Second, func() error { return s.Direct(ctx, "spoke1", cloud.Network(2)) }); err != nil {
		return err
	}
	peers, carriers := map[string][]string{}, map[string]int{}
	for _, node := range nodes {
		var err error
		if carriers[node], err = s.Get(node).CarrierLosses(ctx, cloud.Device); err != nil {
			return err
		}
		peers[node] = s.PeerNames(ctx, node)
	}
	for _, node := range nodes {
		s.run(node, fmt.Sprintf("kill -9 %d", s.Daemon(node).Pid()))
		if err := s.Kill(ctx, node); err != nil {
			return err
		}
	}
	if err := streams[0].Run(ctx, demoDead); err != nil {
		return err
	}
	s.say("%v later:", demoDead)
	for _, node := range nodes {
		s.run(node, "dmvpnd -c dmvpn.toml &")
		if err := s.Start(node); err != nil {
			return err
		}
	}
	for _, node := range nodes {
		if err := s.Ready(ctx, node); err != nil {
			return err
		}
		if now := s.PeerNames(ctx, node); !slices.Equal(now, peers[node]) {
			return fmt.Errorf("%s had the peers %q, and has %q now", node, peers[node], now)
		}
	}
	if err := s.Direct(ctx, "spoke1", cloud.Network(2)); err != nil {
		return err
	}
	for _, node := range nodes {
		losses, err := s.Get(node).CarrierLosses(ctx, cloud.Device)
		if err != nil {
			return err
		}
		if losses != carriers[node] {
			return fmt.Errorf("%s: the tunnel has lost its carrier", node)
		}
	}
	s.line("")
	var sent uint64
	for _, stream := range streams {
		r := stream.Stop()
		if r.Lost() > 0 || r.Duplicated > 0 {
			return fmt.Errorf("a stream: %v", r)
		}
		sent += r.Sent
	}
	s.holds("of %d numbered packets, sent before, while and after no daemon ran, none was lost", sent)
	s.holds("the tunnels kept their carrier: a routing daemon would have noticed nothing")
	s.holds("the new daemons took up what was there: the same peers, the same shortcut")
	return nil
}
