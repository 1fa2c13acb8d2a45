// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"dmvpn/ikev2/wire"
)

// unhex reads octets that are written in groups.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// message puts a header with the right length before payloads.
func message(t testing.TB, first wire.PayloadType, payloads string) []byte {
	b := unhex(t, payloads)
	head := fmt.Sprintf("0102030405060708 1112131415161718 %02x 20 25 08 00000007 %08x", uint8(first), 28+len(b))
	return append(unhex(t, head), b...)
}

// refused are the faults that make a message bad, payload by payload: the table
// of what RFC 7296 and RFC 7383 forbid. The outcome is ErrSyntax.
var refused = []struct {
	name  string
	first wire.PayloadType
	in    string
}{
	{"3.2: a payload shorter than its own header", 41, "00 00 0003"},
	{"3.2: a payload of length zero", 41, "00 00 0000"},
	{"3.2: a payload past the message's end", 41, "00 00 0009 00 00 4000"},
	{"3.2: no octet where a payload was named", 41, ""},
	{"3.2: octets behind the last payload", 41, "00 00 0008 00 00 4000 00"},
	{"3.3: an SA without a proposal", 33, "00 00 0004"},
	{"3.3: a proposal past the payload's end", 33, "00 00 000c 00 00 0010 01 01 00 00"},
	{"3.3: a proposal shorter than its header", 33, "00 00 000c 00 00 0007 01 01 00 00"},
	{"3.3: a last proposal that says there are more", 33, "00 00 000c 02 00 0008 01 01 00 00"},
	{"3.3: a proposal mark that is neither 0 nor 2", 33, "00 00 000c 01 00 0008 01 01 00 00"},
	{"3.3: octets behind the last proposal", 33, "00 00 0010 00 00 0008 01 01 00 00 00000000"},
	{"3.3.1: an SPI past its proposal's end", 33, "00 00 000c 00 00 0008 01 01 08 00"},
	{"3.3.1: fewer transforms than counted", 33, "00 00 0014 00 00 0010 01 01 00 02  03 00 0008 01 00 0014"},
	{"3.3.1: more transforms than counted", 33, "00 00 001c 00 00 0018 01 01 00 01  03 00 0008 01 00 0014 00 00 0008 02 00 0005"},
	{"3.3.2: a transform mark that is neither 0 nor 3", 33, "00 00 0014 00 00 0010 01 01 00 01  01 00 0008 01 00 0014"},
	{"3.3.2: a transform shorter than its header", 33, "00 00 0014 00 00 0010 01 01 00 01  00 00 0007 01 00 0014"},
	{"3.3.2: a transform past its proposal's end", 33, "00 00 0014 00 00 0010 01 01 00 01  00 00 000c 01 00 0014"},
	{"3.3.5: an attribute past its transform's end", 33, "00 00 0016 00 00 0012 01 01 00 01  00 00 000a 01 00 0014 800e"},
	{"3.3.5: a long attribute past its transform's end", 33, "00 00 0018 00 00 0014 01 01 00 01  00 00 000c 01 00 0014 000e 0005"},
	{"3.4: a KE payload without its method", 34, "00 00 0006 001f"},
	{"3.5: an identity without its type's word", 35, "00 00 0006 01 00"},
	{"3.5: an IPv4 identity of five octets", 35, "00 00 000d 01 000000 c0000201 00"},
	{"3.5: an IPv6 identity of four octets", 36, "00 00 000c 05 000000 c0000201"},
	{"3.6: an empty certificate", 37, "00 00 0005 04"},
	{"3.7: a certificate request without an encoding", 38, "00 00 0004"},
	{"3.7: an authority that is no SHA-1 hash", 38, "00 00 0008 04 000102"},
	{"3.8: an AUTH payload without its method's word", 39, "00 00 0007 02 00 00"},
	{"3.9: a nonce of 15 octets", 40, "00 00 0013 000102030405060708090a0b0c0d0e"},
	{"3.9: a nonce of 257 octets", 40, "00 00 0105" + strings.Repeat("aa", 257)},
	{"3.10: a notification of three octets", 41, "00 00 0007 00 00 40"},
	{"3.10: an SPI past its notification's end", 41, "00 00 000a 03 04 4009 0000"},
	{"3.11: an IKE deletion with an SPI", 42, "00 00 0010 01 08 0001 0102030405060708"},
	{"3.11: an IKE deletion that counts one", 42, "00 00 0008 01 00 0001"},
	{"3.11: an ESP SPI of eight octets", 42, "00 00 0010 03 08 0001 0102030405060708"},
	{"3.11: fewer SPIs than counted", 42, "00 00 000c 03 04 0002 01020304"},
	{"3.11: more SPIs than counted", 42, "00 00 0010 03 04 0001 01020304 05060708"},
	{"3.11: a deletion of a protocol that there is not", 42, "00 00 000c 07 04 0001 01020304"},
	{"3.13: no selector", 44, "00 00 0008 00 000000"},
	{"3.13: fewer selectors than counted", 44, "00 00 0018 02 000000 07 2f 0010 0000 ffff c0000201 c0000201"},
	{"3.13: more selectors than counted", 45, "00 00 001c 01 000000 07 2f 0010 0000 ffff c0000201 c0000201 07 2f 0010"},
	{"3.13.1: an IPv4 selector with IPv6's length", 45, "00 00 0030 01 000000 07 2f 0028 0000 ffff" + strings.Repeat("00", 32)},
	{"3.13.1: a selector shorter than its header", 44, "00 00 000c 01 000000 07 2f 0003"},
	{"3.13.1: addresses that end before they start", 44, "00 00 0018 01 000000 07 2f 0010 0000 ffff c0000202 c0000201"},
	{"3.13.1: ports that end before they start", 44, "00 00 0018 01 000000 07 2f 0010 0002 0001 c0000201 c0000201"},
	{"3.14: an SK payload that is not the last", 46, "00 00 0008 01020304 00 00 0004"},
	{"3.15: a configuration attribute past the end", 47, "00 00 000c 01 000000 0001 0004"},
	{"3.16: an EAP packet that lies about its length", 48, "00 00 0008 01 01 0005"},
	{"7383 2.5: fragment 0", 53, "23 00 0008 0000 0002"},
	{"7383 2.5: fragment 3 of 2", 53, "00 00 0008 0003 0002"},
	{"7383 2.5: a total of zero", 53, "23 00 0008 0001 0000"},
	{"7383 2.5: more fragments than we keep", 53, "23 00 0008 0001 0021"},
	{"7383 2.5: a second fragment that names a payload", 53, "23 00 0008 0002 0002"},
	{"7383 2.5: a fragment without its total", 53, "23 00 0006 0001"},
	{"us: more payloads than anybody needs", 43, strings.Repeat("2b 00 0004", 65)},
}

