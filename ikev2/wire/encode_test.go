// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dmvpn/ikev2/wire"
)

// alike compares messages: no octets are as good as none.
var alike = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

// everything has one payload of each kind.
func everything() *wire.Message {
	address := netip.MustParseAddr("198.51.100.11")
	v6 := netip.MustParseAddr("2001:db8::1")
	return &wire.Message{
		Header: wire.Header{SPIi: wire.SPI{1}, SPIr: wire.SPI{2}, Exchange: wire.IKEAuth, Response: true, MessageID: 1},
		Payloads: []wire.Payload{
			&wire.SA{Proposals: []wire.Proposal{
				{Number: 1, Protocol: wire.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []wire.Transform{
					{Type: wire.Encryption, ID: wire.EncryptionAESGCM16, KeyLength: 256},
					{Type: wire.SequenceNumbers, ID: wire.ExtendedSequenceNumbers},
				}},
				{Number: 2, Protocol: wire.ProtocolIKE, SPI: []byte{}, Transforms: []wire.Transform{
					{Type: wire.KeyExchangeMethod, ID: wire.Curve25519},
					{Type: wire.AdditionalKeyExchange1, ID: wire.MLKEM768, Others: []wire.Attribute{
						{Type: 3, Value: []byte{9}}, {Type: 14, Short: true, Value: []byte{0, 0}},
					}},
				}},
			}},
			&wire.KeyExchange{Method: wire.Curve25519, Data: make([]byte, 32)},
			wire.Nonce(make([]byte, 32)),
			&wire.Identification{Type: wire.IDFQDN, Reserved: [3]byte{1, 2, 3}, Data: []byte("hub.example")},
			&wire.Identification{Responder: true, Type: wire.IDIPv4, Data: []byte{192, 0, 2, 1}},
			&wire.Certificate{Encoding: wire.CertificateX509, Data: []byte{0x30, 0}},
			&wire.CertificateRequest{Encoding: wire.CertificateX509, Authorities: make([]byte, 40)},
			&wire.Authentication{Method: wire.AuthDigitalSignature, Data: []byte{1}},
			wire.NewInvalidKE(wire.ECP384),
			wire.NewChildNotify(wire.RekeySA, 0xC0000001),
			wire.NewHashAlgorithms(wire.HashSHA256, wire.HashIdentity),
			&wire.Delete{Protocol: wire.ProtocolESP, SPIs: []uint32{1, 2}},
			wire.VendorID("dmvpn"),
			&wire.Selectors{List: []wire.Selector{
				{Type: wire.SelectorIPv4, Protocol: 47, EndPort: 65535, Start: address, End: address},
				{Type: wire.SelectorIPv6, StartPort: 65535, Start: v6, End: v6},
			}},
			&wire.Selectors{Responder: true, List: []wire.Selector{{Type: 9, Other: []byte{1, 2, 3, 4}}}},
			&wire.Configuration{Type: wire.ConfigurationReply, Attributes: []wire.ConfigurationAttribute{{Type: 1, Value: []byte{10, 0, 0, 1}}}},
			&wire.EAP{Message: []byte{1, 1, 0, 4}},
			&wire.Unknown{Kind: 200, Body: []byte{7}},
			&wire.Encrypted{Inner: wire.PayloadDelete, Body: []byte{1, 2, 3}},
		},
	}
}

