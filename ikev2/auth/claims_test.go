// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/x509"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"testing"
)

func TestACertificateGrantsByItsAlternativeNames(t *testing.T) {
	c := &x509.Certificate{IPAddresses: []net.IP{net.ParseIP("10.0.0.11"), net.ParseIP("2001:db8::11"), {1, 2, 3}}}
	for _, text := range []string{
		"dmvpn:10.10.1.0/24", "DMVPN:10.11.0.0/16", "dmvpn:2001:db8:1::/48",
		"dmvpn:10.10.1.7/24", "dmvpn:10.10.1.0", "dmvpn://10.12.0.0/16", "dmvpn:", "https:10.13.0.0/16", "https://example.net/10.14.0.0/16",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	got := ClaimsOf(c)
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("2001:db8::11")}; !slices.Equal(got.Addresses, want) {
		t.Errorf("addresses %v, want %v", got.Addresses, want)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24"), netip.MustParsePrefix("10.11.0.0/16"), netip.MustParsePrefix("2001:db8:1::/48")}
	if !slices.Equal(got.Networks, want) {
		t.Errorf("networks %v, want %v", got.Networks, want)
	}
}
