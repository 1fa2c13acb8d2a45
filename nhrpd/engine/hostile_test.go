// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// attack is a protected cloud whose S1 and S2 talk directly, and M, who is a member of it
// and wants to be more.
//
//	S1 ────────── S2        M 203.0.113.33 (10.0.0.13)
//	  ╲          ╱         ╱
//	        H ────────────
type attack struct {
	*nhrptest.Cloud
	t      *testing.T
	errors map[string]int // Error Indications by who made them
	asked  int            // Resolution Requests of S1
}

const evilNBMA, evilProtocol = "203.0.113.33", "10.0.0.13"

func newAttack(t *testing.T) *attack {
	w := nhrptest.New(1)
	w.Reimport = strings.HasSuffix(t.Name(), exported)
	w.Silent = true
	x := &attack{Cloud: &nhrptest.Cloud{World: w, A: "10.10.1.5", B: "10.10.2.5"}, t: t, errors: map[string]int{}}
	add := func(name, nbma string, c engine.Config) *nhrptest.Node {
		return w.Add(name, nbma, c, func(n *nhrptest.Node) { n.Identity = name })
	}
	x.H = add("H", hubNBMA, nhrptest.HubConfig())
	x.S1 = add("S1", s1NBMA, spokeConfig())
	x.S2 = add("S2", s2NBMA, nhrptest.SpokeConfig("10.0.0.12/24", "10.10.2.0/24"))
	w.Run(time.Second)
	x.H.Input(engine.Packet{From: x.from("M"), Data: x.packet(registration(evilProtocol, evilNBMA))})
	x.Ping(1400)
	w.Run(time.Second)
	paths(t, x.Cloud, "S1 S2", "S2 S1")
	w.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
		if p.Type == wire.ErrorIndication && p.SourceProtocol == from.Own() {
			x.errors[from.Name]++
		}
		if p.Type == wire.ResolutionRequest && from == x.S1 {
			x.asked++
		}
	}
	return x
}

// from is who IKE says that a packet comes from.
func (x *attack) from(identity string) engine.Endpoint {
	place := map[string]string{"H": hubNBMA, "S1": s1NBMA, "S2": s2NBMA, "M": evilNBMA}[identity]
	return engine.Endpoint{NBMA: addr(place), Identity: identity}
}

func (x *attack) packet(p *wire.Packet) []byte {
	data, err := p.Marshal()
	if err != nil {
		x.t.Fatal(err)
	}
	return data
}

// does lets M send, again and again for 3 s, while S1 and S2 go on. Nothing of theirs is
// lost or takes another way, and nobody's tables are otherwise than before.
func (x *attack) does(to []*nhrptest.Node, packets ...[]byte) {
	x.t.Helper()
	before := x.state()
	for range 30 {
		for _, n := range to {
			for _, data := range packets {
				n.Input(engine.Packet{From: x.from("M"), Data: data})
			}
		}
		x.Run(100 * time.Millisecond)
		paths(x.t, x.Cloud, "S1 S2", "S2 S1")
	}
	want(x.t, "state", x.state(), before)
}

// state is who is where, as the three have it.
func (x *attack) state() string {
	var out []string
	for _, n := range x.Nodes {
		s := n.Machine.Snapshot(x.Now)
		for _, b := range s.Bindings {
			out = append(out, fmt.Sprint(n.Name, " has ", b.Prefix, " of ", b.Protocol, b.To))
		}
		for _, c := range s.Shortcuts {
			out = append(out, fmt.Sprint(n.Name, " takes ", c.NextHop, c.To, " to ", c.Prefix))
		}
		for _, v := range s.Servers {
			out = append(out, fmt.Sprint(n.Name, " is registered at ", v.Protocol, v.State))
		}
	}
	return strings.Join(out, "\n")
}

