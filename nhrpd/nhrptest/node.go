// SPDX-License-Identifier: Apache-2.0

package nhrptest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/engine"
)

// Route is one of the kernel's routes that NHRP did not install.
type Route struct {
	Prefix  netip.Prefix
	NextHop netip.Addr // invalid: on link
	Tunnel  bool       // else the prefix is on a LAN, or the underlay
}

// Node is a machine, its kernel and its data plane.
type Node struct {
	Name     string
	Config   engine.Config
	Machine  *engine.Machine // nil: the daemon is away, the data plane goes on
	NBMA     netip.Addr
	Other    netip.Addr // its address of the other family; invalid: none
	NAT      netip.Addr // what others see instead of NBMA; invalid: NBMA
	Port     uint16     // that others see; 0: none
	Identity string     // that IKE proves to others; "": the tunnel is plain
	Kernel   []Route
	Guard    netip.Prefix                                   // an unreachable route is all that there is under it; invalid: none
	Allowed  func(identity string) (engine.Allowance, bool) // as engine.Env has it
	Secured  func(engine.Endpoint) bool                     // as engine.Env has it
	Refuse   func(engine.Action) bool                       // the kernel refuses a Bind or an InstallRoute; nil: none

	// What the machine asked for.
	Bound     map[netip.Addr]engine.Endpoint
	Multicast map[netip.Addr]bool      // of Bound, who gets copies
	Carrier   []bool                   // what was said of it, without repetitions
	MTU       map[netip.Addr]uint16    // of what is bound
	Accepted  map[engine.Endpoint]bool // by Key
	Installed map[netip.Prefix]netip.Addr
	Fallback  netip.Addr

	Reports []string
	traffic map[engine.Endpoint]engine.Traffic // by Key
	next    time.Time                          // when the machine wants a tick
	wants   bool                               // it wants one
	random  Random
	world   *World
}

// Add puts a node into the world. Its tunnel's prefix is a route on link, its
// networks are LANs, and a default route leads to the underlay. change may set what else
// it is before its machine starts.
func (w *World) Add(name, nbma string, config engine.Config, change ...func(*Node)) *Node {
	n := &Node{Name: name, Config: config, NBMA: netip.MustParseAddr(nbma), world: w, random: Random{State: w.random.Next()}}
	n.Kernel = []Route{
		{Prefix: config.Address.Masked(), Tunnel: true},
		{Prefix: netip.PrefixFrom(n.NBMA, 24).Masked()},
		{Prefix: netip.PrefixFrom(unspecified(config.Address.Addr()), 0)},
	}
	for _, p := range config.Networks {
		n.Kernel = append(n.Kernel, Route{Prefix: p})
	}
	for _, c := range change {
		c(n)
	}
	w.Nodes = append(w.Nodes, n)
	n.clear()
	n.Machine = engine.New(config, n.env())
	n.Input(engine.LocalNBMA{Address: n.NBMA, Other: n.Other})
	return n
}

// unspecified is the address of nobody of an address's family.
func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func (n *Node) env() engine.Env {
	return engine.Env{
		Routes:  n,
		Traffic: func(e engine.Endpoint) engine.Traffic { return n.traffic[e.Key()] },
		Random:  n.random.Next,
		Allowed: n.Allowed,
		Secured: n.Secured,
	}
}

// clear empties the data plane.
func (n *Node) clear() {
	n.MTU = map[netip.Addr]uint16{}
	n.Bound, n.Accepted, n.Multicast = map[netip.Addr]engine.Endpoint{}, map[engine.Endpoint]bool{}, map[netip.Addr]bool{}
	n.Installed, n.traffic = map[netip.Prefix]netip.Addr{}, map[engine.Endpoint]engine.Traffic{}
	n.Fallback = netip.Addr{}
}

