// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// Info is what an operator is shown of one IKE SA. It has no secrets.
type Info struct {
	ID         uint64
	Connection string
	State      string // connecting, half-open, established, rekeyed, deleting
	Initiator  bool   // we are its original initiator
	SPIi, SPIr wire.SPI
	Peer       Peer // Identity is empty until it is authenticated
	LocalID    string
	Suite      crypto.Suite
	// KeyExchange and Further are the methods of IKE_SA_INIT or the rekey.
	KeyExchange   uint16
	Further       []uint16
	Fragmentation bool
	MOBIKE        bool
	Proof         Proof         // what we proved ourselves with; "" until then
	PeerProof     Proof         // what the peer did
	Age           time.Duration // since its keys stand, or else since it was begun
	RekeyIn       time.Duration // 0: not planned
	Heard         time.Duration // since the peer's last authenticated message
	Queued        int           // tasks, the running one included
	Repeats       int           // of the request that is not answered yet
	Children      []ChildInfo
}

// Proof is what an end proved its identity with: "psk", or the kind of its certificate's
// key, "rsa", "ecdsa" or "ed25519".
type Proof string

const sharedKey Proof = "psk"

// proofBy is that of a signature by a key.
func proofBy(public any) Proof {
	switch public.(type) {
	case *rsa.PublicKey:
		return "rsa"
	case *ecdsa.PublicKey:
		return "ecdsa"
	case ed25519.PublicKey:
		return "ed25519"
	}
	return "signature"
}

// ChildInfo is one Child SA in an Info.
type ChildInfo struct {
	Inbound, Outbound uint32
	State             string // installed, active, rekeyed, deleting
	Suite             crypto.Suite
	KeyExchange       uint16 // of its own; wire.KeyExchangeNone without
	Further           []uint16
	Extended          bool
	Mode              Mode
	Encapsulation     bool
	Here, There       []wire.Selector
	Age               time.Duration
	RekeyIn           time.Duration
}

// Counters count since the machine was made or imported.
type Counters struct {
	HalfOpen, Established, Children, Attempts int // now

	InitReceived, CookiesSent, HalfOpenRefused, HalfOpenExpired   uint64
	AuthFailed, Integrity, Syntax, Unknown, Replayed, OutOfWindow uint64
	Repeats, RepeatsAnswered, PeersDead                           uint64
}
