// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// types gives the types of a packet's extensions.
func types(p *wire.Packet) []wire.ExtensionType {
	var list []wire.ExtensionType
	for _, e := range p.Extensions {
		list = append(list, e.Type)
	}
	return list
}

// recorded gives the protocol addresses in a transit record.
func recorded(t *testing.T, p *wire.Packet, kind wire.ExtensionType) string {
	t.Helper()
	e := p.Extension(kind)
	if e == nil {
		return "absent"
	}
	list, err := p.Entries(e)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Protocol.String())
	}
	return strings.Join(names, " ")
}

// Extensions, Responder Address and transit records: sections 9 and 10 of the
// case list.
func TestCasesOfExtensions(t *testing.T) {
	unknown := func(compulsory bool) wire.Extension {
		return wire.Extension{Type: 0x3801, Compulsory: compulsory, Value: []byte("seventeen octets.")}
	}
	foreign := func(s string) wire.Extension {
		return wire.Extension{Type: wire.ExtensionVendorPrivate, Value: append([]byte{0, 0, 9}, s...)}
	}
	rows(t, []row{
		{"EX-03, EX-05, EX-11: what we do not know, and others' private ones, come back as they were, in their order", func(t *testing.T) {
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions = append(p.Extensions, foreign("one"), unknown(false), foreign("two"))
			r := hub(t).ask(s1NBMA, p).p
			want(t, "order", slices.Equal(types(r), types(p)), true)
			for _, i := range []int{4, 5, 6} {
				want(t, "value", bytes.Equal(r.Extensions[i].Value, p.Extensions[i].Value), true)
			}
		}},
		{"EX-04: order is kept from hop to hop", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Authentication = "" })
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			e := p.Extensions
			p.Extensions = []wire.Extension{e[3], e[2], foreign("x"), e[0], e[1]}
			r := b.ask(s1NBMA, p)
			want(t, "to", r.to, s2NBMA)
			want(t, "order", slices.Equal(types(r.p), types(p)), true)
		}},
		{"EX-06: unknown and compulsory, for us: error 1 and its place, nothing kept", func(t *testing.T) {
			for _, p := range []*wire.Packet{
				resolution("10.0.0.13", "203.0.113.33", "10.10.0.5"), registration("10.0.0.13", "203.0.113.33"), registration("10.0.0.14", "203.0.113.33"),
			} {
				b := hub(t)
				if p.Type == wire.ResolutionRequest {
					b.from("203.0.113.33", registration("10.0.0.13", "203.0.113.33"))
				}
				before := len(b.snapshot().Bindings)
				p.Extensions = append(p.Extensions, unknown(true))
				r := b.ask("203.0.113.33", p).p
				want(t, "code", r.ErrorCode, wire.ErrorUnrecognizedExtension)
				want(t, "offset", int(r.ErrorOffset), p.ExtensionOffset(len(p.Extensions)-1))
				s := b.snapshot()
				want(t, "kept", len(s.Told)+len(s.Bindings), before)
			}
			b := networksHub(t)
			p := purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.20.1.0/24")
			p.Extensions = append(p.Extensions, unknown(true))
			want(t, "purge", b.ask(s1NBMA, p).p.ErrorCode, wire.ErrorUnrecognizedExtension)
			want(t, "purged", b.n.Installed[prefix("10.20.1.0/24")].IsValid(), true)
		}},
		{"EX-06: in a reply for us, nothing is taken", func(t *testing.T) {
			b := spoke(t)
			p := reply(b.resolve("10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))
			p.Extensions = append(p.Extensions, unknown(true))
			b.from(hubNBMA, p)
			want(t, "shortcuts", len(b.snapshot().Shortcuts), 0)
		}},
		{"EX-07: unknown and compulsory, in transit: forwarded without a record of us", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			p.Extensions = append(p.Extensions, unknown(true))
			r := b.ask(s1NBMA, p)
			want(t, "to", r.to, s2NBMA)
			want(t, "record", recorded(t, r.p, wire.ExtensionForwardTransit), "")
			want(t, "still there", r.p.Extensions[4].Compulsory && bytes.Equal(r.p.Extensions[4].Value, unknown(true).Value), true)
		}},
		{"EX-08: C and u are no part of the type", func(t *testing.T) {
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions[0].Compulsory, p.Extensions[0].Unused = false, true
			r := hub(t).ask(s1NBMA, p).p
			want(t, "responder", recorded(t, r, wire.ExtensionResponderAddress), hubProtocol)
		}},
		{"EX-09, RC-07: a reply and a record have what the request had", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions = nil
			want(t, "reply", len(b.ask(s1NBMA, p).p.Extensions), 0)
			p.DestinationProtocol = addr("10.10.2.5")
			want(t, "in transit", len(b.ask(s1NBMA, p).p.Extensions), 0)
		}},
		{"EX-10, FW-04: what would outgrow the next link is an error 8, not cut", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Value: make([]byte, 1400-p.Size()-6)})
			r := b.ask(s1NBMA, p)
			want(t, "to", r.to, s1NBMA)
			want(t, "code", r.p.ErrorCode, wire.ErrorPacketSizeExceeded)
		}},
		{"EX-10: a request whose reply would outgrow the underlay is error 8, and not processed", func(t *testing.T) {
			b := hub(t)
			registrationOf := func(size int) *wire.Packet {
				p := registration("10.0.0.13", "203.0.113.33")
				p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801})
				p.Extensions[len(p.Extensions)-1].Value = make([]byte, size-p.Size())
				return p
			}
			for _, p := range []*wire.Packet{registrationOf(1372), registrationOf(1289)} {
				r := b.ask("203.0.113.33", p)
				want(t, "registration", r.p.ErrorCode, wire.ErrorPacketSizeExceeded)
				want(t, "not registered", registered(b, "10.0.0.13/32"), false)
			}
			r := b.ask("203.0.113.33", registrationOf(1288))
			want(t, "one that fits", r.p.Type == wire.RegistrationReply && r.p.CIEs[0].Code == wire.CodeSuccess, true)
			for _, p := range []*wire.Packet{resolution(s1Protocol, s1NBMA, "10.10.0.5"), purgeOf(s1Protocol, s1NBMA, hubProtocol, s1Protocol+"/32")} {
				p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Value: make([]byte, 1300)})
				want(t, p.Type.String(), b.ask(s1NBMA, p).p.ErrorCode, wire.ErrorPacketSizeExceeded)
			}
			want(t, "not purged", registered(b, s1Protocol+"/32"), true)
		}},
		{"RC-01: asked with an empty value only", func(t *testing.T) {
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			r := hub(t).ask(s1NBMA, p).p
			list, _ := r.Entries(r.Extension(wire.ExtensionResponderAddress))
			want(t, "responder", len(list) == 1 && list[0].Protocol == addr(hubProtocol) && list[0].NBMA == addr(hubNBMA) && list[0].HoldingTime == 7200, true)
			want(t, "RC-06: prefix", list[0].PrefixLength, uint8(0))
		}},
		{"RC-03, RC-09: our own address in a responder or a record is error 3 and its place", func(t *testing.T) {
			b := hub(t)
			ours := wire.CIE{HoldingTime: 7200, NBMA: addr(hubNBMA), Protocol: addr(hubProtocol)}
			p := resolution(s1Protocol, s1NBMA, "10.10.2.5")
			p.Extensions[1], _ = p.NewEntries(wire.ExtensionForwardTransit, ours)
			r := b.ask(s1NBMA, p)
			want(t, "request", r.p.ErrorCode, wire.ErrorLoopDetected)
			want(t, "offset", int(r.p.ErrorOffset), p.ExtensionOffset(1))
			for i, kind := range map[int]wire.ExtensionType{0: wire.ExtensionResponderAddress, 2: wire.ExtensionReverseTransit} {
				p = reply(resolution(s1Protocol, s1NBMA, "10.10.2.5"), wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))
				p.Extensions[i], _ = p.NewEntries(kind, ours)
				r := b.ask(s2NBMA, p)
				want(t, "to", r.to, s2NBMA)
				want(t, "reply", r.p.ErrorCode, wire.ErrorLoopDetected)
				want(t, "offset", int(r.p.ErrorOffset), p.ExtensionOffset(i))
			}
			want(t, "counted", b.counted("dropped-loop"), uint64(3))
		}},
		{"RC-06, RC-07: every server in transit enters itself, if there is a record", func(t *testing.T) {
			b := hub(t)
			request := b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.2.5")).p
			want(t, "forward", recorded(t, request, wire.ExtensionForwardTransit), hubProtocol)
			want(t, "reverse", recorded(t, request, wire.ExtensionReverseTransit), "")
			r := b.ask(s2NBMA, reply(request, wire.ResolutionReply, s2Protocol, s2NBMA, owner(24, s2Protocol, s2NBMA))).p
			want(t, "forward", recorded(t, r, wire.ExtensionForwardTransit), hubProtocol)
			want(t, "reverse", recorded(t, r, wire.ExtensionReverseTransit), hubProtocol)
			list, _ := r.Entries(r.Extension(wire.ExtensionReverseTransit))
			want(t, "code and prefix", list[0].Code == 0 && list[0].PrefixLength == 0, true)
		}},
		{"RC-08: who answers does not touch the records", func(t *testing.T) {
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions[1], _ = p.NewEntries(wire.ExtensionForwardTransit, wire.CIE{HoldingTime: 60, NBMA: addr("192.0.2.2"), Protocol: addr("10.0.0.2")})
			r := b.ask(s1NBMA, p).p
			want(t, "forward", recorded(t, r, wire.ExtensionForwardTransit), "10.0.0.2")
			want(t, "reverse", recorded(t, r, wire.ExtensionReverseTransit), "")
		}},
	})
}

