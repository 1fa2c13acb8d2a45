// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// For what an authenticated client may answer: RP-15 of the case list.
func TestCasesOfAnswers(t *testing.T) {
	const s3Protocol, s3NBMA = "10.0.0.13", "203.0.113.33"
	s3 := engine.Endpoint{NBMA: addr(s3NBMA), Identity: "s3"}
	// with is H with S1, S2 and S3, known to IKE; S3 serves 10.10.3.0/24 and 10.20.0.0/16, of
	// which 10.20.2.0/24 is S2's, and 10.40.0.0/16 is routed to S3.
	with := func(t *testing.T) *bench {
		b := newBench(t, hubNBMA, nhrptest.HubConfig())
		list(b, map[string]engine.Allowance{"s1": {}, "s2": {Networks: []netip.Prefix{prefix("10.20.2.0/24")}}, "s3": {Networks: []netip.Prefix{prefix("10.10.3.0/24"), prefix("10.20.0.0/16")}}})
		for _, r := range []struct{ identity, nbma, protocol string }{{"s1", s1NBMA, s1Protocol}, {"s2", s2NBMA, s2Protocol}, {"s3", s3NBMA, s3Protocol}} {
			b.as(r.identity, r.nbma, registration(r.protocol, r.nbma))
		}
		for _, r := range []struct {
			identity, nbma string
			p              *wire.Packet
		}{
			{"s2", s2NBMA, registration(s2Protocol, s2NBMA, network("10.20.2.0/24"))},
			{"s3", s3NBMA, registration(s3Protocol, s3NBMA, network("10.10.3.0/24"), network("10.20.0.0/16"))},
		} {
			r.p.RequestID++
			for _, code := range b.as(r.identity, r.nbma, r.p) {
				want(t, r.identity, code, wire.CodeSuccess)
			}
		}
		b.n.SetKernel(append(b.n.Kernel,
			nhrptest.Route{Prefix: prefix("10.40.0.0/16"), NextHop: addr(s3Protocol), Tunnel: true},
			nhrptest.Route{Prefix: prefix("10.40.9.0/24"), NextHop: addr(s2Protocol), Tunnel: true}))
		b.take()
		return b
	}
	answer := func(destination string, bits uint8) *wire.Packet {
		return reply(resolution(s1Protocol, s1NBMA, destination), wire.ResolutionReply, s3Protocol, s3NBMA, owner(bits, s3Protocol, s3NBMA))
	}
	// direct is what S1 makes of an answer that comes straight from S3.
	direct := func(t *testing.T, b *bench, destination string, entry wire.CIE) {
		t.Helper()
		b.identified(s3, reply(b.resolve(destination), wire.ResolutionReply, s3Protocol, s3NBMA, entry))
	}
	rows(t, []row{
		{"RP-15: of an answer that passes, what its sender registered or is routed to it stays", func(t *testing.T) {
			b := with(t)
			cut := uint64(0)
			for _, c := range []struct {
				destination string
				bits        uint8
				passes      string
			}{
				{"10.10.3.5", 24, "10.10.3.0/24"},
				{"10.10.3.5", 25, "10.10.3.0/25"},
				{"10.10.3.5", 16, "10.10.3.0/24"},
				{"10.10.3.5", 8, "10.10.3.0/24"},
				{"10.10.3.5", 1, "10.10.3.0/24"},
				{"10.10.3.5", 0, "10.10.3.5/32"},
				{"10.20.7.5", 16, "10.20.4.0/22"}, // but for what is S2's
				{"10.20.2.5", 24, "10.20.2.5/32"}, // S2's
				{"10.20.0.5", 23, "10.20.0.0/23"},
				{"10.40.7.5", 16, "10.40.0.0/21"}, // but for what is routed to S2
				{"10.40.7.5", 15, "10.40.0.0/21"},
				{"10.40.9.5", 24, "10.40.9.5/32"},
				{"10.10.9.5", 24, "10.10.9.5/32"}, // nobody's
				{"10.10.0.5", 24, "10.10.0.5/32"}, // the hub's
			} {
				b.identified(s3, answer(c.destination, c.bits))
				r := b.one()
				want(t, "to", r.to, s1NBMA)
				got := r.p.CIEs[0].Prefix(addr(c.destination))
				want(t, fmt.Sprint(c.destination, "/", c.bits), got, prefix(c.passes))
				if c.bits != 0 && got.Bits() > int(c.bits) {
					cut++
				}
			}
			want(t, "counted", b.counted("answer-cut"), cut)
		}},
		{"RP-15: a refusal passes as it is, and so does what nobody is authenticated for", func(t *testing.T) {
			b := with(t)
			b.identified(s3, reply(resolution(s1Protocol, s1NBMA, "10.10.3.5"), wire.ResolutionReply, s3Protocol, s3NBMA, wire.CIE{Code: wire.CodeNoBinding}))
			want(t, "refusal", b.one().p.CIEs[0].PrefixLength, uint8(0))
			p := hub(t)
			want(t, "in clear", p.ask(s2NBMA, reply(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, owner(16, s2Protocol, s2NBMA))).p.CIEs[0].PrefixLength, uint8(16))
		}},
		{"RP-12, RP-15: straight from an authenticated peer an answer is for the host, but for what is listed", func(t *testing.T) {
			b := spoke(t)
			direct(t, b, "10.10.3.5", owner(16, s3Protocol, s3NBMA))
			want(t, "taken", b.snapshot().Shortcuts[0].Prefix, prefix("10.10.3.5/32"))
			b = spoke(t)
			list(b, map[string]engine.Allowance{"s3": {Networks: []netip.Prefix{prefix("10.10.3.0/24")}}})
			direct(t, b, "10.10.3.5", owner(24, s3Protocol, s3NBMA))
			want(t, "listed", b.snapshot().Shortcuts[0].Prefix, prefix("10.10.3.0/24"))
			b = spoke(t)
			b.from(hubNBMA, reply(b.resolve("10.10.3.5"), wire.ResolutionReply, s3Protocol, s3NBMA, owner(24, s3Protocol, s3NBMA)))
			want(t, "by the hub", b.snapshot().Shortcuts[0].Prefix, prefix("10.10.3.0/24"))
		}},
		{"RP-15: nobody gives another's next hop for his own", func(t *testing.T) {
			b := spoke(t)
			b.from(hubNBMA, reply(b.resolve("10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA)))
			request := b.resolve("10.10.3.5")
			for _, hop := range []string{s2Protocol, hubProtocol} {
				b.identified(s3, reply(request, wire.ResolutionReply, s3Protocol, s3NBMA, owner(24, hop, s3NBMA)))
			}
			want(t, "S2 is where it was", b.n.Bound[addr(s2Protocol)].NBMA, addr(s2NBMA))
			want(t, "shortcuts", len(b.snapshot().Shortcuts), 1)
			want(t, "the question stands", len(b.snapshot().Requests), 1)
			want(t, "counted", b.counted("dropped-answer-of-others"), uint64(2))
		}},
	})
}
