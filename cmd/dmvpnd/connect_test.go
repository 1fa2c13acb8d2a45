// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"
)

// TestTheBroadcastAddressIsThatOfTheIPv4Network, where it has one.
func TestTheBroadcastAddressIsThatOfTheIPv4Network(t *testing.T) {
	for own, want := range map[string]string{
		"10.0.0.1/24": "10.0.0.255", "fd00::1/64 10.1.2.3/22": "10.1.3.255", "10.0.0.1/30": "10.0.0.3", "128.0.0.1/1": "255.255.255.255",
		"10.0.0.0/31": "invalid IP", "10.0.0.1/32": "invalid IP", "fd00::1/64": "invalid IP",
	} {
		var all []netip.Prefix
		for _, p := range strings.Fields(own) {
			all = append(all, netip.MustParsePrefix(p))
		}
		if got := broadcast(all).String(); got != want {
			t.Errorf("%s: %s, expected %s", own, got, want)
		}
	}
}
