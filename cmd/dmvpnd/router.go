// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"time"

	"dmvpn/loader/kernel"
	"dmvpn/nhrpd/engine"
)

// router is the kernel's routes as one tunnel sees them.
type router struct {
	host   *kernel.Host
	mirror *kernel.Routes
	tunnel int          // index of the device
	six    bool         // whose routes they are: IPv6's or IPv4's
	own    netip.Prefix // our address in the overlay
	// under stands what leads nowhere under a prefix that was reached by this tunnel once: what
	// goes there must not follow another route in clear when the prefix is withdrawn. by is whose word
	// it is; none: the configuration says so.
	under  func(p netip.Prefix, by engine.Endpoint) error
	beside *beside
	// changed forgets what was concluded from the routes before; nil: nothing is.
	changed func()
}

// mirrorPatience is how long a route that stands may take to be known here.
const mirrorPatience = 100 * time.Millisecond

// Lookup implements engine.Routes.
func (r *router) Lookup(destination netip.Addr) (engine.Route, bool) {
	route, ok := r.mirror.Lookup(destination)
	return r.seen(destination, route, ok)
}

// LookupWithout implements engine.Routes.
func (r *router) LookupWithout(destination netip.Addr) (engine.Route, bool) {
	route, ok := r.mirror.LookupWithout(destination)
	return r.seen(destination, route, ok)
}

// seen turns a kernel's route into the machine's. One that says unreachable is
// none: what it covers is not ours to offer.
func (r *router) seen(destination netip.Addr, route kernel.Route, ok bool) (engine.Route, bool) {
	if !ok || route.Unreachable {
		return engine.Route{Unreachable: ok}, false
	}
	if route.NHRP {
		route.Prefix = r.beside.origin(route.Prefix)
	}
	out := engine.Route{Prefix: route.Prefix, Local: route.Local, NHRP: route.NHRP}
	if route.IfIndex == r.tunnel && !route.Local {
		out.Tunnel, out.NextHop = true, global(r.own, route.NextHop)
	}
	out.Attached = !out.Tunnel && !out.Local && route.IfIndex != 0 && route.NextHop == destination
	return out, true
}

// Inside implements engine.Routes. Halves of ours are no prefixes of their own.
func (r *router) Inside(p netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(r.mirror.Inside(p), func(q netip.Prefix) bool {
		if r.beside.origin(q).Bits() > p.Bits() {
			return false
		}
		other, ok := r.mirror.LookupWithout(q.Addr())
		return !r.mirror.Zebra(q) && !(ok && other.Prefix == q)
	})
}

// Install implements nhrpd.Router. What leads nowhere stands before the route does; and when it
// returns the kernel has both, and who looks a route up here finds it.
func (r *router) Install(prefix netip.Prefix, nextHop netip.Addr, by engine.Endpoint) error {
	if guarded := r.guarded(prefix); !everything(guarded) {
		if err := r.under(guarded, by); err != nil {
			return err
		}
	}
	if err := r.beside.install(prefix, nextHop, r.tunnel); err != nil {
		return err
	}
	r.mirror.Await(mirrorPatience, func() bool {
		return !slices.ContainsFunc(r.beside.standing(prefix), func(p netip.Prefix) bool { return !r.mirror.Has(p, nextHop, r.tunnel) })
	})
	if r.changed != nil {
		r.changed()
	}
	return nil
}

// guarded is what an unreachable route is to stand under for a prefix that gets a route: the
// prefix, or a wider one that leads into the tunnel too. A route under the narrower one would
// be in its way when the prefix has none any more; nothing stands under a default route.
func (r *router) guarded(prefix netip.Prefix) netip.Prefix {
	if wider, ok := r.mirror.Around(prefix); ok && wider.IfIndex == r.tunnel {
		return r.beside.origin(wider.Prefix)
	}
	return prefix
}

// everything says that a prefix is a way out rather than a site's: a default route, or a half of
// one, which is how a tunnel's stands beside another.
func everything(p netip.Prefix) bool { return p.Bits() <= 1 }

// Remove implements nhrpd.Router.
func (r *router) Remove(prefix netip.Prefix) error { return r.beside.remove(prefix, r.tunnel) }

// Installed implements nhrpd.Router.
func (r *router) Installed() (map[netip.Prefix]netip.Addr, error) {
	routes, err := r.host.OwnRoutes(r.tunnel)
	if err != nil {
		return nil, err
	}
	out := map[netip.Prefix]netip.Addr{}
	for _, route := range routes {
		if route.Prefix.Addr().Is6() == r.six {
			out[route.Prefix] = route.NextHop
		}
	}
	r.beside.whole(out)
	return out, nil
}
