// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Our spoke in the place of a captured one: what the captured hub and the other
// spoke sent is given to it, replies with the ids of its own requests. It
// registers, asks for what the indications name, answers as FRR does, and makes
// the shortcut.
func TestGoldenSpoke(t *testing.T) {
	for _, x := range []struct {
		name            string
		self, nat       string
		address, lan    string
		dynamic         bool
		peer, peersNBMA string
		peersLAN        string
	}{
		{"frr-direct-spoke1", "198.51.100.11", "", "10.0.0.11/24", "10.10.1.0/24", false, "10.0.0.12", "203.0.113.22", "10.10.2.0/24"},
		{"frr-direct-spoke2", "203.0.113.22", "", "10.0.0.12/24", "10.10.2.0/24", true, "10.0.0.11", "198.51.100.11", "10.10.1.0/24"},
		{"frr-nat-spoke1", "198.51.100.11", "", "10.0.0.11/24", "10.10.1.0/24", false, "10.0.0.12", "203.0.113.22", "10.10.2.0/24"},
		{"frr-nat-spoke2-inside", "10.99.2.22", "203.0.113.22", "10.0.0.12/24", "10.10.2.0/24", true, "10.0.0.11", "198.51.100.11", "10.10.1.0/24"},
	} {
		t.Run(x.name, func(t *testing.T) {
			nhs := engine.NHS{NBMA: "192.0.2.2", Protocol: addr("10.0.0.1"), Routes: []netip.Prefix{prefix("10.10.0.0/16")}}
			if x.dynamic {
				nhs.Protocol = netip.Addr{}
			}
			w := nhrptest.New(1)
			n := w.Add("S", x.self, engine.Config{
				Address: prefix(x.address), HoldingTime: time.Minute, Shortcut: true, Networks: []netip.Prefix{prefix(x.lan)},
				NHS: []engine.NHS{nhs}, Probe: 200 * time.Millisecond,
			})
			ids := map[wire.Type]uint32{} // of our latest requests
			var answered []*wire.Packet
			take := func(actions []engine.Action) {
				for _, a := range actions {
					s, ok := a.(engine.Send)
					if !ok {
						continue
					}
					p := decode(t, s.Data)
					switch p.Type {
					case wire.ProbeRequest:
						t.Errorf("FRR is probed: %v", p)
					case wire.RegistrationRequest:
						if p.CIEs[0].PrefixLength == wire.HostPrefix { // FRR is not sent the networks' answer
							ids[wire.RegistrationReply] = p.RequestID
						}
					case wire.ResolutionRequest:
						ids[wire.ResolutionReply] = p.RequestID
					case wire.ResolutionReply:
						answered = append(answered, p)
					default:
						t.Errorf("sent: %v", p)
					}
				}
			}
			self := addr(x.self)
			for i, f := range capture(t, x.name) {
				p := decode(t, f.data)
				if i == 0 { // the spoke starts when the captured one registered
					n.Machine = engine.New(n.Config, engine.Env{
						Routes: n, Random: func() uint64 { return 1 }, Traffic: func(engine.Endpoint) engine.Traffic { return engine.Traffic{} },
					})
					take(n.Machine.Handle(f.at, engine.LocalNBMA{Address: self}))
				}
				if f.dst != self {
					if p.Type == wire.ResolutionReply {
						answered = compareAnswer(t, answered, f, p)
					}
					continue
				}
				if id, ok := ids[p.Type]; ok {
					p.RequestID = id
				}
				data, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				take(n.Machine.Handle(f.at, engine.Packet{From: engine.Endpoint{NBMA: f.src}, Data: data}))
			}
			s := n.Machine.Snapshot(w.Now)
			want(t, "NHS", s.Servers[0].Protocol, addr("10.0.0.1"))
			if s := s.Servers[0].State; s != engine.Up && s != engine.Renewing { // a capture may end before a reply
				t.Errorf("state: %s", s)
			}
			if x.nat != "" {
				want(t, "public address", s.Public, addr(x.nat))
			}
			if len(s.Shortcuts) != 1 {
				t.Fatalf("shortcuts: %v", s.Shortcuts)
			}
			c := s.Shortcuts[0]
			want(t, "prefix", c.Prefix, prefix(x.peersLAN))
			want(t, "next hop", c.NextHop, addr(x.peer))
			want(t, "endpoint", c.To.NBMA, addr(x.peersNBMA))
		})
	}
}

// compareAnswer looks for a captured reply among ours: what it answers must be
// the same. FRR clears the NAT flag, which we keep.
func compareAnswer(t *testing.T, answered []*wire.Packet, f frame, p *wire.Packet) []*wire.Packet {
	t.Helper()
	for i, q := range answered {
		if q.RequestID != p.RequestID || q.SourceProtocol != p.SourceProtocol {
			continue
		}
		q.HopCount, q.Flags = p.HopCount, q.Flags&^wire.FlagNAT
		if got, _ := q.Marshal(); string(got) != string(f.data) {
			t.Errorf("frame %d\nours:   %v\ntheirs: %v", f.number, q, p)
		}
		return append(answered[:i:i], answered[i+1:]...)
	}
	t.Errorf("frame %d: we did not answer %v", f.number, p)
	return answered
}