// networksHub is hub with networks of S1's.
func networksHub(t *testing.T) *bench {
	b := hub(t)
	b.from(s1NBMA, registration(s1Protocol, s1NBMA, network("10.20.1.0/24"), network("10.20.1.128/25"), network("10.20.2.0/24")))
	b.take()
	return b
}

// Authentication: section 11 of the case list.
func TestCasesOfAuthentication(t *testing.T) {
	const secret = "test1234"
	with := func(c *engine.Config) { c.Authentication = secret }
	signed := func(p *wire.Packet, secret string, at int) *wire.Packet {
		e, err := wire.NewCiscoAuthentication(secret)
		if err != nil {
			t.Fatal(err)
		}
		p.Extensions = slices.Insert(p.Extensions, at, e)
		return p
	}
	// start is H with a secret, S1 and S2 registered with it.
	start := func(t *testing.T) *bench {
		b := hub(t, with)
		b.from(s1NBMA, signed(registration(s1Protocol, s1NBMA), secret, 4))
		b.from(s2NBMA, signed(registration(s2Protocol, s2NBMA), secret, 4))
		b.take()
		return b
	}
	rows(t, []row{
		{"AU-01: made anew at every hop, in its old place", func(t *testing.T) {
			b := start(t)
			r := b.ask(s1NBMA, signed(resolution(s1Protocol, s1NBMA, "10.10.2.5"), secret, 1))
			want(t, "to", r.to, s2NBMA)
			want(t, "place", r.p.Index(wire.ExtensionAuthentication), 1)
			want(t, "how many", len(r.p.Extensions), 5)
			a, err := r.p.Extensions[1].Authentication()
			want(t, "secret", err == nil && a.CiscoSecret(secret), true)
		}},
		{"AU-02, AU-04: wrong, missing, of another kind: error 11, dropped, nothing changes", func(t *testing.T) {
			for name, spoil := range map[string]func(p *wire.Packet){
				"wrong":         func(p *wire.Packet) { p.Extensions[0].Value[7]++ },
				"missing":       func(p *wire.Packet) { p.Extensions = p.Extensions[1:] },
				"empty":         func(p *wire.Packet) { p.Extensions[0].Value = nil },
				"three octets":  func(p *wire.Packet) { p.Extensions[0].Value = p.Extensions[0].Value[:3] },
				"no secret":     func(p *wire.Packet) { p.Extensions[0].Value = p.Extensions[0].Value[:4] },
				"its beginning": func(p *wire.Packet) { p.Extensions[0].Value = p.Extensions[0].Value[:10] },
				"more":          func(p *wire.Packet) { p.Extensions[0].Value = append(p.Extensions[0].Value, 0) },
				"another kind":  func(p *wire.Packet) { p.Extensions[0].Value[3] = 2 },
				"reserved":      func(p *wire.Packet) { p.Extensions[0].Value[0] = 1 },
			} {
				b := start(t)
				for _, p := range []*wire.Packet{
					registration("10.0.0.13", "203.0.113.33"), resolution(s1Protocol, s1NBMA, "10.10.0.5"), purgeOf(s1Protocol, s1NBMA, hubProtocol, s1Protocol+"/32"),
				} {
					signed(p, secret, 0)
					spoil(p)
					at := 0
					if i := p.Index(wire.ExtensionAuthentication); i >= 0 {
						at = p.ExtensionOffset(i)
					}
					r := b.ask(s1NBMA, p).p
					want(t, name+": code", r.ErrorCode, wire.ErrorAuthenticationFailure)
					want(t, name+": offset", int(r.ErrorOffset), at)
				}
				s := b.snapshot()
				want(t, name+": unchanged", len(s.Bindings) == 2 && len(s.Told) == 0, true)
				want(t, name+": counted", b.counted("dropped-authentication") >= 3, true)
			}
		}},
		{"AU-02: where none is set, one is tolerated and not passed on", func(t *testing.T) {
			b := hub(t)
			r := b.ask(s1NBMA, signed(resolution(s1Protocol, s1NBMA, "10.10.2.5"), "whatever", 1))
			want(t, "to", r.to, s2NBMA)
			want(t, "authentication", r.p.Index(wire.ExtensionAuthentication), -1)
		}},
		{"AU-03: in requests, replies and indications, never in errors", func(t *testing.T) {
			b := start(t)
			r := b.ask(s1NBMA, signed(resolution(s1Protocol, s1NBMA, "10.10.0.5"), secret, 0)).p
			want(t, "reply", r.Index(wire.ExtensionAuthentication), 0)
			b.n.Input(engine.Redirect{Data: inner("10.10.1.5", "10.10.2.5")})
			r = b.one().p
			want(t, "type", r.Type, wire.TrafficIndication)
			want(t, "indication", r.Index(wire.ExtensionAuthentication), 0)
			want(t, "error", len(b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.10.0.5")).p.Extensions), 0)
			b.n.SetKernel(append(b.n.Kernel, nhrptest.Route{Prefix: prefix("10.10.0.0/25"), NextHop: addr(s2Protocol), Tunnel: true}))
			r = b.one().p
			want(t, "type", r.Type, wire.PurgeRequest)
			want(t, "purge", r.Index(wire.ExtensionAuthentication) >= 0, true)
		}},
		{"AU-03: an indication without it is not taken", func(t *testing.T) {
			b := newBench(t, s1NBMA, func() engine.Config { c := spokeConfig(); c.Authentication = secret; return c }())
			for range 2 {
				for _, x := range b.take() {
					want(t, "registration", x.p.Index(wire.ExtensionAuthentication) >= 0, true)
					b.registered(x.p)
				}
			}
			b.take()
			b.indicate("10.10.2.5")
			b.silent()
			b.from(hubNBMA, signed(indication("10.10.1.5", "10.10.2.5", "10.10.2.5"), secret, 0))
			want(t, "with it", b.one().p.Type, wire.ResolutionRequest)
		}},
		{"AU-07: the secret stands in no report and no error", func(t *testing.T) {
			b := start(t)
			b.ask(s1NBMA, signed(resolution(s1Protocol, s1NBMA, "10.10.0.5"), "another1", 0))
			for _, line := range append(b.n.Reports, b.w.Trace...) {
				if strings.Contains(line, secret) || strings.Contains(line, "another1") {
					t.Errorf("%q", line)
				}
			}
		}},
		{"AU-07: an error does not hand a right secret on", func(t *testing.T) {
			b := start(t)
			p := signed(resolution(s1Protocol, s1NBMA, "10.10.2.5"), secret, 0)
			p.HopCount = 0
			r := b.ask(s1NBMA, p).p
			want(t, "code", r.ErrorCode, wire.ErrorHopCountExceeded)
			want(t, "to who sent it, it may quote what it sent", r.DestinationProtocol, addr(s1Protocol))
		}},
	})
}
