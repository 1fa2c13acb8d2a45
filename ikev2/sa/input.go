// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"

	"dmvpn/ikev2/auth"
)

// Input is what happens to a Machine: a pointer to one of the structures below.
type Input interface{ input() }

// Datagram is an IKE message that came in, without its non-ESP marker. Handle does
// not keep Data.
type Datagram struct {
	Local, Remote netip.AddrPort
	Data          []byte
}

// Connect wants an IKE SA with a Child SA to a peer, and goes on wanting it, with
// growing pauses, until Disconnect. One that is there or under way is used.
type Connect struct {
	Connection    string
	Local, Remote netip.AddrPort // Local's address may be the unspecified one
	Identity      auth.Identity  // who the peer must be; zero: whom the connection lets in
	// Once asks for a single attempt; its failure is reported and forgotten.
	Once bool
}

// Disconnect takes a Connect of the same identity back, and deletes the IKE SAs that no
// other Connect wants: what it led to, wherever that is by now, and those with peers at the
// remote address (and port, unless it is 0), of its identity if it has one.
type Disconnect struct {
	Connection string
	Remote     netip.AddrPort
	Identity   auth.Identity
}

// Terminate deletes an IKE SA by its number (Info.ID) or, with Child, one Child SA
// by its inbound SPI.
type Terminate struct {
	ID    uint64
	Child uint32
}

// Rekey rekeys an IKE SA by its number or, with Child, one Child SA by its inbound
// SPI. Create, with the number of an IKE SA, makes a further Child SA instead.
type Rekey struct {
	ID     uint64
	Child  uint32
	Create bool
}

// Expired tells that a Child SA, named by its inbound SPI, reached its soft or hard
// limit of octets or packets. It may come more than once.
type Expired struct {
	Inbound uint32
	Hard    bool
}

// Arrived tells of an authenticated ESP packet: the first one of a Child SA, one
// from another remote endpoint than the SA has, or one without UDP where the SA is in
// UDP. Local and Remote are where it went and came from.
type Arrived struct {
	Inbound       uint32
	Local, Remote netip.AddrPort
	Raw           bool // without UDP: the endpoints do not count
}

// UnknownSPI tells of an ESP packet with an SPI that nobody has (section 1.5).
type UnknownSPI struct {
	Local, Remote netip.AddrPort
	SPI           uint32
}

// Unreachable is a hint that packets to an endpoint do not arrive, such as an ICMP
// message. It makes the machine look, and proves nothing (section 2.4).
type Unreachable struct {
	Local, Remote netip.AddrPort
}

// Readdressed tells that an underlay address of ours became another one. Where a
// Child SA is in transport mode a new IKE SA is made before the old one goes.
type Readdressed struct {
	Old, New netip.Addr
}

// Elapsed is no event but the time: what Next named is due.
type Elapsed struct{}

// Shutdown deletes all IKE SAs, without waiting for answers, and drops all wants.
type Shutdown struct{}

func (*Datagram) input()    {}
func (*Connect) input()     {}
func (*Disconnect) input()  {}
func (*Terminate) input()   {}
func (*Rekey) input()       {}
func (*Expired) input()     {}
func (*Arrived) input()     {}
func (*UnknownSPI) input()  {}
func (*Unreachable) input() {}
func (*Readdressed) input() {}
func (*Elapsed) input()     {}
func (*Shutdown) input()    {}
