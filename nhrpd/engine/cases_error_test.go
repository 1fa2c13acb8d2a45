// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// Error Indication: section 8 of the case list, and of section 1 what is
// answered with one.
func TestCasesOfErrors(t *testing.T) {
	bytesOf := func(t *testing.T, p *wire.Packet) []byte {
		t.Helper()
		data, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// raw gives a machine octets from S1 and takes the one packet that it sends.
	raw := func(b *bench, data []byte) *wire.Packet {
		b.t.Helper()
		b.take()
		b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(s1NBMA)}, Data: data})
		return b.one().p
	}
	rows(t, []row{
		{"ER-01, ER-04, HD-01, HD-02, HD-03, HD-08: what cannot be read: code 7, the place, the packet, no extensions", func(t *testing.T) {
			good := bytesOf(t, resolution(s1Protocol, s1NBMA, "10.10.0.5"))
			for name, x := range map[string]struct {
				spoil  func(b []byte) []byte
				offset uint16
			}{
				"checksum":         {func(b []byte) []byte { b[40] ^= 1; return b }, 12},
				"version 0":        {func(b []byte) []byte { b[16] = 0; return sealed(b) }, 16},
				"version 2":        {func(b []byte) []byte { b[16] = 2; return sealed(b) }, 16},
				"size too large":   {func(b []byte) []byte { return b[:len(b)-1] }, 10},
				"type 0":           {func(b []byte) []byte { b[17] = 0; return sealed(b) }, 17},
				"type 9":           {func(b []byte) []byte { b[17] = 9; return sealed(b) }, 17},
				"type 128":         {func(b []byte) []byte { b[17] = 128; return sealed(b) }, 17},
				"extension offset": {func(b []byte) []byte { b[14], b[15] = 0, 19; return sealed(b) }, 14},
			} {
				b := hub(t)
				bad := x.spoil(slices.Clone(good))
				p := raw(b, bad)
				if p.Type != wire.ErrorIndication {
					t.Errorf("%s: %v", name, p)
					continue
				}
				want(t, name+": code", p.ErrorCode, wire.ErrorProtocolError)
				want(t, name+": offset", p.ErrorOffset, x.offset)
				want(t, name+": source", p.SourceProtocol == addr(hubProtocol) && p.SourceNBMA == addr(hubNBMA), true)
				want(t, name+": destination", p.DestinationProtocol, addr(s1Protocol))
				want(t, name+": contents as received", bytes.Equal(p.Contents, bad), true)
				want(t, name+": extensions", len(p.Extensions), 0)
				want(t, name+": HD-09: hop count", p.HopCount, uint8(255))
				want(t, name+": counted", b.counted("dropped-malformed"), uint64(1))
				want(t, name+": ER-03: nothing is taken of it", len(b.snapshot().Told), 0)
			}
		}},
		{"ER-01: the contents are cut so that the error needs no fragment", func(t *testing.T) {
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Compulsory: true, Value: make([]byte, 1200)})
			r := hub(t).ask(s1NBMA, p).p
			want(t, "code", r.ErrorCode, wire.ErrorUnrecognizedExtension)
			want(t, "cut", len(r.Contents) < 1000 && bytes.HasPrefix(bytesOf(t, p), r.Contents), true)
		}},
		{"ER-02: never about an error, nor an indication", func(t *testing.T) {
			b := hub(t)
			e := errorAbout(resolution(hubProtocol, hubNBMA, "10.10.1.5"), wire.ErrorProtocolAddressUnreachable, s1Protocol, s1NBMA)
			for _, p := range []*wire.Packet{e, indication("10.10.1.5", "10.10.2.5", "10.10.2.5")} {
				data := bytesOf(t, p)
				for i := range data {
					for _, mask := range []byte{0x01, 0xFF} {
						bad := slices.Clone(data)
						bad[i] ^= mask
						if i != 12 && i != 13 {
							bad = sealed(bad)
						}
						b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(s1NBMA)}, Data: bad})
						b.run(100 * time.Millisecond)
						for _, x := range b.take() {
							// One whose type was bent is no error any more.
							if i != 17 {
								t.Errorf("octet %d bent: %v", i, x.p)
							}
						}
					}
				}
			}
		}},
		{"ER-03: one error for one packet, whatever is wrong with it", func(t *testing.T) {
			b := hub(t)
			p := resolution(s2Protocol, s2NBMA, "10.77.0.1") // not S1's, unknown target, unknown extension
			p.Extensions = append(p.Extensions, wire.Extension{Type: 0x3801, Compulsory: true})
			data := bytesOf(t, p)
			data[16] = 3
			want(t, "one", raw(b, data).Type, wire.ErrorIndication)
			want(t, "one", raw(b, sealed(data)).Type, wire.ErrorIndication)
			data[16] = 1
			want(t, "one", raw(b, sealed(data)).Type, wire.ErrorIndication)
		}},
		{"ER-04: an error with extensions is taken", func(t *testing.T) {
			b := spoke(t)
			e := errorAbout(b.resolve("10.10.2.5"), wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA)
			secret, _ := wire.NewCiscoAuthentication("whatever")
			e.Extensions = append(bare(wire.PurgeRequest, hubProtocol, hubNBMA, s1Protocol).Extensions, secret)
			b.from(hubNBMA, e)
			want(t, "negative entries", len(b.snapshot().Negatives), 1)
		}},
		{"ER-05: in transit it goes on like a request, one's own or a spent one goes quietly", func(t *testing.T) {
			b := hub(t)
			e := errorAbout(resolution(s2Protocol, s2NBMA, "10.10.1.5"), wire.ErrorProtocolAddressUnreachable, s1Protocol, s1NBMA)
			r := b.ask(s1NBMA, e)
			want(t, "to", r.to, s2NBMA)
			want(t, "hop count", r.p.HopCount, uint8(254))
			want(t, "contents", bytes.Equal(r.p.Contents, e.Contents), true)
			e.HopCount = 0
			b.from(s1NBMA, e)
			b.silent()
			e = errorAbout(resolution(s2Protocol, s2NBMA, "10.10.1.5"), wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA)
			b.from(s1NBMA, e)
			b.silent()
			want(t, "counted", b.counted("dropped-own-error"), uint64(1))
		}},
		{"ER-06, ER-07: no way onward is NAK 12 for a resolution, error 6 for others", func(t *testing.T) {
			b := hub(t)
			want(t, "resolution", b.ask(s1NBMA, resolution(s1Protocol, s1NBMA, "10.77.0.1")).p.CIEs[0].Code, wire.Code(12))
			r := b.ask(s1NBMA, purgeOf(s1Protocol, s1NBMA, "10.77.0.1", "10.10.1.0/24")).p
			want(t, "purge", r.ErrorCode, wire.ErrorCode(6))
			p := registration(s1Protocol, s1NBMA)
			p.DestinationProtocol = addr("10.77.0.1")
			want(t, "registration", b.ask(s1NBMA, p).p.ErrorCode, wire.ErrorCode(6))
		}},
		{"ER-08: it counts only about a request of ours that is outstanding", func(t *testing.T) {
			b := spoke(t)
			request := b.resolve("10.10.2.5")
			for name, spoil := range map[string]func(p *wire.Packet){
				"another id":     func(p *wire.Packet) { p.Contents[27]++ },
				"too short":      func(p *wire.Packet) { p.Contents = p.Contents[:30] },
				"nothing":        func(p *wire.Packet) { p.Contents = nil },
				"another type":   func(p *wire.Packet) { p.Contents[17] = byte(wire.ResolutionReply) },
				"another source": func(p *wire.Packet) { p.Contents[28+4+3]++ },
				"lying lengths":  func(p *wire.Packet) { p.Contents[18] = 63 },
			} {
				e := errorAbout(request, wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA)
				spoil(e)
				b.from(hubNBMA, e)
				b.silent()
				want(t, name, len(b.snapshot().Requests), 1)
			}
			e := errorAbout(request, wire.ErrorProtocolAddressUnreachable, hubProtocol, hubNBMA)
			b.from("203.0.113.33", e)
			want(t, "from elsewhere", len(b.snapshot().Requests), 1)
			b.from(hubNBMA, e)
			want(t, "right", len(b.snapshot().Requests), 0)
			want(t, "negative entries", len(b.snapshot().Negatives), 1)
		}},
		{"ER-09: a few errors for many bad packets", func(t *testing.T) {
			b := hub(t, func(c *engine.Config) { c.Limits.PacketsPerPeer = 100000 })
			for range 1000 {
				p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
				p.HopCount = 0
				p.DestinationProtocol = addr("10.10.2.5")
				b.from(s1NBMA, p)
			}
			want(t, "a few", len(b.take()) <= 6, true)
			want(t, "the rest is counted", b.counted("error-suppressed") > 990, true)
		}},
		{"ER-10, EX-02: an extension that does not fit: error 9 and its place", func(t *testing.T) {
			for name, x := range map[string]struct {
				packet *wire.Packet
				add    []wire.Extension
			}{
				"a second record":             {resolution(s1Protocol, s1NBMA, "10.10.0.5"), []wire.Extension{{Type: wire.ExtensionForwardTransit, Compulsory: true}}},
				"a second NAT address":        {resolution(s1Protocol, s1NBMA, "10.10.0.5"), []wire.Extension{{Type: wire.ExtensionNATAddress}}},
				"a second authentication":     {resolution(s1Protocol, s1NBMA, "10.10.0.5"), []wire.Extension{{Type: wire.ExtensionAuthentication}, {Type: wire.ExtensionAuthentication}}},
				"a second responder, a purge": {purgeOf(s1Protocol, s1NBMA, hubProtocol, "10.10.1.0/24"), []wire.Extension{{Type: wire.ExtensionResponderAddress, Compulsory: true}}},
			} {
				b := hub(t)
				x.packet.Extensions = append(x.packet.Extensions, x.add...)
				r := b.ask(s1NBMA, x.packet).p
				want(t, name+": code", r.ErrorCode, wire.ErrorInvalidExtension)
				want(t, name+": offset", int(r.ErrorOffset), x.packet.ExtensionOffset(len(x.packet.Extensions)-1))
			}
			b := hub(t)
			p := resolution(s1Protocol, s1NBMA, "10.10.0.5")
			p.Extensions[3].Value = make([]byte, 7) // NA-04: of an odd length
			r := b.ask(s1NBMA, p).p
			want(t, "cut NAT address", r.ErrorCode, wire.ErrorInvalidExtension)
			want(t, "offset", int(r.ErrorOffset), p.ExtensionOffset(3))
		}},
		{"ER-11: an error about a registration changes the pauses of nothing; it is shown", func(t *testing.T) {
			b := newBench(t, s1NBMA, spokeConfig())
			for _, code := range []wire.ErrorCode{wire.ErrorHopCountExceeded, wire.ErrorLoopDetected, wire.ErrorProtocolAddressUnreachable, wire.ErrorAuthenticationFailure} {
				x := b.one()
				if x.p.Type != wire.RegistrationRequest {
					t.Fatalf("%v", x.p)
				}
				b.from(hubNBMA, errorAbout(x.p, code, hubProtocol, hubNBMA))
				b.silent()
				want(t, "reason", b.snapshot().Servers[0].Reason, code.String())
				next, _ := b.n.Machine.Next()
				b.run(next.Sub(b.w.Now))
			}
			b.take()
			b.run(64 * time.Second)
			want(t, "no storm", len(b.take()) <= 4, true)
		}},
	})
}
