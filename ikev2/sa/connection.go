// SPDX-License-Identifier: Apache-2.0

package sa

import (
	stdcrypto "crypto"
	"crypto/x509"
	"io"
	"net/netip"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// Config is what a Machine is made with. The machine does not change it, nor may
// anybody else afterwards.
type Config struct {
	Connections []*Connection
	Installer   Installer
	Random      io.Reader // never fails
	// Instance is drawn by each process at its start. It tells a peer's second
	// attempt from its clone and from its return after a crash.
	Instance [8]byte
	// CrashSecret makes the tokens of quick crash detection (RFC 6290): the same after
	// a restart. Empty: no tokens.
	CrashSecret crypto.Secret
	// Known is told of our own SPI of each IKE SA when it comes and when it goes; nil:
	// nobody is.
	Known func(own wire.SPI, there bool)
	// Trace says whether messages with this remote address are traced; nil: none.
	Trace  func(remote netip.Addr) bool
	Limits Limits
}

// Connection is the policy for the peers of one tunnel.
type Connection struct {
	Name string
	// Local is our identity.
	Local auth.Identity
	// Address is the only local address that it is for, if valid.
	Address netip.Addr
	// Peers are the identities that are let in; none: everybody with a credential.
	Peers []auth.Pattern
	// Tag tells connections between the same two ends apart, such as a tunnel's key. It
	// goes to our own kind in a private notification.
	Tag []byte

	// SharedKeys, or Key with its Chain (leaf first), is what we prove ourselves with:
	// Key if both are there. A peer may use either that we can check.
	SharedKeys auth.SharedKeys
	Key        stdcrypto.Signer
	Chain      []*x509.Certificate
	Trust      *auth.Trust

	IKE, ESP []proposal.Proposal

	Mode Mode
	// Here and There are what tunnel mode, or an unusual transport mode, carries. Empty:
	// protocol 47 between the two underlay addresses.
	Here, There []wire.Selector

	// ForceEncapsulation asks for UDP encapsulation although no NAT is on the way. A peer that
	// knows no NAT traversal, or sends ESP without UDP all the same, gets it so too.
	ForceEncapsulation bool
	// PassiveIKE leaves the initiation of rekeys to the peer; for tests.
	PassiveIKE bool
	Childless  bool // IKE_AUTH makes no Child SA (RFC 6023); it is made by CREATE_CHILD_SA

	Lifetimes Lifetimes
	// Liveness is how long nothing may have come from a peer before it is asked; 0: never. After
	// twice that, and some repeats, it is dead.
	Liveness time.Duration
	// Keepalive is the pause between NAT keepalives; 0: none.
	Keepalive time.Duration
	// FragmentSize is the largest IP packet that an IKE message is sent in.
	FragmentSize int
}

// Lifetimes end keys. Soft ones start a rekey, after a random part of Jitter less, of bytes and
// packets after up to a tenth less; hard ones end the SA. No jitter is longer than a tenth of
// what it shortens. 0: never.
type Lifetimes struct {
	IKESoft, IKEHard         time.Duration
	ChildSoft, ChildHard     time.Duration
	Jitter                   time.Duration
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64
	Reauthentication         time.Duration
}

// Defaults of a connection.
const (
	DefaultIKESoft      = 4 * time.Hour
	DefaultChildSoft    = time.Hour
	DefaultLiveness     = 30 * time.Second
	DefaultKeepalive    = 20 * time.Second
	DefaultFragmentSize = 1280
)

// SetDefaults fills in what is zero and has a default: proposals, lifetimes (hard ones
// at 110 %, jitter at 10 % of the shortest one that ends), liveness, keepalive, fragment
// size. A negative duration means never and becomes 0.
func (c *Connection) SetDefaults() {
	if len(c.IKE) == 0 {
		c.IKE = proposal.Default(wire.ProtocolIKE)
	}
	if len(c.ESP) == 0 {
		c.ESP = proposal.Default(wire.ProtocolESP)
	}
	l := &c.Lifetimes
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.IKESoft, DefaultIKESoft}, {&l.ChildSoft, DefaultChildSoft},
		{&c.Liveness, DefaultLiveness}, {&c.Keepalive, DefaultKeepalive},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		*d.field = max(*d.field, 0)
	}
	if l.IKEHard == 0 {
		l.IKEHard = l.IKESoft + l.IKESoft/10
	}
	if l.ChildHard == 0 {
		l.ChildHard = l.ChildSoft + l.ChildSoft/10
	}
	if l.Jitter == 0 {
		l.Jitter = shortest(l.IKESoft, l.ChildSoft, l.Reauthentication) / 10
	}
	if c.FragmentSize == 0 {
		c.FragmentSize = DefaultFragmentSize
	}
}

// shortest is that of some lifetimes, of which 0 is none.
func shortest(all ...time.Duration) (least time.Duration) {
	for _, d := range all {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}
