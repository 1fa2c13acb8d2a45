// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Resolution Request: section 3 of the case list, and of section 2 what all
// requests have.
func TestCasesOfResolutionRequest(t *testing.T) {
	rows(t, []row{
		{"RQ-01, RQ-04: one request for many packets, repeated with its id, then quiet for a while", func(t *testing.T) {
			b := spoke(t)
			began := b.w.Now.Sub(nhrptest.Start)
			first := b.resolve("10.10.2.5")
			for range 50 {
				b.indicate("10.10.2.5")
				b.run(100 * time.Millisecond)
			}
			repeats := b.take()
			for i, x := range repeats {
				want(t, "id of a repeat", x.p.RequestID, first.RequestID)
				want(t, "pause", x.at-began, []time.Duration{time.Second, 3 * time.Second}[i])
			}
			want(t, "repeats", len(repeats), 2)
			b.run(5 * time.Second)
			for range 10 {
				b.indicate("10.10.2.5")
			}
			b.silent()
			want(t, "negative entries", len(b.snapshot().Negatives), 1)
			b.run(40 * time.Second)
			next := b.resolve("10.10.2.5")
			want(t, "CM-01: a new request has a new id", next.RequestID != first.RequestID, true)
		}},
		{"RQ-02: data goes by the routed path meanwhile", func(t *testing.T) {
			c := nhrptest.NewCloud(1, false, nil)
			c.Run(time.Second)
			c.Wire.Loss = 1 // of NHRP, not of data
			want(t, "lost", len(c.Stream(30*time.Second, time.Second, 1400)), 0)
			paths(t, c, "S1 H S2", "S2 H S1")
		}},
		{"RQ-03: to a serving NHS, never to a peer", func(t *testing.T) {
			b := spoke(t)
			b.shortcut()
			b.indicate("10.10.3.5")
			want(t, "to", b.one().to, hubNBMA)
		}},
		{"RQ-05, RQ-08: our flags, and those of others come back as sent", func(t *testing.T) {
			p := spoke(t).resolve("10.10.2.5")
			want(t, "flags", p.Flags, wire.FlagRouter|wire.FlagAuthoritative|wire.FlagSourceStable|wire.FlagNAT)
			want(t, "S with a holding time", p.CIEs[0].HoldingTime, uint16(7200))
			want(t, "RQ-09: the rest is 0", p.CIEs[0].NBMA.IsValid() || p.CIEs[0].Protocol.IsValid() || p.CIEs[0].Preference != 0, false)
			b := hub(t)
			for _, flags := range []uint16{0, wire.FlagRouter, wire.FlagSourceStable, wire.FlagRouter | wire.FlagSourceStable} {
				p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
				p.Flags = flags
				r := b.ask(s1NBMA, p).p
				want(t, "Q and S", r.Flags&(wire.FlagRouter|wire.FlagSourceStable), flags)
			}
		}},
		{"RQ-06, RQ-07: unique is answered for the host alone; unique with a prefix is an error", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Flags |= wire.FlagUnique
			p.CIEs[0].PrefixLength = wire.HostPrefix
			r := b.ask(s1NBMA, p).p
			want(t, "entries", len(r.CIEs), 1)
			want(t, "prefix", r.CIEs[0].Prefix(addr("10.10.0.5")), prefix("10.10.0.5/32"))
			p.CIEs[0].PrefixLength = 24
			r = b.ask(s1NBMA, p).p
			want(t, "error", r.ErrorCode, wire.ErrorProtocolError)
			want(t, "offset", int(r.ErrorOffset), p.CIEOffset(0)+1)
		}},
		{"RQ-09: two entries are an error, none is answered, what is in one has no effect", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.CIEs = nil
			want(t, "none", b.ask(s1NBMA, p).p.CIEs[0].Code, wire.CodeSuccess)
			p.CIEs = []wire.CIE{{Protocol: addr("10.0.0.77"), NBMA: addr("203.0.113.77"), HoldingTime: 60}}
			want(t, "answered", b.ask(s1NBMA, p).p.CIEs[0].Protocol, addr(hubProtocol))
			s := b.snapshot()
			want(t, "told", len(s.Told) == 1 && s.Told[0].Protocol == addr(s1Protocol) && s.Told[0].To.NBMA == addr(s1NBMA), true)
			want(t, "accepted", b.n.Accepted[engine.Endpoint{NBMA: addr("203.0.113.77")}], false)
			p.CIEs = append(p.CIEs, wire.CIE{})
			want(t, "two", b.ask(s1NBMA, p).p.ErrorCode, wire.ErrorProtocolError)
		}},
		{"RQ-10: the widest prefix that the asker takes", func(t *testing.T) {
			b := hub(t)
			for length, answer := range map[uint8]string{
				0: "10.10.0.0/24", 32: "10.10.0.0/24", wire.HostPrefix: "10.10.0.0/24", 16: "10.10.0.0/24", 28: "10.10.0.64/28",
			} {
				p := resolution(s1Protocol, s1NBMA, "10.10.0.77")
				p.CIEs[0].PrefixLength = length
				r := b.ask(s1NBMA, p).p
				want(t, fmt.Sprint("asked with ", length), r.CIEs[0].Prefix(addr("10.10.0.77")), prefix(answer))
			}
		}},
		{"RQ-11, CA-04, CA-06: what was resolved is never the answer to others", func(t *testing.T) {
			b := hub(t)
			want(t, "hub", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).to, s2NBMA)
			b = spoke(t)
			b.shortcut()
			r := b.ask(hubNBMA, resolution("10.0.0.13", "203.0.113.33", "10.10.2.5")).p
			want(t, "spoke", r.CIEs[0].Code, wire.CodeNoBinding)
		}},
		{"RQ-12: nonsense is not asked for and not answered", func(t *testing.T) {
			b := spoke(t)
			for _, a := range []string{
				"224.0.0.5", "239.1.2.3", "255.255.255.255", "0.0.0.0", "0.0.0.7", "127.0.0.1", "169.254.1.1", "10.0.0.0", "10.0.0.255",
				s1Protocol, s1NBMA, hubNBMA,
			} {
				b.indicate(a)
				b.n.Input(engine.Miss{NextHop: addr(a)})
			}
			b.silent()
			b = hub(t)
			for _, a := range []string{"224.0.0.5", "255.255.255.255", "0.0.0.0", "127.0.0.1", "169.254.1.1", "10.0.0.0", "10.0.0.255", s1Protocol} {
				r := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, a))
				want(t, a, len(r.p.CIEs) == 1 && r.p.CIEs[0].Code == wire.CodeNoBinding, true)
			}
		}},
		{"RQ-13: a source that is another's is dropped and counted", func(t *testing.T) {
			b := hub(t)
			r := b.ask(s1NBMA, resolution(s2Protocol, s2NBMA, "10.10.0.5"))
			want(t, "error", r.p.ErrorCode, wire.ErrorProtocolAddressUnreachable)
			want(t, "counted", b.counted("dropped-stranger"), uint64(1))
			want(t, "told", len(b.snapshot().Told), 0)
		}},
		{"RQ-14: a repeat is answered again and done once", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			first, _ := b.ask(s1NBMA, p).p.Marshal()
			again, _ := b.ask(s1NBMA, p).p.Marshal()
			want(t, "alike", string(first), string(again))
			want(t, "told", len(b.snapshot().Told), 1)
		}},
		{"RQ-14: few requests at a time, and every destination has its turn", func(t *testing.T) {
			b := spoke(t, func(c *engine.Config) { c.Limits.Pending = 10 })
			asked := map[string]bool{}
			for range 45 {
				for i := range 50 {
					b.indicate(fmt.Sprintf("10.10.9.%d", i+1))
				}
				b.run(time.Second)
				for _, x := range b.take() {
					asked[x.p.DestinationProtocol.String()] = true
				}
				if n := len(b.snapshot().Requests); n > 10 {
					t.Fatalf("%d requests at a time", n)
				}
			}
			want(t, "destinations that had their turn", len(asked), 50)
		}},
		{"CM-01: the reply carries the request's id", func(t *testing.T) {
			b := hub(t)
			for _, id := range []uint32{0, 1, 0xFFFFFFFF} {
				p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
				p.RequestID = id
				want(t, "id", b.ask(s1NBMA, p).p.RequestID, id)
			}
		}},
		{"CM-03: ids begin anywhere, do not repeat, and their steps are not told", func(t *testing.T) {
			b := spoke(t)
			seen, steps := map[uint32]bool{}, map[uint32]bool{}
			last := uint32(0)
			for i := range 200 {
				id := b.resolve(fmt.Sprintf("10.10.3.%d", i+1)).RequestID
				want(t, "seen before", seen[id], false)
				seen[id], steps[id-last] = true, true
				last = id
				b.run(30 * time.Millisecond)
			}
			want(t, "different steps", len(steps) > 100, true)
			want(t, "begins at 0", seen[0] || seen[1], false)
		}},
	})
}
