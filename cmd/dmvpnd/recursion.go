// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/loader/kernel"
)

// Implementation constants of the look at the routes of outer packets.
const (
	lookEvery = 15 * time.Second
	lookDelay = 300 * time.Millisecond // routes change in crowds
	lookMost  = 256                    // addresses of one tunnel
)

// lookAgain asks for a look soon.
func (d *daemon) lookAgain() {
	select {
	case d.look <- struct{}{}:
	default:
	}
}

// watchRecursion looks, when routes change and now and then, whether outer
// packets would go into a tunnel of ours: a default route learned through the
// tunnel does that.
func (d *daemon) watchRecursion(ctx context.Context) {
	ours := map[int]bool{}
	for _, t := range d.tunnels {
		ours[t.device.Index] = true
	}
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	removed := d.log.Sample(&zerolog.BurstSampler{Burst: 1, Period: time.Minute})
	for {
		d.restoreUnreachable(ctx, &removed)
		for _, t := range d.tunnels {
			t.lookForRecursion(ctx, func(ifindex int) bool { return ours[ifindex] })
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-d.look:
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookDelay):
			}
		}
	}
}

func (t *tunnel) lookForRecursion(ctx context.Context, ours func(int) bool) {
	t.checkVRF()
	t.mu.Lock()
	u := t.underlay
	t.mu.Unlock()
	if len(u.Addresses()) == 0 || u.Index == 0 {
		return // that is the problem that there is
	}
	recursion, unreachable := "", ""
	for _, nbma := range t.outerDestinations(ctx) {
		if !u.For(nbma).IsValid() {
			continue // nothing goes there
		}
		err := t.daemon.host.CheckRecursion(u, nbma, ours)
		switch {
		case err == nil:
		case errors.Is(err, kernel.ErrRecursion):
			if recursion == "" {
				recursion = fmt.Sprintf("%v; give %s a route of its own by %s, or set underlay mark or vrf", err, nbma, u.Device)
			}
		default:
			if text := t.uncut(u, nbma); text != "" {
				t.problem("lifted", text)
			} else if unreachable == "" {
				unreachable = err.Error()
			}
		}
	}
	t.problem("recursion", recursion)
	t.problem("underlay route", unreachable)
}

// outerDestinations are the addresses that outer packets go to: the configured
// servers, those with a name as the DNS has them, and the peers, first those that IKE looks for.
func (t *tunnel) outerDestinations(ctx context.Context) []netip.Addr {
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !seen[a] && len(out) < lookMost {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, n := range t.config.NHS {
		if a, err := netip.ParseAddr(n.NBMA); err == nil {
			add(a)
		}
	}
	if snapshot, err := t.snapshot(ctx); err == nil { // else the daemon ends
		for _, server := range snapshot.Servers {
			add(server.To.NBMA)
		}
	}
	if t.secure != nil {
		t.secure.mu.Lock()
		for e := range t.secure.all {
			if e.wanted() && !e.met() { // IKE may get nowhere because of a route
				add(e.hint.NBMA)
			}
		}
		t.secure.mu.Unlock()
	}
	for _, p := range t.daemon.plane.Tables.Peers() {
		if p.Tunnel == t.device.Index {
			add(p.Endpoint.NBMA)
		}
	}
	return out
}
