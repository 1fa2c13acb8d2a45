// SPDX-License-Identifier: Apache-2.0

// Package ikev2 runs the IKE machine of ikev2/sa: it owns the event loop, the
// timers, the queues in front of it, the resolver's goroutines and the packet
// trace, carries out what the machine asks for, and reads keys, certificates and
// shared keys from files. It knows no socket and no ESP: they are behind
// interfaces, and cmd hands them in.
package ikev2

import (
	"context"
	"net/netip"

	"dmvpn/ikev2/sa"
)

// Sender is the UDP sockets of IKE. The loop alone calls it, and waits for it.
type Sender interface {
	// Send sends an IKE message from our endpoint; an unspecified local address leaves
	// the choice to the kernel. The non-ESP marker of RFC 3948 is the Sender's business:
	// it goes in front on all local ports but 500.
	Send(local, remote netip.AddrPort, message []byte) error
	// Keepalive sends the one octet that keeps a NAT's mapping (RFC 3948, section 2.3).
	Keepalive(local, remote netip.AddrPort) error
	// Source gives our address that packets to a peer leave from, where the caller of
	// Connect left it open: what NAT detection compares must be the true one.
	Source(remote netip.Addr) (netip.Addr, error)
}

// Handler is told what becomes of peers. The loop calls it: it must return soon,
// and must not wait for the Service. Put, Connect and Disconnect do not wait.
type Handler interface {
	Up(sa.Peer)
	Down(peer sa.Peer, reason string)
	Moved(peer sa.Peer, old netip.AddrPort)
	Failed(sa.Failed)
}

// Resolver looks DNS names up; *net.Resolver is one. network is "ip4", "ip6", or "ip" for both.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}
