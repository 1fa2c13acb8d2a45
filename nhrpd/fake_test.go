// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/nhrpd/engine"
)

// node is a tunnel in memory: it is the DataPlane, Router, Sender, Resolver and
// State of its Service, and keeps what an earlier Service of it left.
type node struct {
	name string
	wire *wires

	mu       sync.Mutex
	nbma     netip.Addr
	hops     map[netip.Addr]engine.Endpoint
	accepted map[engine.Endpoint]bool
	fallback netip.Addr
	carrier  []bool // what was said of it
	routes   map[netip.Prefix]netip.Addr
	names    map[string][]netip.Addr
	state    []byte
	saves    int
	failSave error
	service  *Service
	config   engine.Config
}

// wires carry NHRP between nodes by NBMA address, in a millisecond.
type wires struct {
	mu    sync.Mutex
	nodes map[netip.Addr]*node
}

func (w *wires) node(name, nbma string, c engine.Config) *node {
	n := &node{
		name: name, wire: w, nbma: netip.MustParseAddr(nbma), hops: map[netip.Addr]engine.Endpoint{}, accepted: map[engine.Endpoint]bool{},
		routes: map[netip.Prefix]netip.Addr{}, names: map[string][]netip.Addr{}, config: c,
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n.nbma] = n
	return n
}

// run runs a service on the node until the returned function ends it.
func (n *node) run(t *testing.T, log zerolog.Logger) func() {
	t.Helper()
	random := uint64(1)
	s := New(Config{
		Engine: n.config, Random: func() uint64 { random = random*6364136223846793005 + 1; return random },
		DataPlane: n, Router: n, Sender: n, Resolver: n, State: n, Log: log,
	})
	n.mu.Lock()
	n.service = s
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, n.nbma, netip.Addr{}) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
	}
}

func (n *node) Send(to engine.Endpoint, packet []byte) error {
	n.wire.mu.Lock()
	other := n.wire.nodes[to.NBMA]
	n.wire.mu.Unlock()
	if other == nil {
		return errors.New("no route to host")
	}
	from := engine.Endpoint{NBMA: n.nbma}
	time.AfterFunc(time.Millisecond, func() {
		other.mu.Lock()
		s := other.service
		other.mu.Unlock()
		if s != nil {
			s.Deliver(engine.Packet{From: from, Data: packet})
		}
	})
	return nil
}

func (n *node) locked(f func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	return nil
}

func (n *node) Bind(b engine.Bind) error {
	return n.locked(func() { n.hops[b.NextHop], n.accepted[b.To] = b.To, true })
}
func (n *node) Unbind(nextHop netip.Addr) error {
	return n.locked(func() { delete(n.hops, nextHop) })
}
func (n *node) Admit(from engine.Endpoint, _ netip.Addr) error {
	return n.locked(func() { n.accepted[from] = true })
}
func (n *node) Dismiss(from engine.Endpoint) error {
	return n.locked(func() { delete(n.accepted, from) })
}
func (n *node) Fallback(nextHop netip.Addr) error {
	return n.locked(func() { n.fallback = nextHop })
}
func (n *node) Carrier(up bool) error {
	return n.locked(func() { n.carrier = append(n.carrier, up) })
}
func (n *node) Traffic(engine.Endpoint) engine.Traffic { return engine.Traffic{} }
func (n *node) Admitted() map[engine.Endpoint][]netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[engine.Endpoint][]netip.Addr{}
	for e := range n.accepted {
		out[e] = nil
		for hop, to := range n.hops {
			if to == e {
				out[e] = append(out[e], hop)
			}
		}
	}
	return out
}

func (n *node) Lookup(destination netip.Addr) (engine.Route, bool) {
	return n.lookup(destination, true)
}
func (n *node) LookupWithout(destination netip.Addr) (engine.Route, bool) {
	return n.lookup(destination, false)
}

func (n *node) lookup(destination netip.Addr, ours bool) (engine.Route, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if destination == n.config.Address.Addr() {
		return engine.Route{Prefix: netip.PrefixFrom(destination, 32), NextHop: destination, Local: true}, true
	}
	best := engine.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	better := func(r engine.Route) {
		if r.Prefix.Contains(destination) && r.Prefix.Bits() > best.Prefix.Bits() {
			best = r
		}
	}
	better(engine.Route{Prefix: n.config.Address.Masked(), NextHop: destination, Tunnel: true})
	for _, p := range n.config.Networks {
		better(engine.Route{Prefix: p})
	}
	for p, hop := range n.routes {
		if ours {
			better(engine.Route{Prefix: p, NextHop: hop, Tunnel: true, NHRP: true})
		}
	}
	return best, best.Prefix.Bits() > 0
}

func (n *node) Inside(netip.Prefix) []netip.Prefix { return nil }
func (n *node) Install(prefix netip.Prefix, nextHop netip.Addr, _ engine.Endpoint) error {
	return n.locked(func() { n.routes[prefix] = nextHop })
}
func (n *node) Remove(prefix netip.Prefix) error {
	return n.locked(func() { delete(n.routes, prefix) })
}
func (n *node) Installed() (map[netip.Prefix]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.routes), nil
}

func (n *node) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.names[host]
	if !ok || network != "ip" {
		return nil, errors.New("no such host")
	}
	return slices.Clone(a), nil
}

func (n *node) Load(string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state, nil
}

func (n *node) Save(_ string, state []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saves++
	if n.failSave == nil {
		n.state = state
	}
	return n.failSave
}

// hop gives the endpoint that a next hop is bound to.
func (n *node) hop(a string) engine.Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hops[netip.MustParseAddr(a)]
}

// route gives the next hop of a route of ours.
func (n *node) route(p string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.routes[netip.MustParsePrefix(p)]
}
