// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dmvpn/ikev2/wire"
)

// One target a payload: whatever stands in its body, it is refused or it can be printed,
// looked into, and written to what reads the same.
func FuzzSA(f *testing.F)            { fuzzPayload(f, wire.PayloadSA) }
func FuzzKE(f *testing.F)            { fuzzPayload(f, wire.PayloadKeyExchange) }
func FuzzIDi(f *testing.F)           { fuzzPayload(f, wire.PayloadIDInitiator) }
func FuzzIDr(f *testing.F)           { fuzzPayload(f, wire.PayloadIDResponder) }
func FuzzCERT(f *testing.F)          { fuzzPayload(f, wire.PayloadCertificate) }
func FuzzCERTREQ(f *testing.F)       { fuzzPayload(f, wire.PayloadCertificateRequest) }
func FuzzAUTH(f *testing.F)          { fuzzPayload(f, wire.PayloadAuthentication) }
func FuzzNonce(f *testing.F)         { fuzzPayload(f, wire.PayloadNonce) }
func FuzzNotify(f *testing.F)        { fuzzPayload(f, wire.PayloadNotify) }
func FuzzDelete(f *testing.F)        { fuzzPayload(f, wire.PayloadDelete) }
func FuzzVendorID(f *testing.F)      { fuzzPayload(f, wire.PayloadVendorID) }
func FuzzTSi(f *testing.F)           { fuzzPayload(f, wire.PayloadSelectorsOfInitiator) }
func FuzzTSr(f *testing.F)           { fuzzPayload(f, wire.PayloadSelectorsOfResponder) }
func FuzzConfiguration(f *testing.F) { fuzzPayload(f, wire.PayloadConfiguration) }
func FuzzEAP(f *testing.F)           { fuzzPayload(f, wire.PayloadEAP) }

// FuzzSKF and FuzzSK are of the two that end a message.
func FuzzSK(f *testing.F)  { fuzzPayload(f, wire.PayloadEncrypted) }
func FuzzSKF(f *testing.F) { fuzzPayload(f, wire.PayloadFragment) }

func fuzzPayload(f *testing.F, kind wire.PayloadType) {
	outer := kind == wire.PayloadEncrypted || kind == wire.PayloadFragment
	seed := func(p wire.Payload) {
		if b, err := wire.AppendInner(nil, []wire.Payload{p}); err == nil && p.PayloadType() == kind {
			f.Add(b[4:])
		}
	}
	for _, p := range everything().Payloads {
		seed(p)
	}
	add := func(first wire.PayloadType, in string) {
		if b := unhex(f, in); first == kind && len(b) > 4 {
			f.Add(b[4:])
		}
	}
	for _, c := range accepted {
		add(c.first, c.in)
	}
	for _, c := range refused {
		add(c.first, c.in)
	}
	for _, c := range captures(f) {
		for _, b := range ikeMessages(c) {
			if m, err := wire.Parse(b); err == nil {
				for _, p := range m.Payloads {
					seed(p)
				}
			}
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > wire.MaxMessage-32 {
			return
		}
		n := len(body) + 4
		chain := append([]byte{0, 0, byte(n >> 8), byte(n)}, body...)
		parse := func(b []byte) ([]wire.Payload, error) { return wire.ParseInner(kind, b) }
		if outer {
			parse = func(b []byte) ([]wire.Payload, error) {
				m := wire.Message{Header: wire.Header{SPIi: wire.SPI{1}, Exchange: wire.Informational}, Payloads: []wire.Payload{&wire.Unknown{Kind: kind, Body: b[4:]}}}
				whole, err := m.Append(nil)
				if err != nil {
					return nil, err
				}
				back, err := wire.Parse(whole)
				if err != nil {
					return nil, err
				}
				return back.Payloads, nil
			}
		}
		all, err := parse(chain)
		if err != nil {
			return
		}
		_ = wire.Describe(all)
		if n, ok := all[0].(*wire.Notify); ok {
			lookInto(n)
		}
		again, err := wire.AppendInner(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, back, alike); diff != "" {
			t.Error(diff)
		}
	})
}

// lookInto asks a notification for everything that one may hold.
func lookInto(n *wire.Notify) {
	_, _ = n.KeyExchangeMethod()
	_, _ = n.CookieData()
	_, _, _ = n.ChildSPI()
	_, _ = n.Address()
	_, _ = n.WindowSize()
	_, _ = n.HashAlgorithms()
}
