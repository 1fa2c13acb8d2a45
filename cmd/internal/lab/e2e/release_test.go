// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestReleaseLiftsTheUnreachableRoutes that teardown leaves: with teardown, after it, and
// only the instance's own.
func TestReleaseLiftsTheUnreachableRoutes(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return c.AllRegistered(ctx) })
	const foreign = "unreachable 10.99.0.0/16"
	for _, node := range []string{"hub", "spoke1"} {
		_, err := c.Get(node).Run(ctx, "ip", "route", "add", "unreachable", "10.99.0.0/16", "proto", "54", "metric", "4278190134")
		check(t, err)
	}
	standing := func(node string) string {
		t.Helper()
		out, err := c.Get(node).Run(ctx, "ip", "route", "show", "type", "unreachable")
		check(t, err)
		return out
	}
	check(t, c.Teardown(ctx, "spoke1"))
	if out := standing("spoke1"); !strings.Contains(out, "10.0.0.0/24") {
		t.Errorf("after teardown: %s", out)
	}
	_, err := c.Dmvpn(ctx, "spoke1", "teardown", "--release")
	check(t, err)
	_, err = c.Dmvpn(ctx, "hub", "teardown", "--release")
	check(t, err)
	for _, node := range []string{"hub", "spoke1"} {
		if out := standing(node); strings.Count(out, "unreachable") != 1 || !strings.Contains(out, foreign) {
			t.Errorf("%s: released, and there is %s", node, out)
		}
		until(t, c, patience, func() error { return c.Clean(ctx, node) }) // a process that ends is there a little longer
	}
	if out, err := c.Dmvpn(ctx, "spoke1", "teardown", "--release"); err == nil {
		t.Errorf("there was something to take down a third time: %s", out)
	}
}
