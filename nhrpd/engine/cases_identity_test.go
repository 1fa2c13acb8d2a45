// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// identified gives the machine a packet of someone whom IKE knows.
func (b *bench) identified(from engine.Endpoint, p *wire.Packet) {
	b.t.Helper()
	data, err := p.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.n.Input(engine.Packet{From: from, Data: data})
}

// claiming adds our own extension to a packet.
func claiming(p *wire.Packet, own wire.Private) *wire.Packet {
	if err := p.SetPrivate(own); err != nil {
		panic(err)
	}
	return p
}

// shown gives the octets of an extension that docs/nhrp-wire.md shows below a sentence.
func shown(t *testing.T, sentence string) []byte {
	t.Helper()
	page, err := os.ReadFile("../../docs/nhrp-wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), sentence+"\n\n```\n")
	text, _, ended := strings.Cut(text, "```")
	if !found || !ended {
		t.Fatalf("docs/nhrp-wire.md shows nothing below %q", sentence)
	}
	text = regexp.MustCompile(`#.*|\s`).ReplaceAllString(text, "")
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whom a hub says that a system is: what it observed and IKE authenticated, never what the
// system claims.
func TestCasesOfIdentity(t *testing.T) {
	const inside, outside = "172.16.2.22", "203.0.113.66"
	s3 := engine.Endpoint{NBMA: addr(outside), Port: 50000, Identity: "s3"}
	liar := wire.Private{Port: 1, Identity: "s1", MTU: 1300, Group: "branch"}
	truth := wire.Private{Port: 50000, Identity: "s3", MTU: 1300, Group: "branch"}
	// private is our own extension as it left.
	private := func(t *testing.T, s sent) wire.Private {
		t.Helper()
		own, _ := s.p.Private()
		return own
	}
	// with is H with S3 behind NAT, all known to IKE.
	with := func(t *testing.T) *bench {
		b := newBench(t, hubNBMA, nhrptest.HubConfig())
		b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.2.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
		b.identified(engine.Endpoint{NBMA: addr(s1NBMA), Identity: "s1"}, registration(s1Protocol, s1NBMA))
		b.identified(engine.Endpoint{NBMA: addr(s2NBMA), Identity: "s2"}, registration(s2Protocol, s2NBMA))
		b.identified(s3, registration("10.0.0.13", inside))
		b.take()
		return b
	}
	rows(t, []row{
		{"a registration's reply says what was observed, in these octets", func(t *testing.T) {
			b := with(t)
			b.identified(s3, registration("10.0.0.13", inside))
			e := b.one().p.Extension(wire.ExtensionVendorPrivate)
			if e == nil {
				t.Fatal("no extension")
			}
			octets := append([]byte{0, byte(wire.ExtensionVendorPrivate), 0, byte(len(e.Value))}, e.Value...)
			if golden := shown(t, "Golden octets of the extension as a hub sends it:"); e.Compulsory || !bytes.Equal(octets, golden) {
				t.Errorf("%x, want %x", octets, golden)
			}
		}},
		{"a claim in a registration is replaced, the rest of it stays", func(t *testing.T) {
			b := with(t)
			b.identified(s3, claiming(registration("10.0.0.13", inside), liar))
			want(t, "reply", private(t, b.one()), truth)
			for _, x := range b.snapshot().Bindings {
				if x.Protocol == addr("10.0.0.13") {
					want(t, "bound", x.To, s3)
				}
			}
		}},
		{"a claim in a request that passes is replaced, and all copies of it", func(t *testing.T) {
			b := with(t)
			p := claiming(resolution("10.0.0.13", inside, "10.10.2.5"), liar)
			again, _ := wire.NewPrivate(liar)
			p.Extensions = append(p.Extensions, again)
			b.identified(s3, p)
			r := b.one()
			want(t, "to", r.to, s2NBMA)
			want(t, "says", private(t, r), truth)
			want(t, "extensions", len(r.p.Extensions), len(p.Extensions)-1)
		}},
		{"so is a claim in an answer, and the address that its sender claims", func(t *testing.T) {
			b := with(t)
			p := claiming(reply(resolution(s1Protocol, s1NBMA, "10.10.3.5"), wire.ResolutionReply, "10.0.0.13", inside, owner(24, "10.0.0.13", inside)), liar)
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr("203.0.113.99"), Protocol: addr("10.0.0.13")})
			b.identified(s3, p)
			r := b.one()
			want(t, "to", r.to, s1NBMA)
			want(t, "says", private(t, r), truth)
			list, err := r.p.Entries(r.p.Extension(wire.ExtensionNATAddress))
			want(t, "address", err == nil && len(list) == 1 && list[0].NBMA == addr(outside), true)
		}},
		{"an answer that names another's next hop goes nowhere", func(t *testing.T) {
			for _, hop := range []string{s2Protocol, hubProtocol} {
				b := with(t)
				b.identified(s3, reply(resolution(s1Protocol, s1NBMA, "10.10.3.5"), wire.ResolutionReply, "10.0.0.13", inside, owner(24, hop, inside)))
				b.silent()
				want(t, "counted", b.counted("dropped-answer-of-others"), uint64(1))
			}
		}},
		{"a claim on a plain tunnel is taken off", func(t *testing.T) {
			b := hub(t)
			want(t, "reply", private(t, b.ask(s1NBMA, claiming(registration(s1Protocol, s1NBMA), liar))), wire.Private{MTU: 1300, Group: "branch"})
			r := b.ask(s1NBMA, claiming(registration(s1Protocol, s1NBMA), wire.Private{Identity: "s2"})).p
			want(t, "nothing left", r.Extension(wire.ExtensionVendorPrivate) == nil, true)
		}},
		{"an identity that is too long is nobody's", func(t *testing.T) {
			b := with(t)
			long := engine.Endpoint{NBMA: addr("203.0.113.77"), Identity: strings.Repeat("x", 256)}
			b.identified(long, claiming(registration("10.0.0.14", "203.0.113.77"), liar))
			want(t, "reply", private(t, b.one()), wire.Private{})
		}},
		{"where the hub stays the way, it is asked again where the other is", func(t *testing.T) {
			b := spoke(t, probing)
			answer := func(request *wire.Packet, port uint16) {
				p := reply(request, wire.ResolutionReply, s2Protocol, inside, owner(24, s2Protocol, inside))
				p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr(outside), Protocol: addr(s2Protocol)})
				b.from(hubNBMA, claiming(p, wire.Private{Port: port, Identity: "s2", Probe: wire.ProbeReplier}))
			}
			requests := func() (list []*wire.Packet) {
				b.indicate("10.10.2.5")
				for _, x := range b.take() {
					if x.p.Type == wire.ResolutionRequest {
						list = append(list, x.p)
					}
				}
				return list
			}
			answer(b.resolve("10.10.2.5"), 4501)
			asked := 0
			for range 10 {
				b.run(8 * time.Second) // no probe is answered, and the hub redirects on
				for _, p := range requests() {
					asked++
					answer(p, 4502)
				}
			}
			want(t, "asked again", asked, 2)
			want(t, "by the hub", b.direct(), false)
			s := b.snapshot()
			s2 := engine.Endpoint{NBMA: addr(outside), Port: 4502, Identity: "s2"}
			want(t, "where it is", s.Shortcuts[0].To, s2)
			want(t, "accepted there", slices.Contains(s.Accepted, s2), true)
		}},
		{"a spoke takes the hub's word for who the others are, and nobody else's", func(t *testing.T) {
			b := spoke(t)
			p := claiming(reply(b.resolve("10.10.3.5"), wire.ResolutionReply, "10.0.0.13", inside, owner(24, "10.0.0.13", inside)), truth)
			p.Extensions[3], _ = p.NewEntries(wire.ExtensionNATAddress, wire.CIE{NBMA: addr(outside), Protocol: addr("10.0.0.13")})
			b.from(hubNBMA, p)
			want(t, "the responder", b.n.Bound[addr("10.0.0.13")], s3)
			q := claiming(resolution("10.0.0.12", s2NBMA, "10.10.1.5"), wire.Private{Port: 4711, Identity: "s2"})
			b.from(hubNBMA, q)
			want(t, "the requester", b.n.Accepted[engine.Endpoint{Identity: "s2"}], true)
			r := claiming(resolution("10.0.0.13", inside, "10.10.1.6"), wire.Private{Identity: "s1"})
			b.identified(s3, r)
			want(t, "itself", b.n.Accepted[engine.Endpoint{Identity: "s3"}], true)
			want(t, "a claim", b.n.Accepted[engine.Endpoint{Identity: "s1"}], false)
		}},
	})
}

