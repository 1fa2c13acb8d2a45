// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
)

// Routes mirrors the kernel's IPv4 routes of the tables local, main and default
// and follows them by netlink. It lags behind a change of our own by the time
// netlink takes, well under a millisecond. Its methods may be called together.
type Routes struct{}

// MirrorRoutes reads the routes and follows them until Close. After an overrun
// of the socket it reads them all again.
func (h *Host) MirrorRoutes() (*Routes, error) { return nil, errors.New("kernel: not built") }

// Lookup gives the longest match, false if there is none. As in the kernel the
// local table answers first, and the lowest metric wins within a prefix.
func (r *Routes) Lookup(destination netip.Addr) (Route, bool) { return Route{}, false }

// LookupWithout is Lookup over the routes that we did not install: the routed
// path.
func (r *Routes) LookupWithout(destination netip.Addr) (Route, bool) { return Route{}, false }

// Inside gives the prefixes more specific than p and inside it, each once, by
// address and length.
func (r *Routes) Inside(p netip.Prefix) []netip.Prefix { return nil }

// Changed receives after one or more changes, coalesced; the first is never
// lost. It is closed after Close.
func (r *Routes) Changed() <-chan struct{} { return nil }

// Close ends the following and waits for it.
func (r *Routes) Close() {}
