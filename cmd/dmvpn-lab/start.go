// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// wires shows the lab, and that without tunnels no LAN reaches another.
func (s *story) wires(ctx context.Context) error {
	s.say(`Every box is a network namespace with a network of its own. Hub and spokes
		run dmvpnd; the Internet between them knows nothing of the networks behind
		them, and the hub is far away. Spoke2 and spoke3 share one public address.`)
	s.show(picture(3, false))
	s.line("")
	if _, err := s.Spokes[1].Ping(cloud.NBMA(1), 0, stepPatience); err != nil {
		return fmt.Errorf("the Internet does not carry packets from spoke2 to spoke1: %w", err)
	}
	if e, err := s.Hosts[0].Ping(cloud.Host(2), 0, 300*time.Millisecond); err == nil && e.Reached {
		return fmt.Errorf("host1 reaches host2 though there is no tunnel yet")
	}
	s.holds("the Internet carries packets between hub and spokes")
	s.holds("host1 does not reach host2 at %v: nobody on the way knows that network", cloud.Host(2))
	var err error
	if s.outside, err = s.Outside(); err != nil {
		return err
	}
	s.holds("from here on every frame on each of the five wires outside is looked at")
	return nil
}

// registration starts the daemons and waits for the SAs and the registrations.
func (s *story) registration(ctx context.Context) error {
	s.say(`Of the others, each spoke is told the hub's address and nothing else. It
		proves by IKE that it has the key of all members, and registers inside of
		ESP: its own tunnel address, and the network behind it. The hub is told of
		no spoke: a fourth one would change nothing on it.`)
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
	if err := s.Until(ctx, stepPatience, func() error { return s.AllRegistered(ctx) }); err != nil {
		return err
	}
	took := time.Since(began)
	for _, spoke := range s.Spokes {
		for _, ends := range [][2]string{{"hub", spoke.Name}, {spoke.Name, "hub"}} {
			if _, err := s.Secured(ctx, ends[0], ends[1]); err != nil {
				return err
			}
		}
	}
	for _, command := range []string{"ike", "show ip nhrp"} {
		if _, err := s.dmvpn(ctx, "hub", command); err != nil {
			return err
		}
	}
	s.holds("three spokes have IKE and ESP with the hub and are registered, %.1f s after the daemons were up", took.Seconds())
	for n := range s.Spokes {
		if _, err := s.Hosts[n].Ping(cloud.Host(0), 0, stepPatience); err != nil {
			return err
		}
	}
	s.holds("every host reaches host0 behind the hub")
	return s.draw(ctx)
}

// dmvpn runs and shows a command of our CLI.
func (s *story) dmvpn(ctx context.Context, node, command string) (string, error) {
	out, err := s.Dmvpn(ctx, node, strings.Fields(command)...)
	if err != nil {
		return "", err
	}
	s.run(node, "dmvpn "+command)
	s.show(out)
	s.line("")
	return out, nil
}
