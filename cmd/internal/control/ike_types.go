// SPDX-License-Identifier: Apache-2.0

package control

import (
	"net/netip"
	"time"
)

// IKE is GET /v1/ike.
type IKE struct {
	SAs      []IKESA           `json:"sas"`
	Wants    []IKEWant         `json:"wants"`    // the peers that are connected to
	Counters map[string]uint64 `json:"counters"` // by name, such as initial-messages-dropped
}

// States of an IKESA.
const (
	IKEConnecting  = "connecting"  // we began, the peer has not proved itself yet
	IKEHalfOpen    = "half-open"   // the peer began, and has not proved itself yet
	IKEEstablished = "established" // in use
	IKEReplaced    = "replaced"    // another one serves the peer, and this one goes
	IKEDeleting    = "deleting"
)

// IKESA is one IKE SA.
type IKESA struct {
	ID        uint64         `json:"id"`
	Tunnel    string         `json:"tunnel,omitempty"` // absent: not known yet whose it is
	Peer      uint64         `json:"peer,omitempty"`   // its number, the same for all IKE SAs of the peer; absent until it is authenticated
	State     string         `json:"state"`
	Initiator bool           `json:"initiator"` // we began
	SPIi      string         `json:"spi_i"`     // 16 hexadecimal digits
	SPIr      string         `json:"spi_r"`
	Local     netip.AddrPort `json:"local"`
	Remote    netip.AddrPort `json:"remote"`
	LocalID   string         `json:"local_id"`
	RemoteID  string         `json:"remote_id,omitempty"` // absent until it is authenticated
	Proof     string         `json:"proof,omitempty"`     // what we proved ourselves with: psk, rsa, ecdsa, ed25519
	PeerProof string         `json:"peer_proof,omitempty"`
	Group     bool           `json:"group,omitempty"`     // only membership was proved: others have the same key
	NATLocal  bool           `json:"nat_local,omitempty"` // we are behind a NAT
	NATRemote bool           `json:"nat_remote,omitempty"`
	Suite     string         `json:"suite,omitempty"` // as in the configuration; absent until it is agreed on
	Algorithms
	Fragmentation bool      `json:"fragmentation,omitempty"`
	MOBIKE        bool      `json:"mobike,omitempty"`
	Since         time.Time `json:"since"` // its keys stand, or else it was begun
	Heard         time.Time `json:"heard,omitzero"`
	Rekey         time.Time `json:"rekey,omitzero"`     // planned for; absent: not
	Queued        int       `json:"queued,omitempty"`   // exchanges that wait, the running one included
	Repeats       int       `json:"repeats,omitempty"`  // of the request that is out
	Children      []ChildSA `json:"children,omitempty"` // absent: none
}

// Algorithms are those of an IKE SA or a Child SA, in the words of strongSwan's
// notation.
type Algorithms struct {
	Encryption  string   `json:"encryption,omitempty"`
	Integrity   string   `json:"integrity,omitempty"` // absent with an AEAD
	PRF         string   `json:"prf,omitempty"`
	KeyExchange string   `json:"key_exchange,omitempty"` // absent: none of its own
	Further     []string `json:"further,omitempty"`      // additional key exchanges (RFC 9370)
}

// ChildSA is one Child SA, both directions.
type ChildSA struct {
	Inbound  string `json:"inbound"` // SPI, 8 hexadecimal digits
	Outbound string `json:"outbound"`
	State    string `json:"state"` // installed, active, rekeyed, deleting
	Suite    string `json:"suite"`
	Algorithms
	Mode          string    `json:"mode"` // transport, tunnel
	Encapsulation bool      `json:"encapsulation,omitempty"`
	Here          []string  `json:"here"` // selectors
	There         []string  `json:"there"`
	Packets       uint64    `json:"packets"` // both ways
	Octets        uint64    `json:"octets"`
	Dropped       ESPDrops  `json:"dropped,omitzero"` // of what came by it
	Since         time.Time `json:"since"`
	Rekey         time.Time `json:"rekey,omitzero"`
}

// ESPDrops are the packets that came by one Child SA and were dropped, by the names of the
// reasons. An SPI that nobody has is no SA's: see Drop.
type ESPDrops struct {
	Replay    uint64 `json:"replay,omitempty"`
	Integrity uint64 `json:"integrity,omitempty"`
	Truncated uint64 `json:"truncated,omitempty"` // or padded wrongly
}

// IKEWant is a peer that is connected to for as long as the daemon runs.
type IKEWant struct {
	Tunnel string     `json:"tunnel"`
	Host   string     `json:"host"`            // address or DNS name
	Remote netip.Addr `json:"remote,omitzero"` // absent: the name has no address yet
	Up     bool       `json:"up"`
	Reason string     `json:"reason,omitempty"` // why it is not, or was not
	Retry  time.Time  `json:"retry,omitzero"`
}

// IKEDone is the answer to POST /v1/ike/rekey and /v1/ike/terminate: how many SAs
// were meant. What becomes of them is seen in GET /v1/ike.
type IKEDone struct {
	SAs int `json:"sas"`
}

// IKELine is one IKE message of GET /v1/ike/trace.
type IKELine struct {
	Time    time.Time      `json:"time"`
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Out     bool           `json:"out"` // we sent it
	Message string         `json:"message"`
	Missed  uint64         `json:"missed,omitempty"` // lines before it: the reader was too slow
}
