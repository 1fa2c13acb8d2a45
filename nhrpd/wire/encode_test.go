// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// unhex reads octets from text with any white space and comments after "#".
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestARegistrationIsTheseOctets(t *testing.T) {
	want := unhex(t, `
		0001 0800 0000000000 ff         # IPv4 over IPv4, no SNAP, hop count 255
		0058 401b 0034 01 03 04 00      # 88 octets, checksum, extensions at 52, registration request
		04 04 8002 00000001             # unique, NAT; request id 1
		c633640b 0a00000b 0a000001      # 198.51.100.11, 10.0.0.11 to 10.0.0.1
		00 ff 0000 0578 1c20 00000000   # success, host, mtu 1400, 7200 s, addresses of the header
		8003 0000                       # responder address, asked for
		8004 0000 8005 0000             # forward and reverse transit NHS record
		0009 0000                       # Cisco's NAT address
		8007 000c 00000001 7465737431323334
		8000 0000`)
	if got := marshal(t, registration(t)); !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x, want\n%x", got, want)
	}
}

func TestAnErrorIndicationIsTheseOctets(t *testing.T) {
	p := bare(ErrorIndication)
	p.ErrorCode, p.ErrorOffset = ErrorHopCountExceeded, 9
	want := unhex(t, `
		0001 0800 0000000000 ff
		002c 6a51 0000 01 07 04 00      # no extensions: ER-04
		04 04 0000 000f 0009            # unused, hop count exceeded, octet 9
		c633640b 0a00000b 0a000001
		45000014                        # the beginning of what it is about`)
	if got := marshal(t, p); !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x, want\n%x", got, want)
	}
}

// HD-02, HD-06, HD-11: every type in the four pairs of families, with
// subaddresses and so with odd lengths.
func TestEveryTypeInEveryPairOfFamiliesComesBack(t *testing.T) {
	for _, afn := range []uint16{FamilyIPv4, FamilyIPv6} {
		for _, protocol := range []uint16{ProtocolIPv4, ProtocolIPv6} {
			for _, kind := range everyType {
				p := bare(kind)
				p.AddressFamily, p.ProtocolType = afn, protocol
				source, client, nbma := spoke, lan, spokeNBMA
				if protocol == ProtocolIPv6 {
					source, client = spoke6, netip.MustParseAddr("fd10:1::")
					p.DestinationProtocol = hub6
				}
				if afn == FamilyIPv6 {
					nbma = spoke6NBMA
				}
				p.SourceProtocol, p.SourceNBMA, p.SourceSubaddress = source, nbma, []byte("odd")
				for i := range p.CIEs {
					p.CIEs[i] = CIE{Code: CodeNotUnique, PrefixLength: 32, MTU: 1300, HoldingTime: 0xFFFF,
						NBMA: nbma, Subaddress: []byte("sub1"), Protocol: client, Preference: 200}
				}
				e, err := p.NewEntries(ExtensionForwardTransit, CIE{NBMA: nbma, Protocol: client})
				if err != nil {
					t.Fatal(err)
				}
				p.SetExtension(e)
				b := marshal(t, p)
				got, err := Decode(b)
				if err != nil {
					t.Fatalf("%v: %v", p, err)
				}
				if got.Dump() != p.Dump() {
					t.Errorf("decoded as\n%+v, was\n%+v", got, p)
				}
				if again := marshal(t, got); !bytes.Equal(again, b) {
					t.Errorf("%v: encoded\n%x, was\n%x", p, again, b)
				}
			}
		}
	}
}

func TestAddressesOfNoLengthComeBackInvalid(t *testing.T) {
	p := bare(RegistrationRequest)
	p.SourceNBMA, p.DestinationProtocol, p.CIEs = netip.Addr{}, netip.Addr{}, []CIE{{}}
	got, err := Decode(marshal(t, p))
	if err != nil {
		t.Fatal(err)
	}
	if got.SourceNBMA.IsValid() || got.DestinationProtocol.IsValid() || got.CIEs[0].NBMA.IsValid() || got.CIEs[0].Protocol.IsValid() {
		t.Errorf("decoded as %v", got)
	}
}

func TestExtensionsPartWithNothingInIt(t *testing.T) {
	p := bare(TrafficIndication)
	none := marshal(t, p)
	p.Extensions = []Extension{}
	empty := marshal(t, p)
	if len(empty) != len(none)+4 || !bytes.Equal(empty[len(none):], []byte{0x80, 0, 0, 0}) {
		t.Errorf("without %x, empty %x", none, empty)
	}
	for _, b := range [][]byte{none, empty} {
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if again := marshal(t, got); !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x", b, again)
		}
	}
}

func TestWhatCannotBeSentIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(p *Packet){
		"unknown family":                   func(p *Packet) { p.AddressFamily = 3 },
		"unknown protocol":                 func(p *Packet) { p.ProtocolType = 0 },
		"NBMA address of the other family": func(p *Packet) { p.SourceNBMA = spoke6NBMA },
		"protocol address of the other":    func(p *Packet) { p.SourceProtocol = spoke6 },
		"destination of the other":         func(p *Packet) { p.DestinationProtocol = spoke6 },
		"IPv4 where IPv6 is due":           func(p *Packet) { p.AddressFamily = FamilyIPv6 },
		"subaddress of 64 octets":          func(p *Packet) { p.SourceSubaddress = make([]byte, 64) },
		"client NBMA of the other":         func(p *Packet) { p.CIEs[0].NBMA = spoke6 },
		"client protocol of the other":     func(p *Packet) { p.CIEs[0].Protocol = spoke6 },
		"client subaddress of 64 octets":   func(p *Packet) { p.CIEs[0].Subaddress = make([]byte, 64) },
		"extension of the end's type":      func(p *Packet) { p.Extensions[0].Type = ExtensionEnd },
		"extension of 15 bits":             func(p *Packet) { p.Extensions[0].Type = 0x4000 },
		"extension of 65536 octets":        func(p *Packet) { p.Extensions[0].Value = make([]byte, 1<<16) },
		"65536 octets in all":              func(p *Packet) { p.Trailer = make([]byte, 1<<16-p.Size()) },
	} {
		p := registration(t)
		spoil(p)
		before := []byte("before")
		if b, err := p.Append(before); err == nil || string(b) != "before" {
			t.Errorf("%s: %d octets, error %v", name, len(b), err)
		}
	}
	p := registration(t)
	p.Trailer = make([]byte, 1<<16-1-p.Size())
	if b := marshal(t, p); len(b) != 0xFFFF {
		t.Errorf("the largest packet has %d octets", len(b))
	}
}

func TestAppendKeepsWhatIsBefore(t *testing.T) {
	p := registration(t)
	b, err := p.Append([]byte("before"))
	if err != nil || !bytes.Equal(b, append([]byte("before"), marshal(t, p)...)) {
		t.Errorf("%x, %v", b, err)
	}
}

// An address in the ::ffff: form is IPv4 where the family says so.
func TestMappedAddressesAreSentAsIPv4(t *testing.T) {
	p := registration(t)
	plain := marshal(t, p)
	p.SourceNBMA = netip.AddrFrom16(p.SourceNBMA.As16())
	if got := marshal(t, p); !bytes.Equal(got, plain) {
		t.Errorf("encoded\n%x, want\n%x", got, plain)
	}
}

func TestChecksum(t *testing.T) {
	for _, c := range []struct {
		octets []byte
		want   uint16
	}{
		{nil, 0xFFFF},
		{[]byte{0x01}, 0xFEFF}, // as if a zero octet followed
		{[]byte{0x01, 0x00}, 0xFEFF},
		{[]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0x220d}, // RFC 1071, section 3
		{[]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7, 0xff}, 0x230c},
		{bytes.Repeat([]byte{0xFF}, 65535), 0x00FF},
	} {
		if got := Checksum(c.octets); got != c.want {
			t.Errorf("checksum of %d octets is 0x%04x, want 0x%04x", len(c.octets), got, c.want)
		}
	}
}

func TestPrefixOfAnEntry(t *testing.T) { // CM-04, CM-05
	for _, c := range []struct {
		length  uint8
		address string
		want    string
	}{
		{0, "10.10.2.77", "10.10.2.77/32"},
		{0xFF, "10.10.2.77", "10.10.2.77/32"},
		{32, "10.10.2.77", "10.10.2.77/32"},
		{24, "10.10.2.77", "10.10.2.0/24"},
		{33, "10.10.2.77", "invalid Prefix"},
		{0, "fd00::7", "fd00::7/128"},
		{64, "fd00::7", "fd00::/64"},
	} {
		entry := CIE{PrefixLength: c.length}
		if got := entry.Prefix(netip.MustParseAddr(c.address)).String(); got != c.want {
			t.Errorf("%s with length %d is %s, want %s", c.address, c.length, got, c.want)
		}
	}
	if got := new(CIE).Prefix(netip.Addr{}); got.IsValid() {
		t.Errorf("no address is %v", got)
	}
}

func TestFamiliesOfAddresses(t *testing.T) { // HD-11
	for text, want := range map[string][2]uint16{
		"192.0.2.1": {FamilyIPv4, ProtocolIPv4}, "::ffff:192.0.2.1": {FamilyIPv4, ProtocolIPv4},
		"2001:db8::1": {FamilyIPv6, ProtocolIPv6},
	} {
		a := netip.MustParseAddr(text)
		if FamilyOf(a) != want[0] || ProtocolOf(a) != want[1] {
			t.Errorf("%v: family %d, protocol 0x%04x", a, FamilyOf(a), ProtocolOf(a))
		}
	}
	if FamilyOf(netip.Addr{}) != 0 || ProtocolOf(netip.Addr{}) != 0 {
		t.Error("no address has a family")
	}
}