// outside is the node's address to who sees it by one of a family; invalid: it has none.
func (n *Node) outside(family netip.Addr) netip.Addr {
	switch {
	case n.Other.IsValid() && n.Other.Is4() == family.Is4():
		return n.Other
	case !n.NBMA.IsValid() || n.NBMA.Is4() != family.Is4():
		return netip.Addr{}
	case n.NAT.IsValid():
		return n.NAT
	}
	return n.NBMA
}

// seen is the node as a peer sees it that sends to an address of it: inside of a NAT
// by its own.
func (n *Node) seen(by netip.Addr) engine.Endpoint {
	if by == n.outside(by) {
		return engine.Endpoint{NBMA: by, Port: n.Port, Identity: n.Identity}
	}
	return engine.Endpoint{NBMA: n.NBMA, Identity: n.Identity}
}

// Own is the node's overlay address.
func (n *Node) Own() netip.Addr { return n.Config.Address.Addr() }

// Input gives the machine an input and carries out what it answers.
func (n *Node) Input(in engine.Input) {
	if n.world.Reimport {
		n.reimport()
	}
	n.handle(in)
}

// handle is as nhrpd does it: what confirms does not leave where something was refused.
func (n *Node) handle(in engine.Input) {
	actions := n.Machine.Handle(n.world.Now, in)
	n.next, n.wants = n.Machine.Next()
	var undone engine.Undone
	for _, a := range actions {
		if s, ok := a.(engine.Send); ok && s.Confirms && len(undone.Actions) > 0 {
			undone.Withheld = true
			continue
		}
		if n.Refuse != nil && n.Refuse(a) {
			undone.Actions = append(undone.Actions, a)
			continue
		}
		n.perform(a)
	}
	if len(undone.Actions) > 0 {
		n.handle(undone)
	}
}

func (n *Node) reimport() {
	state := n.Machine.Export()
	random := n.random
	m := engine.New(n.Config, n.env())
	n.random = random // New's own draw is no part of the run
	if err := m.Import(n.world.Now, state); err != nil {
		panic(err)
	}
	n.Machine = m
}

// Kill ends the daemon: its data plane goes on. Start begins again with what
// Kill gave, or with nothing if that is nil, and an empty data plane then.
func (n *Node) Kill() []byte {
	state := n.Machine.Export()
	n.Machine = nil
	return state
}

// Start begins a killed daemon again.
func (n *Node) Start(state []byte) {
	n.Machine = engine.New(n.Config, n.env())
	if state == nil {
		n.clear()
	} else if err := n.Machine.Import(n.world.Now, state); err != nil {
		panic(err)
	} else {
		n.Machine.SkipIDs()
	}
	n.Input(engine.LocalNBMA{Address: n.NBMA, Other: n.Other})
}

// Move gives the node another underlay address.
func (n *Node) Move(nbma string) {
	n.NBMA = netip.Addr{}
	if nbma != "" {
		n.NBMA = netip.MustParseAddr(nbma)
	}
	if n.Machine != nil {
		n.Input(engine.LocalNBMA{Address: n.NBMA, Other: n.Other})
	}
}

// SetKernel replaces the kernel's routes.
func (n *Node) SetKernel(routes []Route) {
	n.Kernel = routes
	if n.Machine != nil {
		n.Input(engine.RoutesChanged{})
	}
}