func TestEveryPayloadComesBackAsItWasSent(t *testing.T) {
	m := everything()
	b, err := m.Append([]byte("in front"))
	if err != nil || !strings.HasPrefix(string(b), "in front") {
		t.Fatal(err)
	}
	back, err := wire.Parse(b[8:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back, alike); diff != "" {
		t.Error(diff)
	}
	const want = "IKE_AUTH response 1 0100000000000000_i 0200000000000000_r " +
		"[SA(#1 ESP:AES_GCM_16_256/EXT_SEQ 01020304, #2 IKE:CURVE_25519/KE1_ML_KEM_768(unknown attribute)) " +
		"KE(CURVE_25519, 32 octets) Nonce(32 octets) IDi(hub.example) IDr(192.0.2.1) CERT(4, 2 octets) " +
		"CERTREQ(4, 2 authorities) AUTH(digital signature, 1 octets) N(INVALID_KE_PAYLOAD ECP_384) " +
		"N(REKEY_SA ESP c0000001) N(SIGNATURE_HASH_ALGORITHMS) D(ESP 00000001 00000002) V(646d76706e) " +
		"TSi(198.51.100.11[gre], 2001:db8::1[any/opaque]) TSr(selector(9, 4 octets)) CP(reply, 1 attributes) " +
		"EAP(4 octets) payload(200)(1 octets) SK(3 octets)]"
	if m.String() != want {
		t.Errorf("printed\n got %s\nwant %s", m, want)
	}
}

func TestEncoderRefusesWhatDoesNotFit(t *testing.T) {
	cases := []struct {
		name string
		p    wire.Payload
	}{
		{"an SPI of 256 octets", &wire.SA{Proposals: []wire.Proposal{{SPI: make([]byte, 256)}}}},
		{"256 transforms", &wire.SA{Proposals: []wire.Proposal{{Transforms: make([]wire.Transform, 256)}}}},
		{"a short attribute of one octet", &wire.SA{Proposals: []wire.Proposal{{Transforms: []wire.Transform{{Others: []wire.Attribute{{Short: true, Value: []byte{1}}}}}}}}},
		{"a certificate of 64 KiB", &wire.Certificate{Data: make([]byte, 65536)}},
		{"a notification's SPI of 256 octets", &wire.Notify{SPI: make([]byte, 256)}},
		{"an IKE deletion with an SPI", &wire.Delete{Protocol: wire.ProtocolIKE, SPIs: []uint32{1}}},
		{"300 SPIs in one deletion", &wire.Delete{Protocol: wire.ProtocolESP, SPIs: make([]uint32, 300)}},
		{"a nonce of 257 octets", wire.Nonce(make([]byte, 257))},
		{"65 selectors", &wire.Selectors{List: make([]wire.Selector, 65)}},
		{"an IPv4 selector without addresses", &wire.Selectors{List: []wire.Selector{{Type: wire.SelectorIPv4}}}},
		{"an IPv6 selector with IPv4 addresses", &wire.Selectors{List: []wire.Selector{
			{Type: wire.SelectorIPv6, Start: netip.IPv4Unspecified(), End: netip.IPv4Unspecified()}}}},
	}
	for _, c := range cases {
		m := wire.Message{Payloads: []wire.Payload{c.p}}
		if b, err := m.Append(nil); err == nil {
			t.Errorf("%s: %d octets", c.name, len(b))
		}
	}
	two := wire.Message{Payloads: []wire.Payload{wire.VendorID(make([]byte, 40000)), wire.VendorID(make([]byte, 40000))}}
	if _, err := two.Append(nil); err == nil {
		t.Error("a message of 80,000 octets")
	}
}

func TestNotificationData(t *testing.T) {
	type outcome struct {
		name string
		err  error
		good bool
	}
	var all []outcome
	add := func(name string, err error, good bool) { all = append(all, outcome{name, err, good}) }
	cookie := func(t wire.NotifyType, n int) error {
		_, err := (&wire.Notify{Type: t, Data: make([]byte, n)}).CookieData()
		return err
	}
	add("COOKIE of 1 octet", cookie(wire.Cookie, 1), true)
	add("COOKIE of 64 octets", cookie(wire.Cookie, 64), true)
	add("COOKIE of 0 octets", cookie(wire.Cookie, 0), false)
	add("COOKIE of 65 octets", cookie(wire.Cookie, 65), false)
	add("COOKIE2 of 8 octets", cookie(wire.Cookie2, 8), true)
	add("COOKIE2 of 7 octets", cookie(wire.Cookie2, 7), false)
	window := func(data ...byte) error {
		_, err := (&wire.Notify{Type: wire.SetWindowSize, Data: data}).WindowSize()
		return err
	}
	add("window 8", window(0, 0, 0, 8), true)
	add("window 0", window(0, 0, 0, 0), false)
	add("window in 3 octets", window(0, 0, 8), false)
	_, _, err := (&wire.Notify{Type: wire.RekeySA, Protocol: wire.ProtocolESP, SPI: make([]byte, 8)}).ChildSPI()
	add("REKEY_SA with an SPI of 8 octets", err, false)
	_, err = (&wire.Notify{Type: wire.InvalidKEPayload, Data: []byte{1}}).KeyExchangeMethod()
	add("INVALID_KE_PAYLOAD with 1 octet", err, false)
	_, err = (&wire.Notify{Type: wire.SignatureHashAlgorithms, Data: make([]byte, 3)}).HashAlgorithms()
	add("SIGNATURE_HASH_ALGORITHMS of 3 octets", err, false)
	_, err = (&wire.Notify{Type: wire.AdditionalIP4Address, Data: make([]byte, 16)}).Address()
	add("ADDITIONAL_IP4_ADDRESS of 16 octets", err, false)
	_, err = (&wire.Notify{Type: wire.AdditionalIP4Address, Data: make([]byte, 4)}).Address()
	add("ADDITIONAL_IP4_ADDRESS of 4 octets", err, true)
	for _, o := range all {
		if (o.err == nil) != o.good {
			t.Errorf("%s: %v", o.name, o.err)
		}
	}
	if p, spi, err := wire.NewChildNotify(wire.RekeySA, 0xC1020304).ChildSPI(); p != wire.ProtocolESP || spi != 0xC1020304 || err != nil {
		t.Errorf("REKEY_SA: %s %08x %v", p, spi, err)
	}
	if m, err := wire.NewInvalidKE(wire.MLKEM768).KeyExchangeMethod(); m != wire.MLKEM768 || err != nil {
		t.Errorf("INVALID_KE_PAYLOAD: %d %v", m, err)
	}
	if hs, err := wire.NewHashAlgorithms(wire.HashSHA384, wire.HashIdentity).HashAlgorithms(); err != nil || len(hs) != 2 || hs[1] != wire.HashIdentity {
		t.Errorf("hash algorithms: %v %v", hs, err)
	}
}
