// SPDX-License-Identifier: Apache-2.0

// Package conformance holds NHRP servers and clients against RFC 2332 over the
// wire. It plays stations of its own behind raw GRE sockets (spokes, a transit NHS,
// or the NHS at which a client registers), sends packets made by hand, right and
// wrong ones, and judges what comes back. It knows nothing of the target but its
// addresses, GRE key and password.
//
// A case is a row of docs/nhrp-conformance.md that can be seen from outside; what
// cannot is in Hidden, with the reason.
package conformance

import (
	"net/netip"
	"regexp"
	"time"
)

// A Role is what the target is.
type Role string

// The roles: next hop server and next hop client.
const (
	NHS Role = "nhs"
	NHC Role = "nhc"
)

// A Level is how binding a requirement is.
type Level string

// Levels: of RFC 2332, and of where it is silent.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	Plain  Level = "text" // said without such a word, or MAY
	Habit  Level = "habit"
)

// Options say what is tried, and from where.
type Options struct {
	Role   Role
	Target netip.Addr // its NBMA address
	// Server is the NHS's overlay address with the overlay's prefix: the target's, or,
	// against a client, that of the first NHS that is played; the next ones follow.
	Server netip.Prefix
	Key    int64  // of GRE, −1: none
	Auth   string // Cisco's authentication, "" for none
	// Local are our NBMA addresses: addresses or whole prefixes that are local to this host.
	Local []netip.Prefix
	// Clients are the overlay addresses that our stations take.
	Clients netip.Prefix
	// Networks are what the stations say they have behind them, a /24 each.
	Networks netip.Prefix
	// Behind is a network behind the target, invalid if none is named.
	Behind netip.Prefix
	// Routed are, against a client, what it routes to each of the servers in Local.
	Routed []netip.Prefix
	Wait   time.Duration  // for what should not come
	AtOnce int            // cases
	Run    *regexp.Regexp // of ids; nil: all
}
