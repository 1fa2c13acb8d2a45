// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Path is between which endpoints the packets of an association travel. Ports are those
// of UDP.
type Path struct {
	Local, Remote netip.AddrPort
	Encapsulation bool // in UDP (RFC 3948)
}

// Association is a pair of SAs with one peer, an inbound and an outbound one.
type Association struct {
	Peer uint64 // of whoever negotiates
	// Owner is for who installed it, and is not looked at here.
	Owner any
	In    *Inbound
	Out   *Outbound
	Usage *Usage
	// Tunnel is that of tunnel mode; nil: transport mode.
	Tunnel *Tunnel
	// Sending is held by who has sealed packets and not sent them yet: whoever else has some waits,
	// so that sequence numbers leave in their order. A receiver's window may be of 32 packets
	// (RFC 4303, section 3.4.3).
	Sending sync.Mutex

	path     atomic.Pointer[Path]
	first    atomic.Pointer[time.Time] // when packets came in for the first time
	received atomic.Int64              // since then, in nanoseconds: the wall clock may jump
	moved    atomic.Pointer[netip.AddrPort]
}

// Path gives where its packets go now.
func (a *Association) Path() *Path { return a.path.Load() }

// Received is when a packet last came in, on the clock that Arrived was told of; zero: never.
func (a *Association) Received() time.Time {
	if first := a.first.Load(); first != nil {
		return first.Add(time.Duration(a.received.Load()))
	}
	return time.Time{}
}

// Arrived notes that packets were opened at a time. elsewhere is true, once for each
// endpoint, if the newest of them came from another one than packets go to, or without UDP
// (port 0) from the address that packets go to in UDP.
func (a *Association) Arrived(now time.Time, remote netip.AddrPort, newest bool) (elsewhere bool) {
	first := a.first.Load()
	if first == nil {
		t := now // a copy, as below
		a.first.CompareAndSwap(nil, &t)
		first = a.first.Load()
	}
	a.received.Store(int64(now.Sub(*first)))
	if p := a.path.Load(); !newest || p.Remote == remote || remote.Port() == 0 && (!p.Encapsulation || p.Remote.Addr() != remote.Addr()) {
		return false
	}
	if m := a.moved.Load(); m != nil && *m == remote {
		return false
	}
	to := remote // a copy: remote itself would be allocated for every packet
	a.moved.Store(&to)
	return true
}

// Used gives the packets and octets of payload so far, of both directions.
func (a *Association) Used() (packets, bytes uint64) {
	in, out := a.In.Stats(), a.Out.Stats()
	return in.Packets + out.Packets, in.Bytes + out.Bytes
}
