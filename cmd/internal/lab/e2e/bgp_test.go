// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"dmvpn/cmd/internal/lab/cloud"
)

// TestBGPCarriesThePrefixes: phase 3 with FRR, iBGP and the hub as route reflector that names
// itself as next hop.
func TestBGPCarriesThePrefixes(t *testing.T) { modes(t, bgpCarriesThePrefixes) }

func bgpCarriesThePrefixes(t *testing.T, m mode) {
	c := carried(t, m, 2)
	f := frr(t, c, "frr-ibgp", "bgpd")
	for n := 1; n <= 2; n++ {
		learns(t, c, "hub", cloud.Network(n), cloud.TunnelAddress(n))
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(0), cloud.HubTunnel())
		learns(t, c, c.Spokes[n-1].Name, cloud.Network(3-n), cloud.HubTunnel())
	}
	ping(t, c.Hosts[0], 2)
	short(t, c, 1, 2)
	short(t, c, 2, 1)
	settled(t, c, "spoke1", cloud.Network(2))
	// The route that the daemon installed stays beside the shortcut's, and ends it when it goes.
	learns(t, c, "spoke1", cloud.Network(2), cloud.HubTunnel())
	f.typed(t, 2, "configure terminal", "router bgp 65000", "address-family ipv4 unicast", "no network 10.10.2.0/24")
	forgets(t, c, "spoke1", cloud.Network(2))
	loses(t, c, "spoke1", cloud.Network(2))
	loses(t, c, "spoke2", cloud.Network(1)) // spoke1 says that it is over
}
