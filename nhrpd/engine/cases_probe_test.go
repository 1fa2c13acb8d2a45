// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

func probing(c *engine.Config) {
	c.Probe, c.Limits.PacketsPerPeer = 200*time.Millisecond, 1<<20
}

// announced is a reply whose maker answers probes.
func announced(t *testing.T, p *wire.Packet) *wire.Packet {
	t.Helper()
	if err := p.SetPrivate(wire.Private{Probe: wire.ProbeReplier}); err != nil {
		t.Fatal(err)
	}
	return p
}

// firstProbe makes S1 resolve S2's LAN and gives its first probe to S2.
func firstProbe(t *testing.T, b *bench) *wire.Packet {
	t.Helper()
	request := b.resolve("10.10.2.5")
	b.from(hubNBMA, announced(t, reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))))
	x := b.one()
	if x.p.Type != wire.ProbeRequest || x.to != s2NBMA {
		t.Fatalf("no probe to S2, but %v to %s", x.p, x.to)
	}
	return x.p
}

func (b *bench) direct() bool { return b.n.Installed[prefix("10.10.2.0/24")] == addr(s2Protocol) }

func probeFrom(protocol, nbma, to string) *wire.Packet {
	p := bare(wire.ProbeRequest, protocol, nbma, to)
	p.CIEs, p.Extensions = nil, nil
	return p
}

