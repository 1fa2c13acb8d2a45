// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// entry is a route with what decides which of several answers, and what tells
// apart those that the kernel holds beside each other.
type entry struct {
	route           Route
	table           int
	metric          uint32
	kind            int // unix.RTN_UNICAST …
	protocol, scope uint8
	source          netip.Addr
}

// classify sets what the kind of the route says.
func (e *entry) classify() {
	switch e.kind {
	case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST, unix.RTN_MULTICAST:
		e.route.Local = true
	case unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_BLACKHOLE:
		e.route.Unreachable = true
		e.route.IfIndex = 0 // the kernel may name the loopback device
	}
}

// entryOf turns a listed route. NextHop stays invalid where the destination is
// on link; Lookup fills it in.
func entryOf(r netlink.Route) entry {
	e := entry{table: r.Table, metric: uint32(r.Priority), kind: r.Type, protocol: uint8(r.Protocol), scope: uint8(r.Scope)}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		e.source = source.Unmap()
	}
	e.route = Route{Prefix: prefixOf(r.Dst).Masked(), IfIndex: r.LinkIndex, NHRP: r.Protocol == Protocol}
	if !e.route.Prefix.IsValid() {
		e.route.Prefix = netip.PrefixFrom(unspecified(r.Family), 0)
	}
	gateway := r.Gw
	for _, path := range r.MultiPath {
		if path.Flags&unix.RTNH_F_DEAD == 0 {
			e.route.IfIndex, gateway = path.LinkIndex, path.Gw
			break
		}
	}
	if a, ok := netip.AddrFromSlice(gateway); ok {
		e.route.NextHop = a.Unmap()
	}
	e.classify()
	return e
}

// unspecified is the family's address of nobody.
func unspecified(family int) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// mirrored says whether the mirror holds such a route: IP, no cached exception, no type of
// service.
func mirrored(family, tos int, flags uint32) bool {
	return (family == unix.AF_INET || family == unix.AF_INET6) && tos == 0 && flags&unix.RTM_F_CLONED == 0
}

// parseEntry reads the body of RTM_NEWROUTE or RTM_DELROUTE; false for what the
// mirror does not hold.
func parseEntry(body []byte) (entry, bool) {
	if len(body) < unix.SizeofRtMsg {
		return entry{}, false
	}
	msg := nl.DeserializeRtMsg(body)
	attributes, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	destination := unspecified(int(msg.Family))
	if err != nil || int(msg.Dst_len) > destination.BitLen() {
		return entry{}, false
	}
	e := entry{table: int(msg.Table), kind: int(msg.Type), protocol: msg.Protocol, scope: msg.Scope}
	e.route.NHRP = msg.Protocol == Protocol
	for _, a := range attributes {
		switch v := a.Value; a.Attr.Type {
		case unix.RTA_DST:
			if d, ok := netip.AddrFromSlice(v); ok {
				destination = d
			}
		case unix.RTA_GATEWAY:
			e.route.NextHop, _ = netip.AddrFromSlice(v)
		case unix.RTA_PREFSRC:
			e.source, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			e.route.IfIndex = int(number(v))
		case unix.RTA_PRIORITY:
			e.metric = number(v)
		case unix.RTA_TABLE:
			e.table = int(number(v))
		case unix.RTA_MULTIPATH:
			e.firstPath(v)
		}
	}
	if !mirrored(int(msg.Family), int(msg.Tos), msg.Flags) || destination.BitLen() != unspecified(int(msg.Family)).BitLen() {
		return entry{}, false
	}
	e.route.Prefix = netip.PrefixFrom(destination, int(msg.Dst_len)).Masked()
	e.classify()
	return e, true
}

// firstPath takes the next hop of the first path that is not dead.
func (e *entry) firstPath(v []byte) {
	for len(v) >= unix.SizeofRtNexthop {
		hop := nl.DeserializeRtNexthop(v)
		length := int(hop.RtNexthop.Len)
		if length > len(v) || length < unix.SizeofRtNexthop {
			return
		}
		if hop.Flags&unix.RTNH_F_DEAD == 0 {
			e.route.IfIndex = int(hop.Ifindex)
			e.gateway(v[unix.SizeofRtNexthop:length])
			return
		}
		v = v[min(len(v), (length+3)&^3):]
	}
}

func (e *entry) gateway(v []byte) {
	attributes, err := nl.ParseRouteAttr(v)
	if err != nil {
		return
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.RTA_GATEWAY {
			e.route.NextHop, _ = netip.AddrFromSlice(a.Value)
		}
	}
}

// number reads a 32-bit attribute, 0 if it is short.
func number(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}
