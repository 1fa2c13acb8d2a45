// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorizationsAreReadInTheirOrder(t *testing.T) {
	got, err := Parse("hub.toml", []byte(`
[tunnel.dmvpn0]
address = "10.0.0.1/24"
underlay = { device = "eth0" }
[tunnel.dmvpn0.ipsec]
psk-file = "/etc/dmvpn/psk"
[[tunnel.dmvpn0.authorize]]
peer = "spoke1.example.net"
addresses = ["10.0.0.11", "10.0.0.64/26"]
networks = ["10.10.1.0/24"]
[[tunnel.dmvpn0.authorize]]
peer = "*.example.net"
from = "certificate"
networks = ["10.10.0.0/16"]
[[tunnel.dmvpn0.authorize]]
peer = "*"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Authorization{
		{
			Peer:      "spoke1.example.net",
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/32"), netip.MustParsePrefix("10.0.0.64/26")},
			Networks:  []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24")},
		},
		{Peer: "*.example.net", Certificate: true, Networks: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}},
		{Peer: "*"},
	}
	if diff := cmp.Diff(want, got.Tunnels[0].Authorize, compareAddresses); diff != "" {
		t.Error(diff)
	}
}