// NA-07: spokes whose tunnels are protected, one at its own address and two behind one NAT, that
// gives each a port.
func TestSpokesBehindOneNATByTheirIdentities(t *testing.T) {
	w := nhrptest.New(1)
	add := func(name, nbma string, config engine.Config, nat string, port uint16) *nhrptest.Node {
		return w.Add(name, nbma, config, func(n *nhrptest.Node) {
			if n.Identity, n.Port = name, port; nat != "" {
				n.NAT = addr(nat)
			}
		})
	}
	const nat = "203.0.113.66"
	add("h", hubNBMA, nhrptest.HubConfig(), "", 0)
	s1 := add("s1", s1NBMA, nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24"), "", 0)
	s2 := add("s2", "192.168.1.10", nhrptest.SpokeConfig("10.0.0.12/24", "10.10.2.0/24"), nat, 4501)
	s3 := add("s3", "192.168.1.11", nhrptest.SpokeConfig("10.0.0.13/24", "10.10.3.0/24"), nat, 4502)
	w.Run(5 * time.Second)
	pairs := []struct {
		from, to *nhrptest.Node
		source   string
		lan      string
		at       engine.Endpoint
	}{
		{s1, s2, "10.10.1.5", "10.10.2.5", engine.Endpoint{NBMA: addr(nat), Port: 4501, Identity: "s2"}},
		{s1, s3, "10.10.1.5", "10.10.3.5", engine.Endpoint{NBMA: addr(nat), Port: 4502, Identity: "s3"}},
		{s2, s1, "10.10.2.5", "10.10.1.5", engine.Endpoint{NBMA: addr(s1NBMA), Identity: "s1"}},
		{s2, s3, "10.10.2.5", "10.10.3.5", engine.Endpoint{NBMA: addr("192.168.1.11"), Identity: "s3"}},
		{s3, s2, "10.10.3.5", "10.10.2.5", engine.Endpoint{NBMA: addr("192.168.1.10"), Identity: "s2"}},
	}
	for _, p := range pairs {
		p.from.Send(p.source, p.lan, 100)
		w.Run(time.Second)
	}
	look := func(when string) {
		t.Helper()
		for _, p := range pairs {
			want(t, when+": "+p.from.Name+" to "+p.to.Name, p.from.Bound[p.to.Own()], p.at)
			want(t, when+": "+p.to.Name+" accepts "+p.from.Name, p.to.Accepted[engine.Endpoint{Identity: p.from.Name}], true)
			want(t, when+": the way of "+p.from.Name, p.from.Send(p.source, p.lan, 1<<20).String(), p.from.Name+" "+p.to.Name)
		}
	}
	look("resolved")
	// The NAT forgets its mappings and gives others; the hub hears of it first.
	s2.Port, s3.Port = 4502, 4503
	pairs[0].at.Port, pairs[1].at.Port = 4502, 4503
	for range 120 {
		w.Run(time.Minute)
		for _, p := range pairs {
			p.from.Send(p.source, p.lan, 1<<20)
		}
	}
	look("renewed")
}
