// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Our machine is the responder of MOBIKE alone: what A says is bent into what a peer says that
// moves.

// roaming is a World in tunnel mode without an IKE SA.
func roaming() Options {
	o := tunnelOptions()
	o.Alone = true
	return o
}

// supported announces MOBIKE.
func supported(data ...byte) func(m *Message) {
	return func(m *Message) {
		m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.MOBIKESupported, Data: data})
	}
}

// mobile connects A, which announces MOBIKE, to B.
func mobile(w *World) {
	w.On("A AUTH→", supported())
	w.A.Connect(w.B)
	w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← MOBIKE_SUPPORTED")
	w.Begin()
}

// update is UPDATE_SA_ADDRESSES from an endpoint, as its sender has it.
func update(m *Message, from, to netip.AddrPort) []wire.Payload {
	source, destination := crypto.NATDetection(m.SPIi, m.SPIr, from), crypto.NATDetection(m.SPIi, m.SPIr, to)
	return []wire.Payload{
		&wire.Notify{Type: wire.UpdateSAAddresses},
		&wire.Notify{Type: wire.NATDetectionSourceIP, Data: source[:]},
		&wire.Notify{Type: wire.NATDetectionDestinationIP, Data: destination[:]},
	}
}

// updates lets A's requests be updates from where A is now; behind a NAT A has another view.
func updates(w *World, nat bool) {
	from := w.A.Reached(500)
	if nat {
		from = w.A.Endpoint()
	}
	w.On("A I→ ∅", func(m *Message) { m.Payloads = update(m, from, w.B.Endpoint()) })
}

// returned lets a response have the cookie of B's last return routability check.
func returned(w *World) func(m *Message) {
	return func(m *Message) {
		if all := w.All("B I→ COOKIE2"); len(all) > 0 {
			m.Payloads = []wire.Payload{&wire.Notify{Type: wire.Cookie2, Data: all[len(all)-1].Notify(wire.Cookie2).Data}}
		}
	}
}

// roams takes A to another address.
func roams(w *World, address string) netip.AddrPort {
	w.NAT(address, w.A) // which has one port for each of A's, and is A itself in what A says
	return w.A.Reached(500)
}

