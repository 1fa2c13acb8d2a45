// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"

	"dmvpn/cmd/internal/instance"
)

// behind are the prefixes that only this tunnel leads to: what must not follow the
// default route in clear while the tunnel is away.
func (t *tunnel) behind() []netip.Prefix {
	all := []netip.Prefix{t.config.Address.Masked()}
	for _, n := range t.config.NHS {
		for _, p := range n.Routes {
			// A default route by the tunnel is the operator's choice of a way out, not a site.
			if p.Bits() > 0 {
				all = append(all, p.Masked())
			}
		}
	}
	for _, a := range t.config.Authorize {
		for _, p := range a.Networks {
			all = append(all, p.Masked())
		}
	}
	return all
}

// standUnreachable stands unreachable routes under them, which outlive the daemon, a
// crash and teardown, until `dmvpn teardown --release`.
func (t *tunnel) standUnreachable() error {
	return instance.StandUnreachable(t.daemon.paths, t.daemon.host, t.behind())
}
