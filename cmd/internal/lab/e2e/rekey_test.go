// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestRekeysLoseNothing: 20 rekeys of Child and IKE SAs, by both ends, under numbered UDP
// and TCP at half the rate that it has by itself, of which 200 Mbit/s count.
func TestRekeysLoseNothing(t *testing.T) {
	for name, lines := range map[string][]string{"in UDP": nil, "raw, tunnel mode": {`encapsulation = "raw"`, `mode = "tunnel"`}} {
		t.Run(name, func(t *testing.T) { rekeysLoseNothing(t, lines) })
	}
}

func rekeysLoseNothing(t *testing.T, lines []string) {
	c := guarded(t, cloud.Options{Spokes: 1, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].IPsec.Lines = lines }})
	ctx := t.Context()
	// Up to 200 Mbit/s: each frame on the wires is looked at.
	full, _, err := runIperf(ctx, c.HubHost, c.Hosts[0], cloud.Host(1), 1, "-b", "200M")
	check(t, err)
	pace := full / 2
	tcp := paced(t, c.HubHost, c.Hosts[0], cloud.Host(1), pace)
	stream, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 1000, 200)
	check(t, err)
	for round := range 20 {
		node, peer := "hub", "spoke1.example.net"
		if round%2 == 1 {
			node, peer = "spoke1", "hub.example.net"
		}
		args, child := []string{"ike", "rekey", peer}, round%4 < 2
		if child {
			args = append(args, "--child")
		}
		before, err := spis(ctx, c, node, child)
		check(t, err)
		_, err = c.Dmvpn(ctx, node, args...)
		check(t, err)
		until(t, c, patience, func() error {
			now, err := spis(ctx, c, node, child)
			if err == nil && now == before {
				err = fmt.Errorf("rekey %d at %s has not changed %s", round+1, node, now)
			}
			return err
		})
		time.Sleep(100 * time.Millisecond) // packets come by each of them
	}
	spotless(t, "numbered UDP under 20 rekeys", stream.Stop())
	if rate := tcp(); rate < 0.8*pace {
		t.Errorf("TCP had %.0f of its %.0f Mbit/s", rate/1e6, pace/1e6)
	}
}

// spis gives the SPIs in use between two ends, of the IKE SA or of the Child SA; an error
// where there is not one of each.
func spis(ctx context.Context, c *cloud.Cloud, node string, child bool) (text string, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		all, err := client.IKE(ctx)
		if err != nil {
			return err
		}
		err = errors.New("no IKE SA with one Child SA is in use")
		for _, s := range all.SAs {
			if s.State == control.IKEEstablished && len(s.Children) == 1 {
				if text, err = s.SPIi+" "+s.SPIr, nil; child {
					text = s.Children[0].Inbound + " " + s.Children[0].Outbound
				}
			}
		}
		return err
	})
	return text, err
}

// paced runs TCP at so many bits a second until it is told to stop, and gives the bits a
// second that came.
func paced(t *testing.T, from, to *lab.Node, address netip.Addr, rate float64) (stop func() float64) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	var got float64
	var failed error
	go func() {
		defer close(ended)
		for runs := 1.0; failed == nil; runs++ {
			var r float64
			r, _, failed = runIperf(t.Context(), from, to, address, 3, "-b", fmt.Sprintf("%.0f", rate))
			got += (r - got) / runs
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	return func() float64 {
		t.Helper()
		close(done)
		<-ended
		check(t, failed)
		return got
	}
}