// TestCasesMOBIKE are the rows of section 14 about RFC 4555.
func TestCasesMOBIKE(t *testing.T) {
	Run(t,
		Case{Name: "ikev2-mobike-01", Options: roaming(), Ways: []string{"another address", "behind a NAT"}, Run: func(w *World) {
			mobile(w)
			old, ike, remote := w.B.SA(), w.B.IKE(), w.A.Endpoint()
			now := roams(w, "203.0.113.1")
			updates(w, w.Way == "behind a NAT")
			w.On("A I←", returned(w))
			probes(w.A)
			w.Deliver("A I→")
			w.True(w.B.IKE().Peer.Remote == now, "the IKE SA moves at once: %s", w.B.IKE().Peer.Remote)
			if old != nil {
				w.True(old.Remote == remote, "the IPsec SA does not yet: %s", old.Remote)
			}
			for _, m := range w.All("B I→ COOKIE2") {
				w.True(m.Remote == now && len(m.Notify(wire.Cookie2).Data) >= 8, "the new address is asked: %s", m)
			}
			w.Deliver("B I← !COOKIE2", "B I→ COOKIE2", "A I←")
			if w.Storm() {
				return
			}
			endpointOf(w, w.B, now)
			w.True(w.B.SA().Encapsulation == (w.Way == "behind a NAT"), "ESP in UDP: %v", w.B.SA().Encapsulation)
			w.True(w.B.SA() == old && w.B.IKE().ID == ike.ID && len(w.B.Moves) == 1, "by the same SAs")
			w.Strangers() // A's machine knows of no NAT
			w.End(1)
			w.Flows()
		}},
		// What our own machine does as the initiator: make before break.
		Case{Name: "ikev2-mobike-01, our address", Options: Options{Alone: true, Both: liveness}, Loss: true, Run: func(w *World) {
			w.Horizon = 20 * time.Second
			w.A.Want(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			old, was := w.A.IKE().ID, w.A.Address
			w.A.Address = netip.MustParseAddr("203.0.113.1")
			w.MayBreak() // what is on its way to the old address is lost
			w.A.Input(&sa.Readdressed{Old: was, New: w.A.Address})
			w.Run(time.Minute)
			w.True(w.A.IKE().ID != old && w.B.IKE().Peer.Remote == w.A.Endpoint(), "a new IKE SA comes from there")
			w.True(w.A.Downs == 0 && w.B.Downs == 0 && len(w.B.Infos()) == 1, "nobody is down")
			w.B.Kill()
			w.Run(5 * time.Minute)
			w.True(w.A.Downs == 1, "B is missed")
			w.B.Start()
			w.Run(2 * time.Minute)
			w.True(w.A.Ups == 2 && w.A.IKE().Peer.Local == w.A.Endpoint(), "and is sought from there: %s", w.A.IKE().Peer.Local)
			w.EndIKE(1)
		}},
		Case{Name: "mobike-change-during-update", Options: roaming(), Loss: true, Run: func(w *World) {
			mobile(w)
			w.On("A I←", returned(w))
			roams(w, "203.0.113.1")
			updates(w, false)
			probes(w.A)
			first := w.All("A I→")
			w.Lose("A I→")
			now := roams(w, "203.0.113.2")
			w.WaitFor("A I→")
			sent := len(w.All("A I→"))
			w.Deliver("A I→", "B I← !COOKIE2") // the same octets from the newest address
			w.True(sent == 1, "it is the same request")
			w.Deliver("B I→ COOKIE2", "A I←")
			w.Calm()
			w.On("A I←", returned(w))
			updates(w, false)
			w.Run(11 * time.Second)
			probes(w.A)
			w.Deliver("A I→", "B I← !COOKIE2", "B I→ COOKIE2", "A I←")
			if w.Storm() {
				return
			}
			endpointOf(w, w.B, now)
			w.True(!w.B.SA().Encapsulation, "in the end there is no NAT")
			for _, m := range first {
				w.Copy(m, netip.MustParseAddrPort("203.0.113.1:20001"))
			}
			w.Flush()
			endpointOf(w, w.B, now)
			w.End(1)
		}},
		Case{Name: "mobike-unacceptable", Options: func() Options {
			o := roaming()
			b := o.B
			o.B = func(c *sa.Connection) {
				b(c)
				c.Address = netip.MustParseAddr("198.51.100.2")
			}
			return o
		}(), Run: func(w *World) {
			mobile(w)
			remote := w.A.Endpoint()
			probes(w.A)
			for _, m := range w.All("A I→ ∅") {
				w.Lose("A I→ ∅")
				to := netip.MustParseAddrPort("198.51.100.222:500") // an address of B that is not for this connection
				w.Forge(w.B, to, remote, inside(m, wire.PayloadNotify, must(wire.AppendInner(nil, update(m, remote, to))))[0])
			}
			w.Deliver("B I← UNACCEPTABLE_ADDRESSES")
			if w.Storm() {
				return
			}
			endpointOf(w, w.B, remote)
			w.True(w.B.SA().Local == w.B.Endpoint(), "the old path stays")
			w.Never("B I→ COOKIE2")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "mobike-cookie2", Options: roaming(), Ways: []string{"8", "64", "7", "65"}, Run: func(w *World) {
			mobile(w)
			n := map[string]int{"8": 8, "64": 64, "7": 7, "65": 65}[w.Way]
			data := slices.Repeat([]byte{0xc2}, n)
			w.On("A I→ ∅", func(m *Message) { m.Payloads = []wire.Payload{&wire.Notify{Type: wire.Cookie2, Data: data}} })
			probes(w.A)
			if n == 7 || n == 65 {
				w.MayBreak()
				w.Deliver("A I→", "B I← INVALID_SYNTAX")
				w.End(0)
				return
			}
			w.Deliver("A I→", "B I← COOKIE2")
			for _, m := range w.All("B I← COOKIE2") {
				w.True(slices.Equal(m.Notify(wire.Cookie2).Data, data), "it comes back as it is")
			}
			w.End(1)
		}},
		Case{Name: "mobike-cookie2, returned", Options: roaming(), Ways: []string{"changed", "not at all"}, Run: func(w *World) {
			mobile(w)
			old, remote := w.B.SA(), w.A.Endpoint()
			roams(w, "203.0.113.1")
			updates(w, false)
			w.On("A I←", func(m *Message) {
				if w.Way == "changed" {
					returned(w)(m)
					if n := m.Notify(wire.Cookie2); n != nil {
						bent := slices.Clone(n.Data)
						bent[0] ^= 1
						m.Payloads = []wire.Payload{&wire.Notify{Type: wire.Cookie2, Data: bent}}
					}
				}
			})
			w.MayBreak()
			probes(w.A)
			w.Deliver("A I→", "B I←", "B I→ COOKIE2", "A I←")
			if old != nil {
				w.True(old.Remote == remote, "no ESP went there")
			}
			w.Deliver("B D→ IKE", "A D←")
			w.End(0)
		}},
		Case{Name: "mobike-not-negotiated", Options: roaming(), Ways: []string{"not announced", "ikev2-mobike-07-unsolicited-response"}, Run: func(w *World) {
			if w.Way != "not announced" {
				w.On("B AUTH←", supported())
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			w.True(!w.A.IKE().MOBIKE && !w.B.IKE().MOBIKE, "nobody has MOBIKE")
			remote := w.A.Endpoint()
			roams(w, "203.0.113.1")
			updates(w, false)
			probes(w.A)
			w.Deliver("A I→ ∅", "B I← ∅")
			endpointOf(w, w.B, remote)
			w.Never("B I→")
			w.True(len(w.B.Moves) == 0, "nothing moves")
			w.EndIKE(1)
		}},
		Case{Name: "mobike-not-negotiated, data", Options: roaming(), Run: func(w *World) {
			w.On("A AUTH→", supported(1, 2, 3))
			w.On("B AUTH←", func(m *Message) {
				m.Without(wire.MOBIKESupported)
				supported(4, 5)(m)
			})
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← MOBIKE_SUPPORTED")
			w.True(w.B.IKE().MOBIKE, "the data is ignored")
			for _, m := range w.All("B AUTH← MOBIKE_SUPPORTED") {
				w.True(len(m.Notify(wire.MOBIKESupported).Data) == 0, "B sends none")
			}
			begun(w)
		}},
		Case{Name: "mobike-not-negotiated, transport mode", Options: Options{Alone: true}, Run: func(w *World) {
			w.On("A AUTH→", supported())
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH← !MOBIKE_SUPPORTED")
			w.True(!w.B.IKE().MOBIKE, "in transport mode the address is part of the SA")
			begun(w)
		}},
		Case{Name: "mobike-no-dynamic-update", Options: roaming(), Run: func(w *World) {
			nat := w.NAT("203.0.113.1", w.A)
			mobile(w)
			before := nat.Port(w.A, 4500)
			endpointOf(w, w.B, before)
			nat.Forget()
			w.MayBreak()
			probes(w.A)
			w.Deliver("A I→", "B I←")
			endpointOf(w, w.B, before)
			if err := w.A.Ping(); err != nil {
				w.Fatalf("%v", err)
			}
			if s := w.B.SA(); s != nil {
				w.True(s.Remote == nat.Port(w.A, 4500), "ESP follows: %s", s.Remote)
			}
			w.True(w.B.IKE().Peer.Remote == before && len(w.B.Moves) == 0, "IKE does not")
			w.End(1)
		}},
		Case{Name: "mobike-through-the-tunnel", Options: roaming(), Ways: []string{"the peer's list", "an update"}, Run: func(w *World) {
			overlay := netip.MustParseAddrPort("10.1.0.1:500")
			w.On("A AUTH→", func(m *Message) {
				a := overlay.Addr().As4()
				m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.AdditionalIP4Address, Data: a[:]})
			})
			mobile(w)
			remote := w.A.Endpoint()
			if w.Way == "an update" {
				probes(w.A)
				for _, m := range w.All("A I→ ∅") {
					w.Lose("A I→ ∅")
					w.Forge(w.B, w.B.Endpoint(), overlay, inside(m, wire.PayloadNotify, must(wire.AppendInner(nil, update(m, overlay, w.B.Endpoint()))))[0])
				}
				w.Expect("B I← UNACCEPTABLE_ADDRESSES")
				w.Lose("B I← UNACCEPTABLE_ADDRESSES") // goes into the tunnel
				endpointOf(w, w.B, remote)
				w.End(1)
				return
			}
			// A cannot be reached any more at its address: no other is tried.
			w.MayBreak()
			w.Deafen("B I→", "A I→")
			probes(w.B)
			w.Run(5 * time.Minute)
			for _, m := range w.All("B I→") {
				w.True(m.Remote == remote, "B sends to %s", m.Remote)
			}
			w.True(w.B.IKE().ID == 0, "B has given up")
			w.Calm()
			w.A.DeleteIKE()
			w.Drain()
		}},
		Case{Name: "mobike-through-the-tunnel, behind a NAT", Options: roaming(), Run: func(w *World) {
			nat := behindNAT(w)
			if s := w.B.SA(); s != nil {
				w.B.Input(&sa.Arrived{Inbound: s.Inbound, Local: s.Local, Remote: netip.MustParseAddrPort("10.1.0.1:4500")})
			}
			endpointOf(w, w.B, nat.Port(w.A, 4500))
			w.End(1)
		}},
	)
}
