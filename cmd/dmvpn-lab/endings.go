// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// shown prints the command line's summary on hub and spoke.
func (s *story) shown(ctx context.Context) error {
	s.say("The command line is modelled on what operators know from Cisco.")
	for _, node := range []string{"hub", "spoke1"} {
		out, err := s.Dmvpn(ctx, node, "show", "dmvpn")
		if err != nil {
			return err
		}
		s.run(node, "dmvpn show dmvpn")
		s.show(out)
		s.line("")
		want := []string{cloud.NBMA(2).String(), cloud.TunnelAddress(2).String()}
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

// kernel shows a pinned map and the programs.
func (s *story) kernel(ctx context.Context) error {
	s.say(`The packets themselves never meet dmvpnd: two BPF programs wrap and unwrap
		them, by tables that are pinned and readable. They need the daemon to learn of
		peers, not to forward.`)
	const pins = "/sys/fs/bpf/dmvpn/default/"
	const dump = "bpftool map dump pinned " + pins + "dmvpn_nexthop | jq -c '.[]'"
	out, err := s.Spokes[0].Run(ctx, "sh", "-c", dump)
	if err != nil {
		return err
	}
	s.run("spoke1", dump)
	s.show(out)
	for _, field := range []string{"nexthop", "tunnel_ifindex", "peer"} {
		if !strings.Contains(out, field) {
			return fmt.Errorf("the dump of dmvpn_nexthop has no field %s", field)
		}
	}
	s.line("")
	for _, program := range []string{cloud.Device + "/dmvpn_encap", cloud.Underlay + "/dmvpn_decap"} {
		out, err := s.Spokes[0].Run(ctx, "bpftool", "prog", "show", "pinned", pins+"dev/"+program)
		if err != nil {
			return err
		}
		s.run("spoke1", "bpftool prog show pinned "+pins+"dev/"+program)
		first, _, _ := strings.Cut(out, "\n")
		s.show(first)
	}
	s.line("")
	attached, err := s.Attached(ctx, "spoke1")
	if err != nil {
		return err
	}
	for _, want := range []string{cloud.Device + " egress dmvpn_encap", cloud.Underlay + " ingress dmvpn_decap"} {
		if !slices.Contains(attached, want) {
			return fmt.Errorf("%q is not among the attached programs %q", want, attached)
		}
	}
	s.holds("dmvpn_encap sits at the tunnel's egress, dmvpn_decap at the Internet's ingress")
	return nil
}

// expiry waits until the shortcut is gone at both ends.
func (s *story) expiry(ctx context.Context) error {
	s.say(`A shortcut costs both ends a little, so one without traffic goes: after five
		minutes as a rule, here after %v. The streams have ended; we wait.`, demoIdle)
	began := time.Now()
	for _, end := range []struct {
		node   string
		prefix int
	}{{"spoke1", 2}, {"spoke2", 1}} {
		if err := s.Until(ctx, 4*demoIdle, func() error { return s.Indirect(ctx, end.node, cloud.Network(end.prefix)) }); err != nil {
			return err
		}
	}
	out, err := s.Dmvpn(ctx, "spoke1", "shortcut")
	if err != nil {
		return err
	}
	s.run("spoke1", "dmvpn shortcut")
	s.show(out)
	s.line("")
	s.holds("after %.0f s the shortcut and its routes are gone, on spoke1 and on spoke2", time.Since(began).Seconds())
	return nil
}

// back looks at the path for the third time.
func (s *story) back(ctx context.Context) error {
	s.say("Host1 sends to host2 once more, as at the beginning.")
	path, err := s.Hosts[0].Trace(ctx, cloud.Host(2))
	if err != nil {
		return err
	}
	s.path(path)
	if err := hops(path, cloud.Gateway(1), cloud.HubTunnel(), cloud.TunnelAddress(2), cloud.Host(2)); err != nil {
		return err
	}
	s.holds("by the hub again, until the next redirect, which is on its way already")
	return nil
}

// nothingLeft tears the daemons down and looks for remains.
func (s *story) nothingLeft(ctx context.Context) error {
	s.say("dmvpn teardown ends the daemon and takes device, routes and programs away.")
	nodes := []string{"hub"}
	for _, spoke := range s.Spokes {
		nodes = append(nodes, spoke.Name)
	}
	for _, node := range nodes {
		if err := s.Teardown(ctx, node); err != nil {
			return err
		}
		if err := s.Until(ctx, 5*time.Second, func() error { return s.Clean(ctx, node) }); err != nil {
			return err
		}
	}
	s.holds("no device, no route, no pin, no program, no process remains on hub and spokes")
	return nil
}
