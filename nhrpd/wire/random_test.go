// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawPacket draws a packet that can be sent and is accepted.
func drawPacket(t *rapid.T) *Packet {
	p := &Packet{
		AddressFamily: rapid.SampledFrom([]uint16{FamilyIPv4, FamilyIPv6}).Draw(t, "afn"),
		ProtocolType:  rapid.SampledFrom([]uint16{ProtocolIPv4, ProtocolIPv6}).Draw(t, "protocol"),
		HopCount:      rapid.Byte().Draw(t, "hops"),
		Type:          rapid.SampledFrom(everyType).Draw(t, "type"),
		Flags:         rapid.Uint16().Draw(t, "flags"),
	}
	f, _ := p.families()
	copy(p.SNAP[:], octets(t, "snap", 5))
	p.SourceNBMA = drawAddress(t, f.nbma, true)
	p.SourceSubaddress = octets(t, "subaddress", maxSubaddress)
	p.SourceProtocol = drawAddress(t, f.protocol, false)
	p.DestinationProtocol = drawAddress(t, f.protocol, true)
	if p.Type.Indication() {
		p.ErrorCode = ErrorCode(rapid.Uint16().Draw(t, "code"))
		p.ErrorOffset = rapid.Uint16().Draw(t, "offset")
		p.Contents = octets(t, "contents", 100)
	} else {
		p.RequestID = rapid.Uint32().Draw(t, "id")
		p.CIEs = drawEntries(t, p, f)
	}
	if rapid.Bool().Draw(t, "extended") {
		p.Extensions = drawExtensions(t)
		p.EndMark = uint16(rapid.IntRange(0, 3).Draw(t, "end")) << 14
		p.Trailer = octets(t, "trailer", 20)
	}
	return p
}

func drawEntries(t *rapid.T, p *Packet, f families) []CIE {
	least, most := 0, 5
	switch p.Type {
	case ResolutionRequest:
		most = 1
	case ProbeRequest, ProbeReply:
		most = 0
	case RegistrationRequest, RegistrationReply:
		least = 1
	}
	var entries []CIE
	for range rapid.IntRange(least, most).Draw(t, "entries") {
		length := uint8(rapid.IntRange(0, 8*f.protocol).Draw(t, "length"))
		if rapid.Bool().Draw(t, "host") {
			length = HostPrefix
		}
		entries = append(entries, CIE{
			Code:         Code(rapid.Byte().Draw(t, "code")),
			PrefixLength: length,
			Unused:       rapid.Uint16().Draw(t, "unused"),
			MTU:          rapid.Uint16().Draw(t, "mtu"),
			HoldingTime:  rapid.Uint16().Draw(t, "hold"),
			NBMA:         drawAddress(t, f.nbma, true),
			Subaddress:   octets(t, "client subaddress", maxSubaddress),
			Protocol:     drawAddress(t, f.protocol, p.Type != PurgeRequest && p.Type != PurgeReply),
			Preference:   rapid.Byte().Draw(t, "preference"),
		})
	}
	return entries
}

func drawExtensions(t *rapid.T) []Extension {
	extensions := []Extension{}
	seen := map[ExtensionType]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "extensions") {
		kind := ExtensionType(rapid.IntRange(1, int(typeMask)).Draw(t, "kind"))
		if seen[kind] && kind != ExtensionVendorPrivate {
			continue
		}
		seen[kind] = true
		extensions = append(extensions, Extension{Type: kind, Compulsory: rapid.Bool().Draw(t, "compulsory"),
			Unused: rapid.Bool().Draw(t, "u"), Value: octets(t, "value", 50)})
	}
	return extensions
}

// octets draws 0 to most octets, nil for none.
func octets(t *rapid.T, name string, most int) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, name)
	if len(b) == 0 {
		return nil
	}
	return b
}

func drawAddress(t *rapid.T, n int, mayBeNone bool) netip.Addr {
	if mayBeNone && rapid.Bool().Draw(t, "none") {
		return netip.Addr{}
	}
	return address(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "address"))
}

func TestEveryPacketComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t)
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != p.Size() || Checksum(b) != 0 {
			t.Errorf("%d octets, size %d, checksum 0x%04x", len(b), p.Size(), Checksum(b))
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Errorf("decoded as\n%+v, was\n%+v", got, p)
		}
		clone := got.Clone()
		for i := range b {
			b[i] = 0xAA
		}
		if !reflect.DeepEqual(clone, p) {
			t.Errorf("the clone changed with the octets: %+v", clone)
		}
	})
}

func TestEveryBitThatIsBentIsNoticed(t *testing.T) { // HD-02
	rapid.Check(t, func(t *rapid.T) {
		b, err := drawPacket(t).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
		bent := bytes.Clone(b)
		bent[bit/8] ^= 1 << (bit % 8)
		if p, err := Decode(bent); err == nil {
			t.Errorf("bit %d of %x: decoded as %v", bit, b, p)
		}
	})
}
