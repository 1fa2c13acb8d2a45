// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// A sniff is tcpdump on a node's underlay, which ends with the first packet.
type sniff struct {
	node    *lab.Node
	process *lab.Process
	filter  string
}

// isData is GRE that carries IPv4, as tcpdump says it.
const isData = "ip proto 47 and ip[22:2] = 0x0800"

// sniff starts tcpdump and waits until it listens.
func (s *story) sniff(ctx context.Context, node *lab.Node, to string) (*sniff, error) {
	filter := isData + " and dst " + to
	p, err := node.Launch("tcpdump"+to, "tcpdump", "-tnqlc1", "-i", cloud.Underlay, filter)
	if err != nil {
		return nil, err
	}
	return &sniff{node, p, filter}, s.Until(ctx, 5*time.Second, func() error {
		if text := p.Output(); !strings.Contains(text, "listening on") {
			return fmt.Errorf("%s: tcpdump does not listen: %s", node.Name, text)
		}
		return nil
	})
}

// seen shows the packet, the one inside on a line of its own.
func (s *story) seen(ctx context.Context, f *sniff) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := f.process.Wait(ctx); err != nil {
		return err
	}
	for line := range strings.SplitSeq(f.process.Output(), "\n") {
		outer, inner, found := strings.Cut(line, ": IP ")
		if found && strings.Contains(outer, "GREv0") {
			s.run(f.node.Name, "tcpdump -tnqlc1 -i "+cloud.Underlay+" '"+f.filter+"'")
			s.show(outer + ":\n  IP " + inner)
			s.line("")
			return nil
		}
	}
	return fmt.Errorf("%s: tcpdump shows no packet in a packet: %s", f.node.Name, f.process.Output())
}
