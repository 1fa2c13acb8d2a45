// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"fmt"

	"dmvpn/cmd/internal/control"
)

// Identity is the IKE identity of a node in a protected cloud.
func Identity(node string) string { return node + ".example.net" }

// IKE gives what a node's daemon says of IKE.
func (c *Cloud) IKE(ctx context.Context, node string) (all control.IKE, err error) {
	err = c.Ask(ctx, node, func(ctx context.Context, client *control.Client) (err error) {
		all, err = client.IKE(ctx)
		return err
	})
	return all, err
}

// Secured gives the IKE SA that a node has with another one, with a Child SA in use.
func (c *Cloud) Secured(ctx context.Context, node, with string) (control.IKESA, error) {
	all, err := c.IKE(ctx, node)
	if err != nil {
		return control.IKESA{}, err
	}
	var states []string
	for _, s := range all.SAs {
		if s.RemoteID != Identity(with) {
			continue
		}
		states = append(states, s.State)
		for _, child := range s.Children {
			if s.State == control.IKEEstablished && child.State == "active" {
				return s, nil
			}
			states = append(states, "Child SA "+child.State)
		}
	}
	return control.IKESA{}, fmt.Errorf("%s: no SA with %s is in use: %q", node, with, states)
}

// OnlySecured is nil when a node has one IKE SA with each of these, with one Child SA,
// and none with anybody else. What is half-open counts not: where both began at once, the
// one that was slower left it so, and it goes by itself.
func (c *Cloud) OnlySecured(ctx context.Context, node string, with ...string) error {
	all, err := c.IKE(ctx, node)
	if err != nil {
		return err
	}
	there, children := map[string]int{}, map[string]int{}
	for _, s := range all.SAs {
		if s.State == control.IKEHalfOpen {
			continue
		}
		there[s.RemoteID]++
		children[s.RemoteID] += len(s.Children)
	}
	for _, other := range with {
		if id := Identity(other); there[id] != 1 || children[id] != 1 {
			return fmt.Errorf("%s: %d IKE SAs with %s, %d Child SAs", node, there[id], other, children[id])
		}
		delete(there, Identity(other))
	}
	if len(there) > 0 {
		return fmt.Errorf("%s: IKE SAs with others than %q: %v", node, with, there)
	}
	return nil
}
