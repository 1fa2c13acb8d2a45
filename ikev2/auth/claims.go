// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/x509"
	"net/netip"
	"strings"
)

// Claims are what a certificate grants its owner beyond a name, by its subject
// alternative names (RFC 5280, section 4.2.1.6): addresses, and as URIs of the scheme
// "dmvpn" prefixes, such as "dmvpn:10.10.1.0/24".
type Claims struct {
	Addresses []netip.Addr
	Networks  []netip.Prefix
}

// claimScheme begins the URI of a prefix.
const claimScheme = "dmvpn"

// ClaimsOf reads a certificate that has been verified. URIs that are no prefix grant
// nothing. The certificate's size bounds the result.
func ClaimsOf(c *x509.Certificate) *Claims {
	var all Claims
	for _, octets := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(octets); ok {
			all.Addresses = append(all.Addresses, a.Unmap())
		}
	}
	for _, u := range c.URIs {
		if !strings.EqualFold(u.Scheme, claimScheme) {
			continue
		}
		if p, err := netip.ParsePrefix(u.Opaque); err == nil && p == p.Masked() {
			all.Networks = append(all.Networks, p)
		}
	}
	return &all
}
