// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"dmvpn/cmd/internal/control"
	"dmvpn/nhrpd/engine"
)

// ClearShortcuts implements control.Source.
func (s *source) ClearShortcuts(ctx context.Context, tunnel string, within []netip.Prefix) (done control.Cleared, err error) {
	tunnels, err := s.daemon.named(tunnel)
	if err == nil {
		err = found(ctx, tunnels, within)
	}
	if err != nil {
		return done, err
	}
	for _, t := range tunnels {
		for _, f := range t.families {
			n, err := f.service.Clear(ctx, within)
			if err != nil {
				return done, fmt.Errorf("tunnel %s: %w", t.config.Name, err)
			}
			done.Shortcuts += n.Shortcuts
			done.Negatives += n.Negatives
		}
	}
	e := s.daemon.log.Info()
	if tunnel != "" {
		e.Str("tunnel", tunnel)
	}
	e.Stringers("prefixes", stringers(within)).Int("shortcuts", done.Shortcuts).Int("negatives", done.Negatives).
		Msg("shortcuts cleared, as asked by the control socket")
	return done, nil
}

// named gives the tunnel of a name, or all for none.
func (d *daemon) named(name string) ([]*tunnel, error) {
	if name == "" {
		return d.tunnels, nil
	}
	if t := d.tunnel(name); t != nil {
		return []*tunnel{t}, nil
	}
	var names []string
	for _, t := range d.tunnels {
		names = append(names, t.config.Name)
	}
	return nil, fmt.Errorf("there is no tunnel %q, only %s", name, strings.Join(names, ", "))
}

// found says which of the prefixes nothing is cleared by.
func found(ctx context.Context, tunnels []*tunnel, within []netip.Prefix) error {
	var all engine.Snapshot
	for _, t := range tunnels {
		s, err := t.snapshot(ctx)
		if err != nil {
			return fmt.Errorf("tunnel %s: %w", t.config.Name, err)
		}
		all.Shortcuts = append(all.Shortcuts, s.Shortcuts...)
		all.Negatives = append(all.Negatives, s.Negatives...)
	}
	var none []string
	for _, p := range within {
		if !all.Clears(p) {
			none = append(none, p.String())
		}
	}
	if len(none) > 0 {
		return fmt.Errorf("no shortcut has addresses of %s, and no negative entry is in it: nothing is ended; `dmvpn nhrp` lists what there is", strings.Join(none, ", nor of "))
	}
	return nil
}

func stringers(list []netip.Prefix) (out []fmt.Stringer) {
	for _, p := range list {
		out = append(out, p)
	}
	return out
}
