// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestThePinnedMapsPrintNamedFields: what an operator sees with bpftool alone.
func TestThePinnedMapsPrintNamedFields(t *testing.T) {
	t.Parallel()
	c := up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	fields := map[string][]string{
		"dmvpn_tunnel":   {"local", "ifindex", "underlay_ifindex", "mtu", "fallback_peer"},
		"dmvpn_device":   {"local", "ifindex", "underlay_ifindex", "flags"},
		"dmvpn_nbma":     {"nbma", "tunnel_ifindex", "port"},
		"dmvpn_nexthop":  {"nexthop", "tunnel_ifindex"},
		"dmvpn_peer":     {"nbma", "protocol", "tunnel_ifindex", "flags"},
		"dmvpn_stats":    {"rx_packets", "tx_bytes", "tx_last_ns"},
		"dmvpn_redirect": {"source", "destination", "last_ns"},
	}
	pins := c.Pins("hub")
	for name, want := range fields {
		path := "dmvpn/default/" + name
		if !slices.Contains(pins, path) {
			t.Errorf("%s is not pinned: %v", path, pins)
			continue
		}
		out := dump(ctx, t, c, name)
		for _, field := range want {
			if !strings.Contains(out, fmt.Sprintf("%q", field)) {
				t.Errorf("the dump of %s has no field %s: %.400s", name, field, out)
			}
		}
	}
	// Pins of maps that are not listed above must be known here.
	for _, p := range pins {
		name, ok := strings.CutPrefix(p, "dmvpn/default/dmvpn_")
		if _, listed := fields["dmvpn_"+name]; ok && !listed && name != "events" && name != "drop" {
			t.Errorf("map dmvpn_%s is pinned and not inspected", name)
		}
	}
}

// dump gives what bpftool shows of a map: an array's first entries stand for all.
func dump(ctx context.Context, t *testing.T, c *cloud.Cloud, name string) string {
	t.Helper()
	path := "/sys/fs/bpf/dmvpn/default/" + name
	args := []string{"map", "dump", "pinned", path}
	if name == "dmvpn_peer" || name == "dmvpn_stats" {
		args = []string{"map", "lookup", "pinned", path, "key", "1", "0", "0", "0"}
	}
	out, err := c.Hub.Run(ctx, "bpftool", args...)
	check(t, err)
	return out
}

// TestTheProgramsHaveTellingNames: bpftool net and bpftool prog.
func TestTheProgramsHaveTellingNames(t *testing.T) {
	t.Parallel()
	c := up(t, cloud.Options{Spokes: 1})
	ctx := t.Context()
	attached, err := c.Attached(ctx, "spoke1")
	check(t, err)
	for _, want := range []string{cloud.Device + " egress dmvpn_encap", cloud.Underlay + " ingress dmvpn_decap"} {
		if !slices.Contains(attached, want) {
			t.Errorf("%q is not among the attached programs %q", want, attached)
		}
	}
	out, err := c.Spokes[0].Run(ctx, "bpftool", "-j", "prog", "show", "name", "dmvpn_encap")
	check(t, err)
	if !json.Valid([]byte(out)) || !strings.Contains(out, "dmvpn_encap") {
		t.Errorf("bpftool prog: %s", out)
	}
}

// TestTeardownLeavesNothing, whether the daemon runs or was killed.
func TestTeardownLeavesNothing(t *testing.T) {
	t.Parallel()
	c := up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	check(t, c.Kill(ctx, "spoke2"))
	for _, node := range []string{"spoke1", "spoke2", "hub"} {
		check(t, c.Teardown(ctx, node))
		until(t, c, 5*time.Second, func() error { return c.Clean(ctx, node) })
	}
}
