// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestThePinnedMapsPrintNamedFields: what an operator sees with bpftool alone.
// Every field of every key and value has its name.
func TestThePinnedMapsPrintNamedFields(t *testing.T) { modes(t, thePinnedMapsPrintNamedFields) }

func thePinnedMapsPrintNamedFields(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	if !m.encrypted {
		stranger(t, c)
	}
	fields := map[string][]string{
		"dmvpn_tunnel":   {"key", "local", "has_key", "value", "ifindex", "underlay_ifindex", "flags", "mark", "mtu", "fallback_peer", "underlay_table", "fallback6_peer"},
		"dmvpn_device":   {"key", "ifindex", "value", "local", "underlay_ifindex", "flags", "mark", "mtu", "fallback_peer", "underlay_table", "fallback6_peer"},
		"dmvpn_nbma":     {"key", "nbma", "tunnel_ifindex", "port", "value", "peer"},
		"dmvpn_nexthop":  {"key", "nexthop", "tunnel_ifindex", "value", "peer"},
		"dmvpn_peer":     {"key", "value", "nbma", "protocol", "tunnel_ifindex", "flags", "mtu", "port"},
		"dmvpn_stats":    {"key", "values", "cpu", "rx_packets", "rx_bytes", "rx_last_ns", "tx_packets", "tx_bytes", "tx_last_ns"},
		"dmvpn_drop":     {"key", "peer", "reason", "values", "packets", "bytes", "DROP_UNKNOWN_PEER"},
		"dmvpn_redirect": {"key", "value", "flow", "source", "destination", "tunnel_ifindex", "kind", "last_ns"},
		"dmvpn_esp":      {"key", "value", "tunnel_ifindex", "ways"},
		"dmvpn_spi":      {"key", "value"},
		"dmvpn_refused":  {"key", "values", "cpu", "value"},
	}
	empty := []string{"dmvpn_esp", "dmvpn_spi", "dmvpn_refused"}
	if m.encrypted {
		empty = []string{"dmvpn_drop", "dmvpn_refused"}
	}
	pinned := 0
	for _, p := range c.Pins("hub") {
		name, ok := strings.CutPrefix(p, "dmvpn/default/")
		if !ok || strings.Contains(name, "/") || name == "dmvpn_events" { // a ring buffer has nothing to dump
			continue
		}
		pinned++
		want, ok := fields[name]
		if !ok {
			t.Errorf("map %s is pinned and not looked at", name)
		}
		if slices.Contains(empty, name) {
			continue
		}
		// An array is long: its first entries stand for all.
		out, err := c.Hub.Run(ctx, "sh", "-c", "bpftool map dump pinned /sys/fs/bpf/dmvpn/default/"+name+" | head -n 200")
		check(t, err)
		for _, field := range want {
			if !strings.Contains(out, fmt.Sprintf("%q", field)) {
				t.Errorf("the dump of %s has no %s: %.600s", name, field, out)
			}
		}
	}
	if pinned != len(fields) {
		t.Errorf("%d maps are pinned, expected %d: %v", pinned, len(fields), c.Pins("hub"))
	}
}

// stranger sends the hub GRE data from an address that nobody has registered.
func stranger(t *testing.T, c *cloud.Cloud) {
	t.Helper()
	const keyPresent, ipv4 = 0x20, 0x0800
	gre := binary.BigEndian.AppendUint32([]byte{keyPresent, 0, ipv4 >> 8, ipv4 & 0xff}, 42)
	inner := lab.IPv4{From: addr([4]byte{10, 10, 9, 9}), To: cloud.Host(0), Protocol: 17}.Packet([]byte{0, 9, 0, 9, 0, 8, 0, 0}) // UDP, no checksum
	check(t, c.Internet.Do(func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		return unix.Sendto(s, append(gre, inner...), 0, &unix.SockaddrInet4{Addr: cloud.HubNBMA().As4()})
	}))
	until(t, c, patience, func() error {
		out, err := c.Dmvpn(t.Context(), "hub", "drops")
		if err == nil && !strings.Contains(out, "unknown-peer") {
			err = fmt.Errorf("the hub's drops: %s", out)
		}
		return err
	})
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
	for _, pin := range []string{cloud.Device + "/dmvpn_encap", cloud.Underlay + "/dmvpn_decap"} {
		out, err := c.Spokes[0].Run(ctx, "bpftool", "-j", "prog", "show", "pinned", "/sys/fs/bpf/dmvpn/default/dev/"+pin)
		check(t, err)
		var program struct{ Type, Name string }
		check(t, json.Unmarshal([]byte(out), &program))
		if program.Type != "sched_cls" || !strings.HasSuffix(pin, "/"+program.Name) {
			t.Errorf("bpftool prog shows %s as %+v", pin, program)
		}
	}
}

// TestTeardownLeavesNothing, whether the daemon runs or was killed.
func TestTeardownLeavesNothing(t *testing.T) { modes(t, teardownLeavesNothing) }

func teardownLeavesNothing(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	check(t, c.Kill(ctx, "spoke2"))
	for _, node := range []string{"spoke1", "spoke2", "hub"} {
		check(t, c.Teardown(ctx, node))
		until(t, c, patience, func() error { return c.Clean(ctx, node) })
	}
}
