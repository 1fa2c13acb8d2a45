// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// Floods of NHRP, and what is counted of it.
func TestCasesOfFloods(t *testing.T) {
	// madeUp is an underlay address that nobody has.
	madeUp := func(i int) string {
		return netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}).String()
	}
	few := func(c *engine.Config) { c.Limits.Strangers = 50 }
	rows(t, []row{
		{"SE-09: a flood from ever new addresses has one share, and takes nothing from those who are known", func(t *testing.T) {
			b := hub(t, few)
			for i := range 1000 {
				b.from(madeUp(i), resolution(s1Protocol, madeUp(i), "10.10.2.5"))
				b.from(madeUp(i), registration(fmt.Sprintf("10.0.0.%d", 100+i%100), madeUp(i), wire.CIE{PrefixLength: wire.HostPrefix}))
			}
			want(t, "of each kind are looked at", b.counted("resolution-request-received"), uint64(100))
			want(t, "and of registrations, those of S1 and S2 before among them", b.counted("registration-request-received"), uint64(100))
			want(t, "counted", b.counted("dropped-rate-strangers"), uint64(1802))
			want(t, "by type", b.counted("resolution-request-dropped-rate-strangers"), uint64(900))
			for i, s := range [][2]string{{s1Protocol, s1NBMA}, {s2Protocol, s2NBMA}} {
				p := registration(s[0], s[1])
				p.RequestID = uint32(20 + i)
				want(t, s[0]+" renews", b.ask(s[1], p).p.CIEs[0].Code, wire.CodeSuccess)
			}
			want(t, "S1 asks", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).to, s2NBMA)
		}},
		{"SE-10: strangers' requests leave room for their registrations, and these for those", func(t *testing.T) {
			b := hub(t, few)
			for i := range 1000 {
				b.from(madeUp(i), resolution(s1Protocol, madeUp(i), "10.10.2.5"))
			}
			want(t, "who comes anew", b.ask("203.0.113.33", registration("10.0.0.13", "203.0.113.33")).p.CIEs[0].Code, wire.CodeSuccess)
			b = hub(t, few)
			for i := range 1000 {
				b.from(madeUp(i), registration("10.0.0.99", madeUp(i), wire.CIE{PrefixLength: wire.HostPrefix}))
			}
			want(t, "what is asked", b.ask("203.0.113.33", resolution("10.0.0.13", "203.0.113.33", "10.10.2.5")).p.Type, wire.ErrorIndication)
			b.run(3 * time.Second)
			want(t, "who comes when it is over", b.ask("203.0.113.33", registration("10.0.0.13", "203.0.113.33")).p.CIEs[0].Code, wire.CodeSuccess)
		}},
		{"SE-11: answers of a server that is not up yet are no stranger's", func(t *testing.T) {
			b := newBench(t, s1NBMA, func() engine.Config { c := nhrptest.SpokeConfig("10.0.0.11/24", "10.10.1.0/24"); few(&c); return c }())
			own := b.one()
			for i := range 1000 {
				b.from(madeUp(i), reply(own.p, wire.RegistrationReply, hubProtocol, madeUp(i)))
			}
			b.registered(own.p)
			want(t, "registered", b.n.Bound[addr(hubProtocol)].NBMA, addr(hubNBMA))
		}},
		{"SE-12: what is refused is counted by type and code, and the caches say how full they are", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits.Bindings = 3 })
			want(t, "S3", b.ask("203.0.113.33", registration("10.0.0.13", "203.0.113.33")).p.CIEs[0].Code, wire.CodeSuccess)
			want(t, "S4", b.ask("203.0.113.44", registration("10.0.0.14", "203.0.113.44")).p.CIEs[0].Code, wire.CodeInsufficientResources)
			want(t, "no room", b.counted("registration-reply-sent-code-5"), uint64(1))
			b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.0.0.77"))
			want(t, "no binding", b.counted("resolution-reply-sent-code-12"), uint64(1))
			for _, c := range b.snapshot().Caches {
				if c.Name == "registered" {
					want(t, "registered", c, engine.CacheInfo{Name: "registered", Used: 3, Most: 3})
				}
				if c.Most <= 0 || c.Used > c.Most {
					t.Errorf("%+v", c)
				}
			}
			for _, s := range []string{s1Protocol, s2Protocol, "10.0.0.13"} {
				want(t, s+" is there still", b.n.Bound[addr(s)].NBMA.IsValid(), true)
			}
		}},
	})
}
