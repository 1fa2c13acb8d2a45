// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
)

// Endpoint is a peer on the underlay: its NBMA address, the UDP port that was
// observed (0 for plain GRE), and who IKE says that it is ("" on a plain tunnel, or
// where nobody has said so yet). With an identity, address and port are hints.
type Endpoint struct {
	NBMA     netip.Addr
	Port     uint16
	Identity string `json:",omitempty"`
}

// Is says whether both are the same peer: if both have an identity, whether it is the
// same one, wherever they are; else whether they are at the same address and port.
func (e Endpoint) Is(other Endpoint) bool {
	if e.Identity != "" && other.Identity != "" {
		return e.Identity == other.Identity
	}
	return e.NBMA == other.NBMA && e.Port == other.Port
}

// Key is what tables find a peer by: its identity alone if it has one, so that it
// stays what it is when it moves.
func (e Endpoint) Key() Endpoint {
	if e.Identity != "" {
		return Endpoint{Identity: e.Identity}
	}
	return e
}

// keys are those by which a table may have the peer: it may have been entered before
// anybody said who it is.
func (e Endpoint) keys() []Endpoint {
	if e.Identity == "" {
		return []Endpoint{e}
	}
	return []Endpoint{e.Key(), e.Place()}
}

// Place is where the endpoint is, without who it is.
func (e Endpoint) Place() Endpoint { return Endpoint{NBMA: e.NBMA, Port: e.Port} }

// compareEndpoints orders keys.
func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(a.NBMA.Compare(b.NBMA), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Identity, b.Identity))
}
