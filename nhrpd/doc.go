// SPDX-License-Identifier: Apache-2.0

// Package nhrpd runs the NHRP machine of a tunnel: it owns the event loop, the
// timers, the resolver's goroutines and the saved state, and carries out what
// the machine asks for through interfaces that it declares. It knows no map, no
// socket and no netlink: cmd hands those in.
package nhrpd

import (
	"context"
	"errors"
	"net/netip"

	"dmvpn/nhrpd/engine"
)

// DataPlane is the peers and next hops of one tunnel. The loop alone calls it,
// but for Traffic, which is safe for concurrent use. What a method says is done is so when it returns:
// the packet that tells a peer so leaves next.
type DataPlane interface {
	// Bind makes an endpoint the peer of a next hop.
	Bind(engine.Bind) error
	// Unbind ends data to the next hop; one that is not bound is no error.
	Unbind(nextHop netip.Addr) error
	// Admit accepts data from the endpoint; protocol may be invalid.
	Admit(from engine.Endpoint, protocol netip.Addr) error
	// Dismiss ends Admit and Bind of the endpoint.
	Dismiss(from engine.Endpoint) error
	// Fallback names the bound next hop that takes what is unresolved; invalid: none.
	Fallback(nextHop netip.Addr) error
	// Carrier gives the tunnel device its carrier, or takes it.
	Carrier(up bool) error
	// Traffic gives an endpoint's counters, zero for one that is not known.
	Traffic(engine.Endpoint) engine.Traffic
	// Admitted gives every endpoint whose data is accepted, with its next hops.
	Admitted() map[engine.Endpoint][]netip.Addr
}

// Router is the routes of one tunnel. The kernel has acknowledged what Install and Remove did when they
// return; the lookups follow within milliseconds.
type Router interface {
	engine.Routes
	// Install installs PREFIX via NEXTHOP, replacing one of ours; by whose word is the action's By.
	// An error that wraps ErrLimit has been logged.
	Install(prefix netip.Prefix, nextHop netip.Addr, by engine.Endpoint) error
	// Remove removes a route of ours; one that is not there is no error.
	Remove(netip.Prefix) error
	// Installed gives the routes of ours that the kernel has.
	Installed() (map[netip.Prefix]netip.Addr, error)
}

// ErrLimit is wrapped by what a bound refuses: peers can bring it about as often as they like, so
// that the service does not log it each time.
var ErrLimit = errors.New("limit reached")

// Sender sends an NHRP packet in GRE to an endpoint, without blocking.
type Sender interface {
	Send(to engine.Endpoint, packet []byte) error
}

// Resolver looks DNS names up; *net.Resolver is one. network is "ip".
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// State keeps what a tunnel's machine exports between two runs.
type State interface {
	// Load gives what was saved last, nil if there is nothing.
	Load(tunnel string) ([]byte, error)
	// Save replaces it.
	Save(tunnel string, state []byte) error
}
