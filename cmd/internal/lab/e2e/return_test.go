// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// backWithin is how long a tunnel may be away once a daemon is started again: far shorter than any
// dead peer detection. While other tests run it may take some seconds more.
const (
	backWithin = 3 * time.Second
	amidOthers = 3 * time.Second
)

// homecoming is a daemon that ends in some way, and is started again after some time.
type homecoming struct {
	name string
	node string
	end  func(*cloud.Cloud, context.Context, string) error
	dead time.Duration
	nats []cloud.NAT
}

// TestADaemonReturns: it is killed, or stopped, under encrypted traffic and started again.
// Packets come both ways at once, to every neighbour; those that do not need it lose
// nothing; nothing goes in clear meanwhile, and no IV is there twice.
//
//	host0 ── hub ═══ spoke1 ── host1
//	            ╲      ║
//	             nat ═ spoke2 ── host2
func TestADaemonReturns(t *testing.T) {
	kill, stop := (*cloud.Cloud).Kill, (*cloud.Cloud).Stop
	for _, c := range []homecoming{
		{"a hub that is killed and away for long", "hub", kill, 12 * time.Second, []cloud.NAT{{Spokes: []int{2}}}},
		{"a hub that is stopped", "hub", stop, 4 * time.Second, []cloud.NAT{{Spokes: []int{2}}}},
		{"a spoke that is killed", "spoke1", kill, 2 * time.Second, []cloud.NAT{{Spokes: []int{2}}}},
		{"a spoke behind a NAT that is stopped", "spoke2", stop, 2 * time.Second, []cloud.NAT{{Spokes: []int{2}}}},
		{"one of two behind the same NAT that is killed", "spoke2", kill, 2 * time.Second, []cloud.NAT{{Spokes: []int{1, 2}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.returns(t, backWithin+amidOthers)
		})
	}
}

// TestAKilledDaemonIsBackInThreeSeconds is TestADaemonReturns while no other test runs.
func TestAKilledDaemonIsBackInThreeSeconds(t *testing.T) {
	nats := []cloud.NAT{{Spokes: []int{2}}}
	for _, c := range []homecoming{
		{"a hub", "hub", (*cloud.Cloud).Kill, time.Second, nats},
		{"a spoke behind a NAT", "spoke2", (*cloud.Cloud).Kill, 2 * time.Second, nats},
	} {
		t.Run(c.name, func(t *testing.T) { c.returns(t, backWithin) })
	}
}

func (c homecoming) returns(t *testing.T, within time.Duration) {
	r := returning{Cloud: guarded(t, cloud.Options{Spokes: 2, NATs: c.nats}), t: t}
	shortcut(t, r.Cloud, 1, 2)
	r.secured("hub", "spoke1", "spoke2")
	r.streams()
	r.all(patience)
	until(t, r.Cloud, patience, func() error { return r.remembered(c.node) })
	check(t, c.end(r.Cloud, t.Context(), c.node))
	time.Sleep(c.dead)
	check(t, r.Start(c.node))
	took := r.all(within)
	t.Logf("back after %v", took.Round(time.Millisecond))
	check(t, r.Ready(t.Context(), c.node))
	r.secured("hub", "spoke1", "spoke2")
	r.finish(c.node)
}

// returning is a cloud with streams between each two of its hosts.
type returning struct {
	*cloud.Cloud
	t     *testing.T
	flows []returnFlow
}

type returnFlow struct {
	ends [2]string // nodes
	*lab.Stream
}

// streams starts them.
func (r *returning) streams() {
	r.t.Helper()
	hosts := []*lab.Node{r.HubHost, r.Hosts[0], r.Hosts[1]}
	nodes := []string{"hub", "spoke1", "spoke2"}
	for from := range hosts {
		for to := range hosts {
			if from == to {
				continue
			}
			s, err := hosts[from].Stream(hosts[to], netip.AddrPortFrom(cloud.Host(to), uint16(4000+from)), 200, 200)
			check(r.t, err)
			r.flows = append(r.flows, returnFlow{[2]string{nodes[from], nodes[to]}, s})
		}
	}
}

// all waits until packets of every stream come, and gives how long it took.
func (r *returning) all(patience time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	before := make([]uint64, len(r.flows))
	for i, f := range r.flows {
		before[i] = f.Received()
	}
	check(r.t, r.Until(r.t.Context(), patience, func() error {
		const some = 20
		for i, f := range r.flows {
			if f.Received() < before[i]+some {
				return fmt.Errorf("from %s to %s: %v", f.ends[0], f.ends[1], f.Snapshot())
			}
		}
		return nil
	}))
	return time.Since(began)
}

// secured waits until each of the nodes has an SA with each other.
func (r *returning) secured(nodes ...string) {
	r.t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				until(r.t, r.Cloud, patience, func() error { _, err := r.Secured(r.t.Context(), a, b); return err })
			}
		}
	}
}

// remembered is nil when a crash of a node's daemon forgets none of its neighbours.
func (r *returning) remembered(node string) error {
	all := map[string]netip.Addr{"hub": cloud.HubTunnel(), "spoke1": cloud.TunnelAddress(1), "spoke2": cloud.TunnelAddress(2)}
	for other, a := range all {
		if other == node {
			continue
		}
		if err := saved(r.Cloud, node, a); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the streams; those that do not end at the node have lost nothing.
func (r *returning) finish(node string) {
	r.t.Helper()
	var wait sync.WaitGroup
	for _, f := range r.flows {
		wait.Go(func() {
			report := f.Stop()
			if !slices.Contains(f.ends[:], node) && report.Lost() > 0 || report.Duplicated > 0 {
				r.t.Errorf("from %s to %s: %v", f.ends[0], f.ends[1], report)
			}
		})
	}
	wait.Wait()
}
