// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"dmvpn/cmd/internal/control"
)

// Ask lets f ask a node's daemon over its control socket.
func (c *Cloud) Ask(ctx context.Context, node string, f func(context.Context, *control.Client) error) error {
	client := control.NewClient(filepath.Join(c.Get(node).Dir, "run", "default", "control.sock"))
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := f(ctx, client); err != nil {
		return fmt.Errorf("%s: %w", node, err)
	}
	return nil
}

func (c *Cloud) status(ctx context.Context, node string) (s control.Status, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) (err error) {
		s, err = client.Status(ctx)
		return err
	})
	return s, err
}

// Tunnel gives what a node's daemon says of one of its tunnels.
func (c *Cloud) Tunnel(ctx context.Context, node, device string) (control.Tunnel, error) {
	s, err := c.status(ctx, node)
	if err != nil {
		return control.Tunnel{}, err
	}
	for _, t := range s.Tunnels {
		if t.Name == device {
			return t, nil
		}
	}
	return control.Tunnel{}, fmt.Errorf("%s: the daemon has no tunnel %s", node, device)
}

// Multicast gives who gets multicast in one of a node's tunnels.
func (c *Cloud) Multicast(ctx context.Context, node, device string) (m control.Multicast, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		list, err := client.Multicast(ctx)
		if i := slices.IndexFunc(list, func(m control.Multicast) bool { return m.Tunnel == device }); i >= 0 {
			m = list[i]
		} else if err == nil {
			err = fmt.Errorf("the daemon has no tunnel %s", device)
		}
		return err
	})
	return m, err
}

// Registered is nil when a spoke's servers all answer.
func (c *Cloud) Registered(ctx context.Context, spoke string) error {
	t, err := c.Tunnel(ctx, spoke, Device)
	if err == nil && (t.NHS == 0 || t.NHSUp < t.NHS) {
		err = fmt.Errorf("%s: %d of %d servers answer", spoke, t.NHSUp, t.NHS)
	}
	return err
}

// AllRegistered is nil when every spoke's server answers, and the hub routes
// every spoke's LAN into its tunnel.
func (c *Cloud) AllRegistered(ctx context.Context) error {
	for i, s := range c.Spokes {
		if err := c.Registered(ctx, s.Name); err != nil {
			return err
		}
		for _, version := range c.inside {
			if err := c.Routed(c.Hub.Name, NetworkOf(version, i+1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Routed is nil when a node has a route of ours to a prefix, and not only the unreachable one
// that stands under what was protected.
func (c *Cloud) Routed(node string, prefix netip.Prefix) error {
	routes, err := c.Routes(node)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Prefix == prefix && r.NextHop.IsValid() {
			return nil
		}
	}
	// Beside a routing daemon's it stands in two halves.
	if bits := prefix.Bits(); bits < prefix.Addr().BitLen() {
		halves := 0
		for _, r := range routes {
			if r.Prefix.Bits() == bits+1 && prefix.Contains(r.Prefix.Addr()) && r.NextHop.IsValid() {
				halves++
			}
		}
		if halves == 2 {
			return nil
		}
	}
	return fmt.Errorf("%s: no route of ours to %v among %v", node, prefix, routes)
}

// Shortcuts gives a node's shortcuts.
func (c *Cloud) Shortcuts(ctx context.Context, node string) (list []control.Shortcut, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) (err error) {
		list, err = client.Shortcuts(ctx)
		return err
	})
	return list, err
}

// Direct is nil when a node has a shortcut to a prefix, and its route.
func (c *Cloud) Direct(ctx context.Context, node string, prefix netip.Prefix) error {
	list, err := c.Shortcuts(ctx, node)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Prefix == prefix {
			return c.Routed(node, prefix)
		}
	}
	return fmt.Errorf("%s: no shortcut to %v among %v", node, prefix, list)
}

// Indirect is nil when a node has no shortcut to a prefix, nor its route.
func (c *Cloud) Indirect(ctx context.Context, node string, prefix netip.Prefix) error {
	list, err := c.Shortcuts(ctx, node)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Prefix == prefix {
			return fmt.Errorf("%s: there is a shortcut to %v until %v", node, prefix, s.Expires.Format(time.TimeOnly))
		}
	}
	routes, err := c.Routes(node)
	if err != nil {
		return err
	}
	for _, r := range routes {
		half := r.Prefix.Bits() == prefix.Bits()+1 && prefix.Contains(r.Prefix.Addr()) &&
			!slices.ContainsFunc(list, func(s control.Shortcut) bool { return s.Prefix == r.Prefix })
		if r.NextHop.IsValid() && (r.Prefix == prefix || half) {
			return fmt.Errorf("%s: there is a route of ours to %v", node, r.Prefix)
		}
	}
	return nil
}

// PeerNames gives a node's peers, sorted, each as "ID NBMA protocol"; nil if the
// daemon does not answer.
func (c *Cloud) PeerNames(ctx context.Context, node string) []string {
	var names []string
	_ = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) error {
		peers, err := client.Peers(ctx)
		for _, p := range peers {
			names = append(names, fmt.Sprintf("%d %v %v", p.ID, p.NBMA, p.Protocol))
		}
		return err
	})
	slices.Sort(names)
	return names
}
