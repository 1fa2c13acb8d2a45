// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// Installer is the data plane of ESP. Its methods return when the work is done and
// never call the machine. A Child SA is named by the SPI of its inbound direction.
//
// The life of a Child SA: Reserve, Install (inbound is open, outbound known),
// Activate (the peer's packets leave by it from now on), Retire (outbound is
// gone, inbound still takes late packets), Remove.
type Installer interface {
	// Reserve draws an SPI that nobody has, above 255.
	Reserve() (uint32, error)
	// Release gives back one that was reserved and never installed.
	Release(spi uint32)
	// Install takes the keys over: it copies them. On an error nothing is installed,
	// and the SPI stays reserved.
	Install(c *Child) error
	// Activate makes the SA the peer's for sending, in one step.
	Activate(inbound uint32)
	Retire(inbound uint32)
	Remove(inbound uint32)
	// Move changes where the SA's packets go to and come from.
	Move(inbound uint32, local, remote netip.AddrPort, encapsulation bool)
	// Received is when an authenticated packet last came in by the SA; zero: never.
	Received(inbound uint32) time.Time
}

// Mode is how ESP wraps packets.
type Mode uint8

// The modes (RFC 4301, section 4.1).
const (
	Transport Mode = iota
	Tunnel
)

func (m Mode) String() string {
	if m == Tunnel {
		return "tunnel"
	}
	return "transport"
}

// Child is a Child SA, both directions, as the Installer gets it.
type Child struct {
	Peer              Peer
	IKE               uint64 // number of the IKE SA that made it
	Inbound, Outbound uint32
	Suite             crypto.Suite
	Extended          bool // sequence numbers of 64 bits
	In, Out           crypto.DirectionKeys
	Mode              Mode
	// Here and There are the negotiated selectors of our side and the peer's.
	Here, There   []wire.Selector
	Local, Remote netip.AddrPort
	Encapsulation bool   // UDP (RFC 3948)
	Replaces      uint32 // inbound SPI of the SA that this one takes over from, 0: none
	// Limits of both directions together; 0: none. Soft ones are below the hard ones.
	SoftBytes, HardBytes, SoftPackets, HardPackets uint64
}

// wipe overwrites the keys, which the Installer has copied or does not get.
func (c *Child) wipe() {
	for _, k := range []crypto.DirectionKeys{c.In, c.Out} {
		k.Encryption.Wipe()
		k.Integrity.Wipe()
	}
}
