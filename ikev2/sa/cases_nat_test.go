// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/ikev2/iketest/pair"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// keepalives lets both ends keep a NAT's hole open, and ask a silent peer.
func keepalives(c *sa.Connection) { c.Keepalive, c.Liveness = 20*time.Second, 20*time.Second }

// behindNAT lets A connect to B from behind a NAT.
func behindNAT(w *World) *NAT {
	nat := w.NAT("203.0.113.1", w.A)
	w.A.Connect(w.B)
	w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
	w.Begin()
	return nat
}

// probes lets an end ask whether the other one lives, wherever it is.
func probes(e *End) {
	at := e.IKE().Peer
	e.Input(&sa.Unreachable{Local: at.Local, Remote: at.Remote})
}

// endpointOf fails unless an end has the other's IKE SA and Child SA at an endpoint.
func endpointOf(w *World, e *End, remote netip.AddrPort) {
	w.T.Helper()
	w.True(e.IKE().Peer.Remote == remote, "%s has the IKE SA at %s, not %s", e.Name, e.IKE().Peer.Remote, remote)
	if s := e.SA(); s != nil {
		w.True(s.Remote == remote, "%s has the Child SA at %s, not %s", e.Name, s.Remote, remote)
	}
}

// TestCasesNATDetection are the first rows of section 14.
func TestCasesNATDetection(t *testing.T) {
	alone := Options{Alone: true}
	Run(t,
		Case{Name: "nat-detect", Options: Options{Alone: true, Both: func(c *sa.Connection) { c.Keepalive = 20 * time.Second }}, Loss: true, Ways: []string{"none", "A", "B", "both"}, Run: func(w *World) {
			w.Horizon = 10 * time.Second
			to := w.B.Endpoint()
			ofA, ofB := w.Way == "A" || w.Way == "both", w.Way == "B" || w.Way == "both"
			if ofA {
				w.NAT("203.0.113.1", w.A)
			}
			if ofB {
				nat := w.NAT("203.0.113.2", w.B)
				nat.Forward(w.B)
				to = netip.AddrPortFrom(nat.Outside, 500)
			}
			w.A.ConnectTo(w.B, to)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			port := uint16(500)
			if ofA || ofB {
				port = 4500
			}
			for _, m := range w.All("A AUTH→") {
				w.True(m.Local.Port() == port && m.Remote.Port() == port, "IKE_AUTH goes from %s to %s", m.Local, m.Remote)
			}
			for _, e := range []*End{w.A, w.B} {
				if s := e.SA(); s != nil {
					w.True(s.Encapsulation == (ofA || ofB) && s.Local.Port() == port, "ESP of %s in UDP: %v, from %s", e.Name, s.Encapsulation, s.Local)
				}
				here, there := ofA, ofB
				if e == w.B {
					here, there = ofB, ofA
				}
				w.True(e.IKE().Peer.NATLocal == here && e.IKE().Peer.NATRemote == there, "%s knows where the NAT is", e.Name)
				before := e.Sends
				w.Wait(41 * time.Second)
				want := 0
				if here {
					want = 2
				}
				w.True(e.Sends-before == want, "%s sent %d keepalives", e.Name, e.Sends-before)
			}
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "nat-detect, several SOURCE hashes", Options: alone, Ways: []string{"one is right", "none is"}, Run: func(w *World) {
			disguise(w, w.A, func(m *Message) {
				wrong := &wire.Notify{Type: wire.NATDetectionSourceIP, Data: make([]byte, 20)}
				if w.Way == "none is" {
					m.Without(wire.NATDetectionSourceIP)
				}
				m.Payloads = append(append([]wire.Payload{wrong}, m.Payloads...), wrong)
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			for _, i := range w.B.Infos() {
				w.True(i.Peer.NATRemote == (w.Way == "none is"), "B looks for one that is right")
			}
			w.Strangers() // of this NAT B alone knows
			w.Deliver("A AUTH→", "B AUTH←")
			w.EndIKE(1)
		}},
		Case{Name: "nat-4500-first", Options: alone, Run: func(w *World) {
			a, b := netip.AddrPortFrom(w.A.Address, 4500), netip.AddrPortFrom(w.B.Address, 4500)
			wantAt(w.A, a, b, w.B.Identity())
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			endpointOf(w, w.B, a)
			if s := w.B.SA(); s != nil {
				w.True(!s.Encapsulation, "without a NAT ESP needs no UDP")
				for _, from := range []netip.AddrPort{a, w.A.Endpoint()} { // with UDP, and without
					w.B.Input(&sa.Arrived{Inbound: s.Inbound, Local: b, Remote: from})
					w.True(w.B.IKE().Heard == 0, "the peer was heard")
				}
			}
			endpointOf(w, w.B, a)
			begun(w)
		}},
		Case{Name: "nat-4500-first, moved by MOBIKE", Options: roaming(), Run: func(w *World) {
			mobile(w)
			a, b := netip.AddrPortFrom(w.A.Address, 4500), netip.AddrPortFrom(w.B.Address, 4500)
			probes(w.A)
			for _, m := range w.All("A I→ ∅") {
				w.Lose("A I→ ∅")
				w.Forge(w.B, b, a, inside(m, wire.PayloadNotify, must(wire.AppendInner(nil, update(m, a, b))))[0])
			}
			w.On("A I←", returned(w))
			w.Deliver("B I←", "B I→ COOKIE2", "A I←")
			if w.Storm() {
				return
			}
			endpointOf(w, w.B, a)
			w.True(!w.B.SA().Encapsulation, "without a NAT ESP needs no UDP")
			w.End(1)
		}},
		Case{Name: "nat-reply-to-source", Ways: []string{"another port", "another address", "a copy"}, Run: func(w *World) {
			before := w.B.IKE().Peer.Remote
			probes(w.A)
			from := netip.AddrPortFrom(w.A.Address, 4501)
			if w.Way == "another address" {
				from = netip.MustParseAddrPort("203.0.113.9:500")
			}
			if w.Way == "a copy" {
				w.Deliver("A I→", "B I←")
			}
			for _, m := range w.All("A I→") {
				w.Copy(m, from)
				for _, answer := range last(w.All("B I←")) {
					w.True(answer.Remote == from, "the response goes to %s", answer.Remote)
				}
			}
			endpointOf(w, w.B, before)
			w.Flush()
			w.End(1)
		}},
	)
}

// TestCasesNATMoves are those rows of section 14 in which a NAT does something.
func TestCasesNATMoves(t *testing.T) {
	alone := Options{Alone: true}
	Run(t,
		Case{Name: "ikev2-switchnat-01", Options: alone, Ways: []string{"IKE", "ESP", "another address"}, Run: func(w *World) {
			nat := behindNAT(w)
			endpointOf(w, w.B, nat.Port(w.A, 4500))
			if w.Way == "another address" {
				nat = w.NAT("203.0.113.2", w.A)
			} else {
				nat.Forget()
			}
			w.True(w.B.IKE().Peer.Remote != nat.Port(w.A, 4500), "the mapping is another one")
			if w.Way == "IKE" {
				probes(w.A)
				w.Deliver("A I→", "B I←")
			} else if err := w.A.Ping(); err != nil {
				w.Fatalf("%v", err)
			}
			endpointOf(w, w.B, nat.Port(w.A, 4500))
			w.True(len(w.B.Moves) == 1, "the move is told once")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "ikev2-switchnat-01, a replay", Options: alone, Run: func(w *World) {
			nat := behindNAT(w)
			before := nat.Port(w.A, 4500)
			for range 2 {
				probes(w.A)
				w.Deliver("A I→", "B I←")
				w.Run(11 * time.Second)
			}
			for _, m := range w.All("A I→") {
				w.Copy(m, netip.MustParseAddrPort("192.0.2.66:666"))
			}
			for _, m := range w.All("A AUTH→") {
				w.Copy(m, netip.MustParseAddrPort("192.0.2.66:666"))
			}
			w.Flush()
			endpointOf(w, w.B, before)
			w.True(len(w.B.Moves) == 0, "it moves nothing")
			w.End(1)
		}},
		Case{Name: "ikev2-switchnat-01, behind the NAT", Options: alone, Run: func(w *World) {
			nat := behindNAT(w)
			before := w.A.IKE().Peer.Remote
			nat.Open = true
			probes(w.B)
			for _, m := range w.All("B I→") {
				w.Copy(m, netip.MustParseAddrPort("192.0.2.66:666")) // a new message, from elsewhere
			}
			w.Lose("A I←")
			if s := w.A.SA(); s != nil {
				w.A.Input(&sa.Arrived{Inbound: s.Inbound, Local: s.Local, Remote: netip.MustParseAddrPort("192.0.2.66:666")})
			}
			endpointOf(w, w.A, before)
			w.True(len(w.A.Moves) == 0, "it does not follow")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "nat-rebind-during-exchange", Options: alone, Loss: true, Ways: []string{"the request is lost", "the response is lost"}, Run: func(w *World) {
			nat := behindNAT(w)
			probes(w.A)
			if w.Way == "the request is lost" {
				w.Lose("A I→")
			} else {
				w.Deliver("A I→")
				w.Lose("B I←")
			}
			nat.Forget()
			w.WaitFor("A I→")
			w.Count("A I→", 1) // the same octets
			sent := w.B.Sends
			w.Deliver("A I→")
			w.True(w.B.Sends > sent, "it is answered")
			w.Deliver("B I←") // which reaches A by the new mapping
			w.True(w.A.IKE().Queued == 0, "A has its answer")
			if w.Way == "the response is lost" {
				w.True(len(w.B.Moves) == 0, "a repeat is nothing new")
				w.Run(11 * time.Second)
				probes(w.A)
				w.Deliver("A I→", "B I←")
			}
			endpointOf(w, w.B, nat.Port(w.A, 4500))
			w.True(len(w.B.Moves) == 1, "it moved once: %d", len(w.B.Moves))
			w.End(1)
			w.Flows()
		}},
		Case{Name: "nat-swap-two-spokes", Options: Options{Alone: true, Both: keepalives, B: all(anybody, psk("*", "between a and b"))}, Loss: true, Ways: []string{"traffic", "silence"}, Run: func(w *World) {
			w.Horizon = 10 * time.Second
			c := another(w, "C", "c.test")
			nat := w.NAT("203.0.113.1", w.A, c)
			w.A.Connect(w.B)
			c.Connect(w.B)
			w.Run(10 * time.Second)
			ofA, ofC := w.B.Peer("a.test"), w.B.Peer("c.test")
			w.MayBreak()
			nat.Swap(w.A, c)
			w.True(ofA.Peer.Remote != nat.Port(w.A, 4500) && ofA.Peer.Remote == nat.Port(c, 4500), "the ports are exchanged")
			if w.Way == "traffic" {
				if w.A.Ping() != nil || c.Ping() != nil {
					w.Fatalf("B does not take what comes")
				}
			}
			w.Run(time.Minute)
			w.True(w.B.Peer("a.test").Peer.Remote == nat.Port(w.A, 4500) && w.B.Peer("c.test").Peer.Remote == nat.Port(c, 4500), "both are found again")
			w.True(w.B.Peer("a.test").ID == ofA.ID && w.B.Peer("c.test").ID == ofC.ID, "by the same IKE SAs")
			w.True(w.B.Ups == 2 && w.B.Downs == 0 && w.A.Downs == 0 && c.Downs == 0, "nobody is down")
			for _, s := range w.B.Plane.All(Installed) {
				if err := w.B.PingBy(s); err != nil { // fails if the other spoke gets it
					w.Fatalf("%v", err)
				}
			}
			w.Drain()
		}},
		Case{Name: "ikev2-10-2behind-nat", Options: Options{Alone: true, B: all(anybody, psk("*", "between a and b"))}, Loss: true, Run: func(w *World) {
			c := another(w, "C", "c.test")
			w.A.Address, c.Address = netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("192.168.1.2")
			nat := w.NAT("203.0.113.1", w.A, c)
			w.A.Connect(w.B)
			c.Connect(w.B)
			w.Run(10 * time.Second)
			if w.Storm() {
				return
			}
			all := w.B.Plane.All(Installed)
			w.True(len(all) == 2 && w.B.Ups == 2, "both are up")
			for _, s := range all {
				w.True(s.Current() && s.Encapsulation && s.Remote.Addr() == nat.Outside, "%s is in use", s)
				w.True(s.There[0].String() == host(nat.Outside)[0].String(), "its selector is %s", s.There[0])
				if err := w.B.PingBy(s); err != nil {
					w.Fatalf("%v", err)
				}
			}
			w.True(all[0].Remote != all[1].Remote && all[0].Peer.ID != all[1].Peer.ID, "each has its port and its SA")
			w.A.DeleteIKE()
			w.Run(time.Second)
			w.True(w.B.Peer("c.test").ID != 0 && w.B.Downs == 1, "the end of one is not that of the other")
			w.Drain()
		}},
		Case{Name: "ikev2-mobike-08-nat-expire-liveness-east", Options: Options{Alone: true, Both: keepalives}, Loss: true, Ways: []string{"silence", "traffic of the spoke"}, Run: func(w *World) {
			w.Horizon = 10 * time.Second
			nat := behindNAT(w)
			sent := w.A.Sends
			w.Run(19 * time.Second)
			nat.Forget()
			w.MayBreak()
			dropped := nat.Dropped
			probes(w.B)
			w.Run(100 * time.Millisecond)
			w.True(nat.Dropped > dropped, "B's probe does not get through")
			if w.Way == "traffic of the spoke" {
				if err := w.A.Ping(); err != nil {
					w.Fatalf("%v", err)
				}
				endpointOf(w, w.B, nat.Port(w.A, 4500)) // at once
			}
			w.Run(20 * time.Second)
			endpointOf(w, w.B, nat.Port(w.A, 4500))
			w.True(w.A.Sends-sent >= 2, "A kept its hole open")
			w.True(len(w.B.Moves) == 1 && w.A.Downs == 0 && w.B.Downs == 0, "it moved, and nobody is down")
			w.Flows()
			w.EndIKE(1)
		}},
	)
	t.Run("ikev2-10-2behind-nat, 500 at once", manyBehindNAT)
}

// another adds a spoke that B lets in.
func another(w *World, name, identity string) *End {
	policy := *w.A.Connection()
	policy.Local = identityOf(identity)
	return w.Add(name, "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
}

// manyBehindNAT lets 500 spokes with one inside address connect at once, through one NAT.
func manyBehindNAT(t *testing.T) {
	const spokes = 500
	p := pair.New(1, pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", ESP: "aes128gcm16"})
	hub, outside := p.Ends[1], netip.MustParseAddr("203.0.113.1")
	var crowd []*pair.End
	type packet struct {
		from int // -1: the hub
		to   netip.AddrPort
		data []byte
	}
	var wires []packet
	// A spoke's port p is the NAT's port 10 000 + 2 n, or one more if it is 4500.
	out := func(n int, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(outside, uint16(10000+2*n)+port/4500)
	}
	send := func(from int, actions []sa.Action) {
		for _, a := range actions {
			if s, ok := a.(*sa.Send); ok {
				to := s.Remote
				if from >= 0 {
					to = out(from, s.Local.Port()) // where it comes from
				}
				wires = append(wires, packet{from, to, s.Data})
			}
		}
	}
	for n := range spokes {
		p.Replace(fmt.Sprintf("spoke%d.example", n), netip.MustParseAddr("192.168.1.2"))
		crowd = append(crowd, p.Ends[0])
		send(n, p.Ends[0].Machine.Handle(p.Now, &sa.Connect{Connection: "tunnel", Local: p.Ends[0].Address, Remote: hub.Address}))
	}
	for end := p.Now.Add(10 * time.Second); p.Now.Before(end); p.Now = p.Now.Add(time.Second) {
		for len(wires) > 0 {
			x := wires[0]
			wires = wires[1:]
			if x.from >= 0 {
				local := netip.AddrPortFrom(hub.Address.Addr(), 500+4000*(x.to.Port()%2))
				send(-1, hub.Machine.Handle(p.Now, &sa.Datagram{Local: local, Remote: x.to, Data: x.data}))
				continue
			}
			n, port := int(x.to.Port()-10000)/2, 500+4000*(x.to.Port()%2)
			e := crowd[n]
			send(n, e.Machine.Handle(p.Now, &sa.Datagram{Local: netip.AddrPortFrom(e.Address.Addr(), port), Remote: netip.AddrPortFrom(hub.Address.Addr(), port), Data: x.data}))
		}
		send(-1, hub.Machine.Handle(p.Now, elapsed))
		for n, e := range crowd {
			send(n, e.Machine.Handle(p.Now, elapsed))
		}
	}
	ports := map[netip.AddrPort]bool{}
	for _, i := range hub.Machine.Infos(p.Now) {
		for _, c := range i.Children {
			ports[i.Peer.Remote] = c.State == "active" || c.State == "installed"
		}
	}
	if c := hub.Machine.Counters(); c.Established != spokes || len(ports) != spokes || c.CookiesSent == 0 || slices.Contains(slices.Collect(maps.Values(ports)), false) {
		t.Errorf("%d IKE SAs at %d endpoints: %+v", c.Established, len(ports), c)
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}