func TestMessagesThatBreakTheFormatAreRefused(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			m, err := wire.Parse(message(t, c.first, c.in))
			if m != nil || !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("got %v, %v", m, err)
			}
		})
	}
}

// accepted are the liberties that RFC 7296 asks of a receiver, as the log shows them.
var accepted = []struct {
	name  string
	first wire.PayloadType
	in    string
	want  string
}{
	{"a message without payloads", 0, "", "[]"},
	{"2.5: an unknown payload that is not critical", 99, "29 00 0005 aa 00 00 0008 00 00 4000", "[payload(99)(1 octets) N(INITIAL_CONTACT)]"},
	{"2.5: the critical bit of a known payload", 41, "00 80 0008 00 00 4000", "[N(INITIAL_CONTACT)]"},
	{"2.5: reserved bits of the generic header", 41, "00 7f 0008 00 00 4000", "[N(INITIAL_CONTACT)]"},
	{"3.3: a proposal without transforms, which none can choose", 33, "00 00 000c 00 00 0008 01 01 00 00", "[SA(#1 IKE:)]"},
	{"3.3.5: an attribute of no meaning", 33, "00 00 001c 00 00 0018 01 03 04 01 c1020304 00 00 000c 01 00 0014 8012 0001", "[SA(#1 ESP:AES_GCM_16(unknown attribute) c1020304)]"},
	{"3.3.5: a key length in the long form means nothing", 33, "00 00 001a 00 00 0016 01 01 00 01  00 00 000e 01 00 0014 000e 0002 0080", "[SA(#1 IKE:AES_GCM_16(unknown attribute))]"},
	{"3.3.2: a transform of an unknown type", 33, "00 00 0014 00 00 0010 01 01 00 01  00 00 0008 f1 00 0001", "[SA(#1 IKE:transform(241, 1))]"},
	{"3.5: text of a peer cannot forge a log line", 35, "00 00 0011 02 000000 61 0a 62 5d 20 63 28 64 29", `[IDi("a\nb] c(d)")]`},
	{"3.10.1: an unknown error and an unknown status", 41, "29 00 0008 00 00 0063 00 00 0008 00 00 9fff", "[N(error(99)) N(status(40959))]"},
	{"3.10: REKEY_SA", 41, "00 00 000c 03 04 4009 c1020304", "[N(REKEY_SA ESP c1020304)]"},
	{"3.10: INVALID_KE_PAYLOAD", 41, "00 00 000a 00 00 0011 001f", "[N(INVALID_KE_PAYLOAD CURVE_25519)]"},
	{"3.11: the IKE SA's deletion", 42, "00 00 0008 01 00 0000", "[D(IKE)]"},
	{"3.11: two SPIs", 42, "00 00 0010 03 04 0002 01020304 01020304", "[D(ESP 01020304 01020304)]"},
	{"3.13.1: GRE between two hosts", 44, "00 00 0018 01 000000 07 2f 0010 0000 ffff c0000201 c0000201", "[TSi(192.0.2.1[gre])]"},
	{"3.13.1: a range, opaque ports and an unknown type", 45, "00 00 0020 02 000000 07 00 0010 ffff 0000 c0000200 c00002ff  09 00 0008 aabbccdd", "[TSr(192.0.2.0-192.0.2.255[any/opaque], selector(9, 4 octets))]"},
	{"3.13.1: one port of IPv6", 45, "00 00 0030 01 000000 08 11 0028 0035 0035 20010db8000000000000000000000001 20010db8000000000000000000000001", "[TSr(2001:db8::1[17/53-53])]"},
	{"3.15: a request for an address", 47, "00 00 000c 01 000000 0001 0000", "[CP(request, 1 attributes)]"},
	{"3.16: EAP, to be refused", 48, "00 00 0008 01 01 0004", "[EAP(4 octets)]"},
	{"7383: a fragment", 53, "23 00 000c 0001 0002 01020304", "[SKF(1 of 2, 4 octets)]"},
}