// perform carries out an action; what is so already is not traced.
func (n *Node) perform(a engine.Action) {
	w := n.world
	switch a := a.(type) {
	case engine.Send:
		w.send(n, a.To, a.Data)
	case engine.Bind:
		if n.Bound[a.NextHop] != a.To {
			w.trace(n, "binds %v to %v", a.NextHop, a.To.NBMA)
		}
		n.Bound[a.NextHop], n.Accepted[a.To.Key()], n.MTU[a.NextHop] = a.To, true, a.MTU
		if delete(n.Multicast, a.NextHop); a.Multicast {
			n.Multicast[a.NextHop] = true
		}
	case engine.Unbind:
		w.trace(n, "unbinds %v", a.NextHop)
		delete(n.Bound, a.NextHop)
		delete(n.Multicast, a.NextHop)
		delete(n.MTU, a.NextHop)
	case engine.Carrier:
		if len(n.Carrier) == 0 || n.Carrier[len(n.Carrier)-1] != a.Up {
			n.Carrier = append(n.Carrier, a.Up)
			w.trace(n, "has its carrier: %v", a.Up)
		}
	case engine.Admit:
		if !n.Accepted[a.From.Key()] {
			w.trace(n, "admits %v", a.From.NBMA)
		}
		n.Accepted[a.From.Key()] = true
	case engine.Dismiss:
		w.trace(n, "dismisses %v", a.From.NBMA)
		delete(n.Accepted, a.From.Key())
	case engine.InstallRoute:
		if n.Installed[a.Prefix] != a.NextHop {
			w.trace(n, "installs %v via %v", a.Prefix, a.NextHop)
		}
		n.Installed[a.Prefix] = a.NextHop
	case engine.RemoveRoute:
		if _, ok := n.Installed[a.Prefix]; ok {
			w.trace(n, "removes %v", a.Prefix)
		}
		delete(n.Installed, a.Prefix)
	case engine.Fallback:
		if n.Fallback != a.NextHop {
			w.trace(n, "falls back to %v", a.NextHop)
		}
		n.Fallback = a.NextHop
	case engine.Resolve:
		answer := engine.Resolved{Name: a.Name, Addresses: slices.Clone(w.Names[a.Name])}
		if len(answer.Addresses) == 0 {
			answer.Err = "no such host"
		}
		w.trace(n, "looks %s up", a.Name)
		w.After(w.Wire.Delay, func() {
			if n.Machine != nil {
				n.Input(answer)
			}
		})
	case engine.Report:
		n.Reports = append(n.Reports, fmt.Sprintf("%v: %s", a.Peer.NBMA, a.Message))
	}
}

// Lookup implements engine.Routes.
func (n *Node) Lookup(a netip.Addr) (engine.Route, bool) {
	if n.Guard.IsValid() && n.Guard.Contains(a) {
		return engine.Route{Unreachable: true}, false
	}
	r, ok := n.LookupWithout(a)
	if r.Local {
		return r, ok
	}
	for p, hop := range n.Installed {
		if p.Contains(a) && (!ok || p.Bits() > r.Prefix.Bits() || p.Bits() == r.Prefix.Bits() && (!r.NHRP || r.Tunnel)) {
			r, ok = engine.Route{Prefix: p, NextHop: hop, Tunnel: true, NHRP: true}, true
		}
	}
	return r, ok
}

// LookupWithout implements engine.Routes.
func (n *Node) LookupWithout(a netip.Addr) (engine.Route, bool) {
	if a == n.Own() {
		return engine.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Local: true}, true
	}
	var best engine.Route
	found := false
	for _, k := range n.Kernel {
		if k.Prefix.Contains(a) && (!found || k.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = engine.Route{Prefix: k.Prefix, Tunnel: k.Tunnel}, true
			onLink := !k.NextHop.IsValid() && k.Prefix.Bits() > 0
			switch {
			case !k.Tunnel:
				best.Attached = onLink
			case onLink:
				best.NextHop = a
			default:
				best.NextHop = k.NextHop
			}
		}
	}
	return best, found
}

// Inside implements engine.Routes.
func (n *Node) Inside(p netip.Prefix) []netip.Prefix {
	var found []netip.Prefix
	for _, k := range n.Kernel {
		if k.Prefix.Bits() > p.Bits() && p.Contains(k.Prefix.Addr()) {
			found = append(found, k.Prefix)
		}
	}
	for q := range n.Installed {
		if q.Bits() > p.Bits() && p.Contains(q.Addr()) {
			found = append(found, q)
		}
	}
	slices.SortFunc(found, netip.Prefix.Compare)
	return found
}
