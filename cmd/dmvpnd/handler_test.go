// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/cmd/internal/config"
	"dmvpn/loader/esp"
)

func TestNHRPByAnAssociationWhosePeerIsGoneIsNobodys(t *testing.T) {
	tun := &tunnel{}
	tun.secure = newSecure(tun, nil) // there is no NHRP service that could take it
	if tun.deliver(&esp.Association{Peer: 7}, []byte("registration")) {
		t.Error("it was taken")
	}
}

func TestAProtectedTunnelsMachineWantsIdentities(t *testing.T) {
	for _, protected := range []bool{false, true} {
		if got := machine(config.Tunnel{Protected: protected}, netip.MustParsePrefix("10.0.0.1/24"), 1400).Authenticated; got != protected {
			t.Errorf("protected %v: authenticated %v", protected, got)
		}
	}
}
