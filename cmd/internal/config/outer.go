// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// outerPackets refuses prefixes that only the tunnel leads to and that hold a server's underlay
// address: what stands under them would keep the outer packets from it. A default route is none
// that anything stands under; a VRF, a mark or a table has routes of its own.
func (t *table) outerPackets(u Tunnel) {
	if !u.Protected || u.Underlay.VRF != "" || u.Underlay.Mark != 0 || u.VRF != "" || u.Table != 0 {
		return
	}
	for _, server := range u.NHS {
		a, err := netip.ParseAddr(server.NBMA)
		if err != nil {
			continue
		}
		refuse := func(path, remedy string, list []netip.Prefix) {
			for i, p := range list {
				if p.Contains(a) && p.Bits() > 0 {
					t.doc.failValue(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("it holds %s, the underlay address of a server: the tunnel's own outer packets are in it", a), remedy)
				}
			}
		}
		const sites = "write the prefixes of the sites alone"
		refuse(join(t.path, "guard"), sites, u.Guard)
		for i, n := range u.NHS {
			all := "0.0.0.0/0"
			if a.Is6() {
				all = "::/0"
			}
			refuse(fmt.Sprintf("%s.nhs[%d].routes", t.path, i), sites+", or "+all+" for everything", n.Routes)
		}
	}
}
