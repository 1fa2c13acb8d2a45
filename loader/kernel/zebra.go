// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net/netip"
	"slices"
)

// Protocols of the routes that FRR's zebra installs (zebra/rt_netlink.h): its own, those of its
// daemons from BGP on, and Babel's.
const (
	protocolZebra      = 11
	protocolBabel      = 42
	protocolZebraFirst = 186
	protocolZebraLast  = 199
)

func ofZebra(protocol uint8) bool {
	return protocol == protocolZebra || protocol == protocolBabel || protocol >= protocolZebraFirst && protocol <= protocolZebraLast
}

// Zebra says whether FRR has a route of that very prefix. Zebra takes the highest octet of a
// route's metric for its administrative distance: ours of the same prefix has distance 0, and
// zebra removes its own from the kernel as long as ours stands. So ours must not be of that prefix.
func (r *Routes) Zebra(p netip.Prefix) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.ContainsFunc(r.order, func(table int) bool {
		return slices.ContainsFunc(r.table.entries[place{table, p.Masked()}], func(e entry) bool { return ofZebra(e.protocol) })
	})
}

// ZebraBy says whether FRR has any route by a device. Then it may have more that cannot be seen:
// those of which ours of the same prefix was first.
func (r *Routes) ZebraBy(ifindex int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table.zebras[ifindex] > 0
}
