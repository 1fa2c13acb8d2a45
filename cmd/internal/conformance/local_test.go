// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/lab"
)

// local makes a whole prefix a node's own.
func local(t *testing.T, n *lab.Node, prefix string) {
	t.Helper()
	lo, err := n.Net.LinkByName("lo")
	if err == nil {
		_, local, _ := net.ParseCIDR(prefix)
		err = n.Net.RouteAdd(&netlink.Route{
			Dst: local, LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