// Hostile NHRP from a member of the cloud: the victims keep their traffic.
func TestHostileNHRP(t *testing.T) {
	all := func(x *attack) []*nhrptest.Node { return []*nhrptest.Node{x.H, x.S1, x.S2} }
	rows(t, []row{
		{"RG-18: a registration is hijacked", func(t *testing.T) {
			x := newAttack(t)
			later := registration(s2Protocol, evilNBMA)
			later.RequestID = 1 << 31
			unique := later.Clone()
			unique.Flags |= wire.FlagRegistrationUnique
			x.does(all(x), x.packet(registration(s2Protocol, s2NBMA)), x.packet(later), x.packet(unique),
				x.packet(registration(evilProtocol, evilNBMA, network("10.10.2.0/24"))), x.packet(registration(hubProtocol, evilNBMA)))
		}},
		{"RP-11: a resolution reply without a request", func(t *testing.T) {
			x := newAttack(t)
			request := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			x.does(all(x), x.packet(reply(request, wire.ResolutionReply, evilProtocol, evilNBMA, owner(24, evilProtocol, evilNBMA))),
				x.packet(reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, evilNBMA))))
		}},
		{"SE-02: a reply with a wrong request id, while one is waited for", func(t *testing.T) {
			x := newAttack(t)
			var request *wire.Packet
			x.Seen = func(from *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
				if p.Type == wire.ResolutionRequest && from == x.S1 {
					request = p.Clone()
				}
			}
			x.Wire.Loss = 1
			x.S1.Send("10.10.1.5", "10.10.9.5", 100)
			x.S1.Input(engine.Packet{From: x.from("H"), Data: x.packet(indication("10.10.1.5", "10.10.9.5", "10.10.9.5"))})
			if request == nil {
				t.Fatal("no request")
			}
			for i := range uint32(90) { // what the rate lets through
				p := reply(request, wire.ResolutionReply, evilProtocol, evilNBMA, owner(24, evilProtocol, evilNBMA))
				if p.RequestID += i - 45; i == 45 {
					continue
				}
				x.S1.Input(engine.Packet{From: x.from("M"), Data: x.packet(p)})
			}
			right := reply(request, wire.ResolutionReply, hubProtocol, hubNBMA, owner(24, evilProtocol, s2NBMA))
			x.S1.Input(engine.Packet{From: x.from("M"), Data: x.packet(right)}) // it names another place than its own
			s := x.S1.Machine.Snapshot(x.Now)
			want(t, "shortcuts", len(s.Shortcuts), 1)
			want(t, "the question stands", len(s.Requests), 1)
			want(t, "to S2", x.S1.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
			paths(t, x.Cloud, "S1 S2", "S2 S1")
			x.Wire.Loss = 0
			x.Run(10 * time.Second)
			want(t, "the question was answered by whom it was asked", len(x.S1.Machine.Snapshot(x.Now).Requests), 0)
			paths(t, x.Cloud, "S1 S2", "S2 S1")
		}},
		{"RP-15: an answer for more than what its sender has, by the hub and straight", func(t *testing.T) {
			x := newAttack(t)
			own := registration(evilProtocol, evilNBMA, network("10.10.3.0/24"), network("10.10.4.0/24"), network("10.10.5.0/24"), network("10.10.6.0/24"))
			own.RequestID = 100
			x.H.Input(engine.Packet{From: x.from("M"), Data: x.packet(own)})
			var request *wire.Packet
			x.Seen = func(from *nhrptest.Node, _ engine.Endpoint, p *wire.Packet) {
				if p.Type == wire.ResolutionRequest && from == x.S1 {
					request = p.Clone()
				}
			}
			for i, bits := range []uint8{8, 16, 22, 24} {
				destination := fmt.Sprintf("10.10.%d.5", 3+i)
				x.S1.Input(engine.Packet{From: x.from("H"), Data: x.packet(indication("10.10.1.5", destination, destination))})
				if request == nil || request.DestinationProtocol != addr(destination) {
					t.Fatal("no request")
				}
				stolen := reply(request, wire.ResolutionReply, evilProtocol, evilNBMA, owner(bits, s2Protocol, evilNBMA))
				wide := reply(request, wire.ResolutionReply, evilProtocol, evilNBMA, owner(bits, evilProtocol, evilNBMA))
				to := x.H
				if i%2 == 1 {
					to = x.S1
				}
				for _, p := range []*wire.Packet{stolen, wide} {
					to.Input(engine.Packet{From: x.from("M"), Data: x.packet(p)})
					x.Run(100 * time.Millisecond)
					paths(t, x.Cloud, "S1 S2", "S2 S1")
				}
				for _, s := range x.S1.Machine.Snapshot(x.Now).Shortcuts {
					if s.To.Identity == "M" && s.Prefix.Bits() < 24 {
						t.Errorf("/%d: S1 takes M to %v", bits, s.Prefix)
					}
				}
			}
			want(t, "to S2", x.S1.Installed[prefix("10.10.2.0/24")], addr(s2Protocol))
			want(t, "S2 is where it was", x.S1.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
		}},
		{"TI-07: a flood of redirects", func(t *testing.T) {
			x := newAttack(t)
			var flood [][]byte
			for i := range 50 {
				d := fmt.Sprintf("10.10.%d.5", 50+i)
				flood = append(flood, x.packet(indication("10.10.1.5", d, d)))
			}
			x.does(all(x), flood...)
			want(t, "requests of S1", x.asked, 0)
		}},
		{"PU-10: a forged purge", func(t *testing.T) {
			x := newAttack(t)
			var list [][]byte
			for _, source := range []string{evilProtocol, s2Protocol, s1Protocol, hubProtocol} {
				for _, destination := range []string{hubProtocol, s1Protocol, s2Protocol} {
					list = append(list, x.packet(purgeOf(source, evilNBMA, destination, "10.10.1.0/24", "10.10.2.0/24", "10.0.0.11/32", "10.0.0.12/32", "10.0.0.1/32")))
				}
			}
			x.does(all(x), list...)
		}},
		{"RG-10, RP-15: a prefix wider than what is authorized", func(t *testing.T) {
			x := newAttack(t)
			x.H.Allowed = func(identity string) (engine.Allowance, bool) {
				if identity == "M" {
					return engine.Allowance{Networks: []netip.Prefix{prefix("10.10.3.0/24")}}, true
				}
				return engine.Allowance{}, true
			}
			x.H.Start(x.H.Kill())
			var list [][]byte
			for i, p := range []string{"0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "10.10.0.0/16", "10.10.2.0/23", "10.10.2.0/24", "10.10.2.5/32", "10.10.3.0/23", "10.0.0.0/24", "203.0.113.0/24"} {
				r := registration(evilProtocol, evilNBMA, network(p))
				r.RequestID = uint32(100 + i)
				list = append(list, x.packet(r))
			}
			x.does(all(x), list...)
		}},
		{"SE-04: the caches are filled", func(t *testing.T) {
			x := newAttack(t)
			var list [][]byte
			for i := range 40 {
				r := resolution(fmt.Sprintf("10.0.0.%d", 100+i), evilNBMA, fmt.Sprintf("10.10.0.%d", i+1))
				list = append(list, x.packet(r), x.packet(registration(fmt.Sprintf("10.0.0.%d", 150+i), evilNBMA)))
			}
			// It may have one address, whichever it is: the last one that it registered.
			before := x.state()
			for range 20 {
				for _, data := range list {
					x.H.Input(engine.Packet{From: x.from("M"), Data: data})
					x.S1.Input(engine.Packet{From: x.from("M"), Data: data})
				}
				x.Run(100 * time.Millisecond)
				paths(t, x.Cloud, "S1 S2", "S2 S1")
			}
			s := x.H.Machine.Snapshot(x.Now)
			want(t, "M's addresses", len(s.Bindings), 2+2+1)
			x.H.Input(engine.Packet{From: x.from("M"), Data: x.packet(registration(evilProtocol, evilNBMA))})
			want(t, "state", x.state(), before)
		}},
		{"RC-09: requests that run in a circle", func(t *testing.T) {
			x := newAttack(t)
			p := resolution(evilProtocol, evilNBMA, "10.10.2.5")
			e, err := p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{NBMA: addr(hubNBMA), Protocol: addr(hubProtocol)})
			if err != nil {
				t.Fatal(err)
			}
			p.SetExtension(e)
			x.does([]*nhrptest.Node{x.H}, x.packet(p))
			if n := x.errors["H"]; n == 0 || n > 20 {
				t.Errorf("%d errors", n)
			}
			want(t, "errors of the others", x.errors["S1"]+x.errors["S2"], 0)
		}},
		{"ER-02, ER-08: errors about errors, and about what is waited for", func(t *testing.T) {
			x := newAttack(t)
			first := errorAbout(registration(s1Protocol, s1NBMA), wire.ErrorProtocolAddressUnreachable, evilProtocol, evilNBMA)
			var list [][]byte
			for _, destination := range []string{hubProtocol, s1Protocol, s2Protocol} {
				for _, code := range []wire.ErrorCode{0, 3, 6, 11, 15, 99} {
					e := errorAbout(first, code, evilProtocol, evilNBMA)
					e.DestinationProtocol = addr(destination)
					list = append(list, x.packet(e))
					e = errorAbout(registration(s1Protocol, s1NBMA), code, hubProtocol, hubNBMA)
					list = append(list, x.packet(e))
				}
			}
			x.does(all(x), list...)
			want(t, "errors that came of it", fmt.Sprint(x.errors), "map[]")
		}},
		{"SE-08: everything, cut anywhere", func(t *testing.T) {
			x := newAttack(t)
			x.H.Config.Limits.PacketsPerPeer = 1 << 20
			whole := [][]byte{
				x.packet(registration(s2Protocol, s2NBMA)), x.packet(resolution(s2Protocol, s2NBMA, "10.10.1.5")),
				x.packet(registration(s2Protocol, s2NBMA, network("10.10.2.0/24"), network("10.20.2.0/24"))),
				x.packet(purgeOf(s2Protocol, s2NBMA, hubProtocol, "10.10.2.0/24")),
				x.packet(reply(registration(s1Protocol, s1NBMA), wire.RegistrationReply, hubProtocol, hubNBMA)),
				x.packet(reply(purgeOf(hubProtocol, hubNBMA, s1Protocol, "10.10.2.0/24"), wire.PurgeReply, s1Protocol, s1NBMA)),
				x.packet(probeFrom(s2Protocol, s2NBMA, s1Protocol)),
				x.packet(reply(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ResolutionReply, evilProtocol, evilNBMA, owner(24, evilProtocol, evilNBMA))),
				x.packet(indication("10.10.1.5", "10.10.9.5", "10.10.9.5")),
				x.packet(errorAbout(registration(s1Protocol, s1NBMA), wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA)),
			}
			before := x.state()
			for _, data := range whole {
				for n := range data {
					cut := slices.Clone(data[:n])
					if n >= 20 { // with its size and checksum right, so that more than those are looked at
						binary.BigEndian.PutUint16(cut[10:], uint16(n))
						cut = sealed(cut)
					}
					for _, to := range all(x) {
						for _, from := range []string{"M", "S1", "S2", "H"} { // of those who may, too
							to.Input(engine.Packet{From: x.from(from), Data: cut})
						}
					}
					x.Run(40 * time.Millisecond)
				}
				paths(t, x.Cloud, "S1 S2", "S2 S1")
			}
			want(t, "state", x.state(), before)
		}},
	})
}
