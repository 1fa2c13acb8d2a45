// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/kernel"
)

// behind are the prefixes that only a tunnel leads to, as far as its configuration says:
// what must not follow the default route in clear while the tunnel is away.
func behind(t config.Tunnel) []netip.Prefix {
	if !t.Protected {
		return nil
	}
	all := slices.Concat(t.Addresses, t.Guard)
	for _, n := range t.NHS {
		for _, p := range n.Routes {
			// A default route by the tunnel is the operator's choice of a way out, not a site.
			if !everything(p) {
				all = append(all, p)
			}
		}
	}
	for _, a := range t.Authorize {
		for _, p := range a.Networks {
			if !everything(p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// standUnreachable stands unreachable routes under what all tunnels protect, which outlive
// the daemon, a crash and teardown, until `dmvpn teardown --release`. It comes before
// everything that can fail: while the daemon cannot start, nothing goes in clear either. What
// would cut outer packets off does not stand, nor does what an earlier run stood so.
func standUnreachable(c *config.Config, p instance.Paths, h *kernel.Host) (*instance.Unreachable, error) {
	u, err := instance.OpenUnreachable(p, h)
	if err != nil {
		return nil, err
	}
	m, err := h.MirrorRoutes(underlayTables(c, h)...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	inTheWay := func(p instance.Place) bool {
		return slices.ContainsFunc(c.Tunnels, func(t config.Tunnel) bool {
			under, _ := h.Underlay(spec(t)) // without a device nothing is cut off
			return t.Protected && cutsServers(m, t, under, p)
		})
	}
	if _, err := u.Lift(inTheWay); err != nil {
		return nil, err
	}
	for _, t := range c.Tunnels {
		in, err := overlay(h, t)
		if err != nil {
			continue // without its VRF nothing in it goes anywhere; the daemon refuses it
		}
		for _, prefix := range behind(t) {
			p := instance.Place{Table: in.ID, Prefix: prefix}
			if inTheWay(p) {
				continue
			}
			if err := u.Stand(p); err != nil {
				return nil, err
			}
		}
	}
	return u, nil
}

// restoreUnreachable stands the routes again that somebody else has removed, as a flush of all routes
// does. One that has just been stood may not be in the mirror yet.
func (d *daemon) restoreUnreachable(ctx context.Context, log *zerolog.Logger) {
	stands := func(p instance.Place) bool { return d.mirror.Guarded(kernel.Table{ID: p.Table}, p.Prefix) }
	if !d.unreachable.Missing(stands) {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(lookDelay):
	}
	restored, err := d.unreachable.Restore(stands)
	d.quietly("stand unreachable routes", err)
	if len(restored) > 0 {
		log.Warn().Int("routes", len(restored)).Stringer("first", restored[0]).
			Msg("somebody removed unreachable routes of ours: they stand again; dmvpn teardown --release lifts them")
	}
}

// guard stands the routes for a machine that boots, before its network is there.
func guard(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "guard -c FILE",
		Short: "Only stand the unreachable routes under what the tunnels protect",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := config.Load(*file)
			if err != nil {
				return err
			}
			lock, err := instance.Take(c.Daemon.RunDir, c.Daemon.Instance, instance.Owner{BPFFS: c.Daemon.BPFFS, Config: c.File})
			if errors.Is(err, instance.ErrRunning) {
				return nil // the daemon has done it
			}
			if err != nil {
				return err
			}
			h, err := kernel.Open()
			if err == nil {
				_, err = standUnreachable(c, instance.PathsOf(c.Daemon.RunDir, c.Daemon.Instance), h)
				h.Close()
			}
			return errors.Join(err, lock.Unlock())
		},
	}
}
