// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/netnstest"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// witness is where packets of NHRP leave, and the next hops of the tables. It looks at the kernel when
// something is done, and writes down what is so at that moment.
type witness struct {
	*share
	kernel *netlink.Handle
	device int
	bound  func() bool
	known  func() bool // the LAN, by the next hop

	mu   sync.Mutex
	seen []string
}

var (
	orderSpoke = netip.MustParseAddr("10.0.0.12")
	orderLAN   = netip.MustParsePrefix("10.10.2.0/24")
	orderNBMA  = engine.Endpoint{NBMA: netip.MustParseAddr("198.51.100.12")}
)

func (w *witness) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

// way is where the kernel sends a packet for the LAN.
func (w *witness) way() string {
	routes, err := w.kernel.RouteGet(net.IP(orderLAN.Addr().Next().AsSlice()))
	switch {
	case errors.Is(err, unix.EHOSTUNREACH):
		return "unreachable"
	case err != nil:
		return err.Error()
	case routes[0].LinkIndex != w.device:
		return "in clear"
	case !routes[0].Gw.Equal(orderSpoke.AsSlice()):
		return "by another next hop"
	}
	return "by the tunnel"
}

// under says whether what leads nowhere stands under the LAN.
func (w *witness) under() string {
	all, err := w.kernel.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
	if err == nil && slices.ContainsFunc(all, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.String() == orderLAN.String() }) {
		return "guarded"
	}
	return "unguarded"
}

// Send implements nhrpd.Sender.
func (w *witness) Send(_ engine.Endpoint, packet []byte) error {
	p, err := wire.Decode(packet)
	if err != nil {
		return err
	}
	line := []string{p.Type.String()}
	for _, c := range p.CIEs {
		line = append(line, c.Code.String())
	}
	if w.bound() {
		line = append(line, "bound")
	}
	if p.Type == wire.RegistrationReply && w.known() { // what is removed may be known for a moment
		line = append(line, "known")
	}
	w.note(strings.Join(append(line, w.way(), w.under()), ", "))
	return nil
}

// Unbind implements nhrpd.DataPlane.
func (w *witness) Unbind(hop netip.Addr) error {
	w.note("unbind, " + w.way() + ", " + w.under())
	return w.share.Unbind(hop)
}

func (w *witness) take(t *testing.T, n int) []string {
	t.Helper()
	var got []string
	netnstest.Eventually(t, "what is to be seen", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		got = slices.Clone(w.seen)
		return len(got) >= n
	})
	w.mu.Lock()
	w.seen = nil
	w.mu.Unlock()
	return got
}

// TestAReplyLeavesWhenTheKernelIsReady: the real tables and the kernel's routes, with a default route onto the
// underlay. What a reply says is so when it leaves, and nothing of the client's is ever led to the underlay.
func TestAReplyLeavesWhenTheKernelIsReady(t *testing.T) {
	x := groundFor(t, "192.0.2.1/24")
	h, d, plane, under, unreachable, state := x.host, x.device, x.plane, x.under, x.unreachable, x.state
	netnstest.Run(t, "ip route add default via 192.0.2.254")
	watch, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	mirror := mirrorOf(t, h)
	own := netip.MustParsePrefix("10.0.0.11/24")
	w := &witness{kernel: watch, device: d.Index, bound: func() bool { _, ok := plane.Tables.Bound(d.Index, orderSpoke); return ok }}
	w.share = &share{plane: &dataPlane{tables: plane.Tables, tunnel: d.Index, device: d, pump: new(tunnel).currentPump}, shares: newShares()}
	r := &router{host: h, mirror: mirror, tunnel: d.Index, own: own, beside: newBeside(h, mirror.Zebra, func() bool { return false }),
		under: func(p netip.Prefix, _ engine.Endpoint) error { return unreachable.Stand(instance.Place{Prefix: p}) }}
	w.known = func() bool {
		route, ok := r.Lookup(orderLAN.Addr().Next())
		return ok && route.NextHop == orderSpoke
	}
	s := nhrpd.New(nhrpd.Config{
		Engine: engine.Config{Tunnel: "dmvpn0", Address: own, Redirect: true, MTU: 1400}, Random: random,
		DataPlane: w, Router: r, Sender: w, State: state, Resolver: net.DefaultResolver, Log: zerolog.Nop(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, under.Address, netip.Addr{}) }()
	defer func() {
		if cancel(); <-ended != nil {
			t.Error("the service ended with an error")
		}
	}()
	id := uint32(100)
	ask := func(kind wire.Type, entries ...wire.CIE) {
		t.Helper()
		id += 2000
		p := &wire.Packet{
			AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: kind, RequestID: id, CIEs: entries,
			SourceNBMA: orderNBMA.NBMA, SourceProtocol: orderSpoke, DestinationProtocol: own.Addr(),
		}
		data, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !s.Deliver(engine.Packet{From: orderNBMA, Data: data}) {
			t.Fatal("not taken")
		}
	}
	host := wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: 600}
	lan := wire.CIE{PrefixLength: uint8(orderLAN.Bits()), HoldingTime: 600, Protocol: orderLAN.Addr()}
	code := func(list ...wire.Code) (s string) {
		for _, c := range list {
			s += c.String() + ", "
		}
		return s
	}
	const full = wire.CodeInsufficientResources
	registered, purged := wire.RegistrationReply.String()+", ", wire.PurgeReply.String()+", "
	for _, c := range []struct {
		name string
		do   func()
		want []string
	}{
		{"its own address: nobody knows of the LAN", func() { ask(wire.RegistrationRequest, host) },
			[]string{registered + code(0) + "bound, in clear, unguarded"}},
		{"the device is down, and the kernel refuses the route", func() {
			netnstest.Run(t, "ip link set dmvpn0 down")
			ask(wire.RegistrationRequest, lan)
		}, []string{registered + code(full) + "bound, unreachable, guarded"}},
		{"it is up again", func() {
			netnstest.Run(t, "ip link set dmvpn0 up")
			ask(wire.RegistrationRequest, lan)
		}, []string{registered + code(0) + "bound, known, by the tunnel, guarded"}},
		{"the client leaves: the route first, then the next hop, then the answer", func() { ask(wire.PurgeRequest, wire.CIE{PrefixLength: wire.HostPrefix, Protocol: orderSpoke}) },
			[]string{"unbind, unreachable, guarded", purged + code(0) + "unreachable, guarded"}},
		{"both in one request", func() { ask(wire.RegistrationRequest, host, lan) },
			[]string{registered + code(0, 0) + "bound, known, by the tunnel, guarded"}},
		{"somebody removed the route, and the device is down when it is renewed", func() {
			netnstest.Run(t, "ip link set dmvpn0 down")
			s.RoutesChanged() // it is missed, and not put back
			netnstest.Eventually(t, "it could not be put back", func() bool { return s.Counters().Failed > 1 })
			ask(wire.RegistrationRequest, lan)
		}, []string{registered + code(full) + "bound, unreachable, guarded"}},
	} {
		c.do()
		if got := w.take(t, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
