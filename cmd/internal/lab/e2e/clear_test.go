// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
)

// TestAClearedShortcutIsMadeAnew while a stream runs on it, which loses nothing; the one beside it stays.
//
//	         hub
//	      ╱   │   ╲
//	spoke3    │    spoke2
//	     ╲    │    ╱
//	      ══spoke1══   dmvpn shortcut clear 10.10.2.0/24
func TestAClearedShortcutIsMadeAnew(t *testing.T) { modes(t, aClearedShortcutIsMadeAnew) }

func aClearedShortcutIsMadeAnew(t *testing.T, m mode) {
	c := m.up(t, cloud.Options{Spokes: 3})
	ctx := t.Context()
	shortcut(t, c, 1, 2)
	shortcut(t, c, 1, 3)
	there, err := c.Hosts[0].Stream(c.Hosts[1], netip.AddrPortFrom(cloud.Host(2), 4000), 500, dataSize)
	check(t, err)
	back, err := c.Hosts[1].Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4001), 500, dataSize)
	check(t, err)
	beside, err := c.Hosts[0].Stream(c.Hosts[2], netip.AddrPortFrom(cloud.Host(3), 4002), 500, dataSize)
	check(t, err)
	notByTheHub(t, c, m.isData)
	made := func(n int) (at time.Time) {
		list, err := c.Shortcuts(ctx, "spoke1")
		check(t, err)
		for _, s := range list {
			if s.Prefix == cloud.Network(n) {
				at = s.Created
			}
		}
		return at
	}
	first, other, registered := made(2), made(3), registeredSince(t, c)
	if first.IsZero() || other.IsZero() {
		t.Fatalf("shortcuts of %v and %v", first, other)
	}

	for args, want := range map[string]string{
		"10.99.0.0/16":                   "no shortcut has addresses of 10.99.0.0/16, and no negative entry is in it: nothing is ended",
		"10.10.2.0/24 10.99.0.1":         "no shortcut has addresses of 10.99.0.1/32, ",
		"10.10.2.0/24 spoke2":            `"spoke2" is neither a prefix nor an address`,
		"10.10.2.0/24 --tunnel dmvpn9":   `there is no tunnel "dmvpn9", only dmvpn0`,
		"2001:db8::/32 --tunnel dmvpn0 ": "no shortcut has addresses of 2001:db8::/32",
	} {
		out, err := c.Dmvpn(ctx, "spoke1", append([]string{"shortcut", "clear"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dmvpn shortcut clear %s: %q, %v; expected an error that says %s", args, out, err, want)
		}
	}
	if at := made(2); another(at, first) {
		t.Errorf("a clear that is an error ended the shortcut, made at %v and then at %v", first, at)
	}

	offered, err := c.Dmvpn(ctx, "spoke1", "__complete", "shortcut", "clear", "") // as the shell asks
	check(t, err)
	for _, n := range []int{2, 3} {
		if !strings.Contains(offered, cloud.Network(n).String()+"\n") {
			t.Errorf("the shell is not offered %v: %q", cloud.Network(n), offered)
		}
	}

	atHub, err := c.Hub.Capture(cloud.Underlay, m.isData)
	check(t, err)
	out, err := c.Dmvpn(ctx, "spoke1", "shortcut", "clear", "--tunnel", "dmvpn0", cloud.Network(2).String())
	check(t, err)
	if want := "1 shortcut and 0 negative entries ended\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	until(t, c, patience, func() error {
		if at := made(2); at.IsZero() || !another(at, first) {
			return fmt.Errorf("no new shortcut: %w", errNotYet)
		}
		return c.Direct(ctx, "spoke1", cloud.Network(2))
	})
	until(t, c, patience, func() error { return inState(c, t, "spoke1", cloud.Network(2), control.ShortcutInUse, "") })
	until(t, c, patience, func() error { return c.Direct(ctx, "spoke2", cloud.Network(1)) })
	leads(t, c, c.Hosts[0], cloud.Host(2), directly(4)...)
	notByTheHub(t, c, m.isData)
	if n := len(atHub.Close()); n == 0 {
		t.Error("no packet went by the hub")
	}
	if at := made(3); another(at, other) {
		t.Errorf("the shortcut beside it, made at %v, was made anew at %v", other, at)
	}
	if since := registeredSince(t, c); another(since, registered) {
		t.Errorf("spoke1 was registered since %v, and is since %v", registered, since)
	}
	if log := c.Log("spoke1", 1000); !strings.Contains(log, "shortcuts cleared, as asked by the control socket") {
		t.Errorf("no line in the log:\n%s", log)
	}
	spotless(t, "there", there.Stop())
	spotless(t, "back", back.Stop())
	spotless(t, "beside it", beside.Stop())
}

// registeredSince says since when spoke1's server is up.
func registeredSince(t *testing.T, c *cloud.Cloud) (since time.Time) {
	t.Helper()
	check(t, c.Ask(t.Context(), "spoke1", func(ctx context.Context, client *control.Client) error {
		servers, err := client.NHS(ctx)
		if err == nil && (len(servers) != 1 || servers[0].State != control.NHSUp && servers[0].State != control.NHSRenewing) {
			err = fmt.Errorf("servers %+v", servers)
		}
		if err == nil {
			since = servers[0].Since
		}
		return err
	}))
	return since
}
