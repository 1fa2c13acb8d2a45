// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"
	"testing"
)

// TestTheFamiliesOfAnUnderlay: both, unless the addresses that are written down say that one
// alone is of use.
func TestTheFamiliesOfAnUnderlay(t *testing.T) {
	for _, c := range []struct {
		name, underlay, more string
		want                 Underlay
		fault                string
	}{
		{name: "a hub listens on both", want: Underlay{}},
		{name: "servers by IPv4", more: nhs("192.0.2.1"), want: Underlay{Only: 4}},
		{name: "servers by IPv6", more: nhs("2001:db8::1"), want: Underlay{Only: 6}},
		{name: "servers by both", more: nhs("2001:db8::1") + nhs("192.0.2.1"), want: Underlay{}},
		{name: "a server by name", more: nhs("hub.example.net"), want: Underlay{}},
		{name: "a server by IPv4, a map by IPv6", more: nhs("192.0.2.1") + "[[tunnel.d.map]]\nprotocol = \"10.0.0.9\"\nnbma = \"2001:db8::9\"\n", want: Underlay{}},
		{name: "an address of IPv4", underlay: `, address = "192.0.2.7"`, want: Underlay{Address: netip.MustParseAddr("192.0.2.7"), Only: 4}},
		{name: "an address of IPv6", underlay: `, address = "2001:db8::7"`, want: Underlay{Address6: netip.MustParseAddr("2001:db8::7"), Only: 6}},
		{name: "one of each", underlay: `, address = ["2001:db8::7", "192.0.2.7"]`, more: nhs("192.0.2.1"),
			want: Underlay{Address: netip.MustParseAddr("192.0.2.7"), Address6: netip.MustParseAddr("2001:db8::7")}},
		{name: "two of one", underlay: `, address = ["192.0.2.7", "192.0.2.8"]`, fault: "192.0.2.8 is the second one of its family"},
		{name: "no server can be reached", underlay: `, address = "2001:db8::7"`, more: nhs("192.0.2.1"), fault: "192.0.2.1 is not of the family of our underlay address"},
		{name: "IPv4 in the form of IPv6", more: nhs("::ffff:192.0.2.1"), fault: `write "192.0.2.1"`},
		{name: "good on one link only", more: nhs("fe80::1"), fault: "good on one link only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("f.toml", []byte("[tunnel.d]\naddress = \"10.0.0.1/24\"\nprotection = \"none\"\nunderlay = { device = \"eth0\""+c.underlay+" }\n"+c.more))
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %v", err)
				}
				return
			}
			if c.want.Device = "eth0"; err != nil || got.Tunnels[0].Underlay != c.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func nhs(nbma string) string { return "[[tunnel.d.nhs]]\nnbma = \"" + nbma + "\"\n" }