func TestCasesOfProbes(t *testing.T) {
	rows(t, []row{
		{"who does not know them is never probed, and its shortcut is taken at once", func(t *testing.T) {
			b := spoke(t, probing)
			b.shortcut() // H and S2 send our own word back with their replies
			b.run(10 * time.Second)
			for _, x := range b.take() {
				if x.p.Type.Probe() {
					t.Errorf("sent to %s: %v", x.to, x.p)
				}
			}
			want(t, "path", b.snapshot().Shortcuts[0].Path, engine.PathState(""))
		}},
		{"what we announce: the requester in requests, the replier in replies to who knows it", func(t *testing.T) {
			word := func(p *wire.Packet) wire.Probe { own, _ := p.Private(); return own.Probe }
			b := newBench(t, s1NBMA, func() engine.Config { c := spokeConfig(); probing(&c); return c }())
			want(t, "registration", word(b.one().p), wire.ProbeRequester)
			b = spoke(t, probing)
			want(t, "resolution", word(b.resolve("10.10.2.5")), wire.ProbeRequester)
			b = hub(t, probing)
			for _, request := range []*wire.Packet{registration(s1Protocol, s1NBMA), bare(wire.ResolutionRequest, s1Protocol, s1NBMA, "10.10.0.5")} {
				want(t, "to who does not know them", word(b.ask(s1NBMA, request).p), wire.ProbeNot)
				if err := request.SetPrivate(wire.Private{Probe: wire.ProbeRequester}); err != nil {
					t.Fatal(err)
				}
				want(t, "to who does", word(b.ask(s1NBMA, request).p), wire.ProbeReplier)
				want(t, "never", word(hub(t).ask(s1NBMA, request).p) == wire.ProbeReplier, false)
			}
		}},
		{"a reply counts once, from the endpoint that was asked, with its very id", func(t *testing.T) {
			b := spoke(t, probing)
			q := firstProbe(t, b)
			b.from("203.0.113.33", reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			b.from(hubNBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "from elsewhere", b.direct(), false)
			for i := range uint32(1000) {
				if p := reply(q, wire.ProbeReply, s2Protocol, s2NBMA); i != 500 {
					p.RequestID += i - 500
					b.from(s2NBMA, p)
				}
			}
			other := reply(q, wire.ProbeReply, s2Protocol, s2NBMA)
			other.DestinationProtocol = addr("10.0.0.13")
			b.from(s2NBMA, other)
			b.from(s2NBMA, q) // it is no answer to itself
			want(t, "guesses", b.direct(), false)
			b.take()
			b.from(s2NBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "the right one", b.direct(), true)
			before := b.counted("dropped-unsolicited-reply")
			b.from(s2NBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "once more", b.counted("dropped-unsolicited-reply"), before+1)
			b.silent()
		}},
		{"an answer to an earlier try of the same six counts, too", func(t *testing.T) {
			b := spoke(t, probing)
			q := firstProbe(t, b)
			b.run(700 * time.Millisecond)
			var at []time.Duration
			for i, x := range b.take() {
				want(t, "id", x.p.RequestID, q.RequestID+uint32(i)+1)
				at = append(at, x.at)
			}
			// The first one was sent at 0.
			if !slices.Equal(at, []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond}) {
				t.Errorf("repeated after %v", at)
			}
			b.from(s2NBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "taken", b.direct(), true)
			want(t, "round trip", b.snapshot().Shortcuts[0].RoundTrip, 700*time.Millisecond)
		}},
		{"an error about a probe, or a probe with an entry, changes nothing", func(t *testing.T) {
			b := spoke(t, probing)
			q := firstProbe(t, b)
			for _, code := range []wire.ErrorCode{wire.ErrorProtocolError, wire.ErrorProtocolAddressUnreachable} {
				b.from(s2NBMA, errorAbout(q, code, s2Protocol, s2NBMA))
			}
			want(t, "path", b.snapshot().Shortcuts[0].Path, engine.PathTried)
			b.from(s2NBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA)))
			want(t, "with an entry", b.direct(), false)
			b.from(s2NBMA, reply(q, wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "taken", b.direct(), true)
		}},
		{"a request is answered where data is accepted, and nobody else learns anything", func(t *testing.T) {
			b := hub(t, probing)
			r := b.ask(s1NBMA, probeFrom(s1Protocol, s1NBMA, hubProtocol))
			want(t, "to", r.to, s1NBMA)
			want(t, "type", r.p.Type, wire.ProbeReply)
			want(t, "id", r.p.RequestID, uint32(7))
			want(t, "source", r.p.SourceProtocol, addr(s1Protocol))
			before := string(b.n.Machine.Export())
			b.from("203.0.113.99", probeFrom(s1Protocol, s1NBMA, hubProtocol))
			b.from("203.0.113.99", probeFrom("10.0.0.99", "203.0.113.99", hubProtocol))
			b.from(s1NBMA, probeFrom(s1Protocol, s1NBMA, s2Protocol)) // it is not passed on
			b.from(s1NBMA, probeFrom(hubProtocol, s1NBMA, hubProtocol))
			b.silent()
			want(t, "strangers", b.counted("dropped-stranger"), uint64(2))
			want(t, "of others", b.counted("dropped-probe-of-others"), uint64(2))
			want(t, "tables", len(b.n.Machine.Export()) > 0 && b.n.Machine.Entries() > 0 && before != "", true)
			want(t, "accepted", len(b.n.Accepted), 2)
		}},
		{"probes are not worth saving, what comes of them is", func(t *testing.T) {
			b := spoke(t, probing)
			if b.w.Reimport {
				return // each import says everything anew
			}
			q := firstProbe(t, b)
			worth := func(in engine.Input) bool { b.n.Input(in); return b.n.Machine.Changed() }
			data := func(p *wire.Packet) engine.Packet {
				d, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				return engine.Packet{From: engine.Endpoint{NBMA: addr(s2NBMA)}, Data: d}
			}
			want(t, "a tick that repeats it", worth(engine.Tick{}), false)
			want(t, "an answer that is none", worth(data(probeFrom(s2Protocol, s2NBMA, s1Protocol))), false)
			want(t, "the answer", worth(data(reply(q, wire.ProbeReply, s2Protocol, s2NBMA))), true)
			b.run(500 * time.Millisecond)
			want(t, "a look", b.n.Machine.Changed(), false)
			want(t, "other packets", worth(data(registration(s2Protocol, s2NBMA))), true)
		}},
		{"what was saved without probes, or is taken up without them, goes on", func(t *testing.T) {
			b := spoke(t, probing)
			b.from(s2NBMA, reply(firstProbe(t, b), wire.ProbeReply, s2Protocol, s2NBMA))
			want(t, "taken", b.direct(), true)
			b.n.Config.Probe = 0
			b.n.Start(b.n.Kill())
			want(t, "never", b.direct(), true)
			b.take()
			b.run(10 * time.Second)
			for _, x := range b.take() {
				want(t, "a probe", x.p.Type.Probe(), false)
			}
			b.n.Config.Probe = 200 * time.Millisecond
			b.n.Start(b.n.Kill())
			want(t, "again, until the next answer", b.direct(), true)
		}},
	})
}