func TestWhatTheRFCAllowsIsRead(t *testing.T) {
	for _, c := range accepted {
		t.Run(c.name, func(t *testing.T) {
			m, err := wire.Parse(message(t, c.first, c.in))
			if err != nil {
				t.Fatal(err)
			}
			want := "INFORMATIONAL request 7 0102030405060708_i 1112131415161718_r " + c.want
			if m.String() != want {
				t.Errorf("got  %s\nwant %s", m, want)
			}
		})
	}
}

func TestUnknownCriticalPayloadIsNamed(t *testing.T) {
	_, err := wire.Parse(message(t, 99, "29 80 0004 00 00 0008 00 00 4000"))
	var critical *wire.CriticalError
	if !errors.As(err, &critical) || critical.Payload != 99 {
		t.Errorf("got %v", err)
	}
}

func TestHeaderFaults(t *testing.T) {
	good := message(t, 0, "")
	bend := func(at int, b byte) []byte {
		bent := append([]byte(nil), good...)
		bent[at] = b
		return bent
	}
	cases := []struct {
		name string
		in   []byte
		want error
	}{
		{"a length below the datagram's", bend(27, 27), wire.ErrSyntax},
		{"a length above the datagram's", bend(27, 29), wire.ErrSyntax},
		{"a length of four gigabytes", bend(24, 0xFF), wire.ErrSyntax},
		{"27 octets", good[:27], wire.ErrSyntax},
		{"no octet", nil, wire.ErrSyntax},
		{"major version 1", bend(17, 0x10), wire.ErrSyntax},
		{"major version 3", bend(17, 0x30), wire.ErrMajorVersion},
		{"minor version 1 is read", bend(17, 0x21), nil},
		{"reserved flags and the version flag are ignored", bend(19, 0xD7|0x08), nil},
	}
	for _, c := range cases {
		h, _, err := wire.ParseHeader(c.in)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(c.in) == 28 && (h.MessageID != 7 || h.SPIi[0] != 1 || h.SPIr[7] != 0x18 || !h.Initiator || h.Response) {
			t.Errorf("%s: header %+v", c.name, h)
		}
	}
}

func TestNothingHidesInsideOfSK(t *testing.T) {
	for _, first := range []wire.PayloadType{wire.PayloadEncrypted, wire.PayloadFragment} {
		if _, err := wire.ParseInner(first, unhex(t, "00 00 0008 0001 0001")); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s inside of SK: %v", first, err)
		}
	}
}
