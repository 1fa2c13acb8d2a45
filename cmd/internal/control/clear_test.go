// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAnOrderToClearReachesTheDaemon(t *testing.T) {
	d := &daemon{}
	client, _ := serve(t, d)
	for _, c := range []struct {
		tunnel string
		within []string
		got    string
	}{
		{"", nil, `clear "" []`},
		{"dmvpn1", nil, `clear "dmvpn1" []`},
		{"", []string{"10.10.2.0/24", "2001:db8:2::/48"}, `clear "" [10.10.2.0/24 2001:db8:2::/48]`},
		{"dmvpn0", []string{"10.10.2.10", "2001:db8::1", "10.10.3.77/24"}, `clear "dmvpn0" [10.10.2.10/32 2001:db8::1/128 10.10.3.0/24]`},
	} {
		var within []netip.Prefix
		for _, text := range c.within {
			p, err := ParsePrefix(text)
			if err != nil {
				t.Error(err)
			}
			within = append(within, p)
		}
		done, err := client.ClearShortcuts(t.Context(), c.tunnel, within)
		if err != nil || done != (Cleared{Shortcuts: 1, Negatives: 2}) || d.ordered != c.got {
			t.Errorf("%+v, %v, ordered %s, want %s", done, err, d.ordered, c.got)
		}
	}
	// The most that one request names arrive, the longest ones.
	if _, err := client.ClearShortcuts(t.Context(), "dmvpn0", slices.Repeat([]netip.Prefix{netip.MustParsePrefix("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128")}, mostCleared)); err != nil {
		t.Errorf("%d prefixes: %v", mostCleared, err)
	}
	d.err = errors.New("no shortcut has addresses of 10.99.0.0/16")
	if _, err := client.ClearShortcuts(t.Context(), "", nil); err == nil || err.Error() != "dmvpnd: no shortcut has addresses of 10.99.0.0/16" {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoPrefixIsRefused(t *testing.T) {
	for _, text := range []string{"", "spoke2", "10.10.2", "10.10.2.0/33", "10.10.2.0/", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:10.10.2.1", "::ffff:10.10.2.0/120", "10.10.2.0/24 "} {
		if p, err := ParsePrefix(text); err == nil || !strings.Contains(err.Error(), "is neither a prefix nor an address") {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}
