// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"dmvpn/cmd/internal/lab/cloud"
)

// keys are those of a map of the hub's data plane, in its programs' own order of octets.
func keys[K comparable](t *testing.T, c *cloud.Cloud, name string) map[K]bool {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(filepath.Dir(c.Hub.Dir), "bpf", "hub", "dmvpn", "default", name), nil)
	check(t, err)
	defer m.Close()
	all := map[K]bool{}
	var key K
	var value []byte
	it := m.Iterate()
	for it.Next(&key, &value) {
		all[key] = true
	}
	check(t, it.Err())
	return all
}

// TestTheProgramsKnowTheSPIsOfTheDaemonThatRuns: those of its SAs and no others, after it
// was killed too. When it is stopped it leaves ESP to others.
func TestTheProgramsKnowTheSPIsOfTheDaemonThatRuns(t *testing.T) {
	t.Parallel()
	c := guarded(t, cloud.Options{Spokes: 2})
	ctx := t.Context()
	known := func() (all []string) {
		for spi := range keys[uint32](t, c, "dmvpn_spi") {
			all = append(all, fmt.Sprintf("%08x", spi))
		}
		slices.Sort(all)
		return all
	}
	same := func() error {
		if have, want := known(), slices.Sorted(maps.Keys(childSAs(t, c))); len(want) < 2 || !slices.Equal(have, want) {
			return fmt.Errorf("the programs know %v, the daemon %v", have, want)
		}
		return nil
	}
	judged := func() []string {
		var all []string
		for a := range keys[[16]byte](t, c, "dmvpn_esp") {
			all = append(all, fmt.Sprint(a[12:]))
		}
		return all
	}
	hub := []string{fmt.Sprint(cloud.HubNBMA().AsSlice())}
	until(t, c, patience, same)
	before := known()
	if got := judged(); !slices.Equal(got, hub) {
		t.Errorf("ESP is judged at %v, want %v", got, hub)
	}
	check(t, c.Kill(ctx, "hub"))
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	for _, host := range c.Hosts { // a packet shows the spoke that its SA is unknown
		until(t, c, patience, func() error {
			_, err := host.Ping(cloud.Host(0), 0, 200*time.Millisecond)
			return err
		})
	}
	until(t, c, patience, same)
	if old := slices.DeleteFunc(before, func(s string) bool { return !slices.Contains(known(), s) }); len(old) > 0 {
		t.Errorf("SPIs of the daemon that was killed are known: %v", old)
	}
	if got := judged(); !slices.Equal(got, hub) {
		t.Errorf("after the crash ESP is judged at %v, want %v", got, hub)
	}
	check(t, c.Stop(ctx, "hub"))
	if got := judged(); len(got) > 0 {
		t.Errorf("no daemon runs, and ESP is judged at %v", got)
	}
	if got := known(); len(got) > 0 {
		t.Errorf("no daemon runs, and the programs know %v", got)
	}
}
