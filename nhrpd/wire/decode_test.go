// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// refused is one packet that Decode does not take.
type refused struct {
	name   string // with the ids of nhrp-cases
	packet []byte
	fault  error
	code   ErrorCode
	offset int
}

func (r refused) check(t *testing.T) {
	t.Helper()
	p, err := Decode(r.packet)
	var fault *DecodeError
	switch {
	case !errors.As(err, &fault):
		t.Fatalf("decoded as %v, error %v", p, err)
	case !errors.Is(err, r.fault):
		t.Errorf("%v, want %v", err, r.fault)
	case fault.Code != r.code || fault.Offset != r.offset:
		t.Errorf("%v: error %d at octet %d, want %d at %d", err, fault.Code, fault.Offset, r.code, r.offset)
	}
	if p != nil {
		t.Errorf("a packet comes with the error: %v", p)
	}
	if want := fmt.Sprintf("nhrp: octet %d: %v: ", r.offset, r.fault); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("says %q, want %q", err, want)
	}
}

// change marshals p, changes it and puts the checksum right again.
func change(t *testing.T, p *Packet, f func(b []byte)) []byte {
	t.Helper()
	b := marshal(t, p)
	f(b)
	return sum(b)
}

// set changes one octet.
func set(t *testing.T, p *Packet, offset int, octet byte) []byte {
	t.Helper()
	return change(t, p, func(b []byte) { b[offset] = octet })
}

func TestFaultsOfTheFixedHeaderAreRefusedAtTheirOctet(t *testing.T) {
	full, plain := registration(t), bare(PurgeRequest)
	wide := bare(PurgeRequest)
	wide.AddressFamily, wide.SourceNBMA = FamilyIPv6, spoke6NBMA
	narrow := change(t, wide, func(b []byte) { b[1] = byte(FamilyIPv4) })
	size := func(n int) []byte {
		return change(t, plain, func(b []byte) { binary.BigEndian.PutUint16(b[offSize:], uint16(n)) })
	}
	extensions := func(n int) []byte {
		return change(t, full, func(b []byte) { binary.BigEndian.PutUint16(b[offExtensions:], uint16(n)) })
	}
	bent := marshal(t, full)
	bent[40] ^= 1
	table := []refused{
		{"HD-01 version 0, MARS", set(t, full, offVersion, 0), ErrVersion, 7, 16},
		{"HD-01 version 2", set(t, full, offVersion, 2), ErrVersion, 7, 16},
		{"HD-01 version 255", set(t, full, offVersion, 255), ErrVersion, 7, 16},
		{"HD-02 one bit bent", bent, ErrChecksum, 7, 12},
		{"HD-02 a checksum of zero is no exception", func() []byte {
			b := marshal(t, full)
			b[offChecksum], b[offChecksum+1] = 0, 0
			return b
		}(), ErrChecksum, 7, 12},
		{"HD-03 nothing", nil, ErrTruncated, 7, 10},
		{"HD-03 19 octets", marshal(t, plain)[:19], ErrTruncated, 7, 10},
		{"HD-03 size larger than received", size(plain.Size() + 1), ErrSize, 7, 10},
		{"HD-03 size below a fixed header", size(19), ErrSize, 7, 10},
		{"HD-03 size 0", size(0), ErrSize, 7, 10},
		{"HD-03 nothing but a fixed header", size(20), ErrTruncated, 7, 20},
		{"HD-04 extension offset 1", extensions(1), ErrOffset, 7, 14},
		{"HD-04 extension offset 19", extensions(19), ErrOffset, 7, 14},
		{"HD-04 no mandatory part", extensions(20), ErrOffset, 7, 14},
		{"HD-04 extension offset inside an address", extensions(30), ErrOffset, 7, 14},
		{"HD-04 extension offset inside an entry", extensions(45), ErrOffset, 7, 14},
		{"HD-04 extension offset at the end", extensions(full.Size()), ErrOffset, 7, 14},
		{"HD-04 extension offset beyond the end", extensions(0xFFFF), ErrOffset, 7, 14},
		{"HD-05 long form of the protocol type", change(t, full, func(b []byte) {
			copy(b[offProtocol:], []byte{0x00, 0x80, 0x00, 0x00, 0x00, 0x08, 0x00})
		}), ErrProtocol, 7, 2},
		{"HD-06 address family 0", set(t, full, 1, 0), ErrFamily, 7, 0},
		{"HD-06 address family 3", set(t, full, 1, 3), ErrFamily, 7, 0},
		{"HD-06 address family 0x4000", set(t, full, 0, 0x40), ErrFamily, 7, 0},
		{"HD-06 IPv4 with 16 octets", narrow, ErrLength, 7, 18},
		{"HD-06 the top bit of the length", set(t, full, offNBMA, 0x84), ErrLength, 7, 18},
		{"HD-06 the E.164 bit", set(t, full, offNBMA, 0x44), ErrLength, 7, 18},
		{"HD-06 length 63", set(t, full, offNBMA, 63), ErrLength, 7, 18},
		{"HD-06 the top bit of the subaddress", set(t, full, offSub, 0x80), ErrLength, 7, 19},
		{"HD-06 a subaddress past the end", set(t, plain, offSub, 63), ErrTruncated, 7, 28},
		{"HD-08 type 0", set(t, full, offType, 0), ErrType, 7, 17},
		{"HD-08 type 9", set(t, full, offType, 9), ErrType, 7, 17},
		{"HD-08 type 127", set(t, full, offType, 127), ErrType, 7, 17},
		{"HD-08 type 128", set(t, full, offType, 128), ErrType, 7, 17},
		{"HD-08 type 239", set(t, full, offType, 239), ErrType, 7, 17},
		{"HD-08 type 242", set(t, full, offType, 242), ErrType, 7, 17},
		{"HD-08 type 255", set(t, full, offType, 255), ErrType, 7, 17},
		{"HD-10 source length 0", set(t, full, offSourceLength, 0), ErrLength, 7, 20},
		{"HD-10 source length 3", set(t, full, offSourceLength, 3), ErrLength, 7, 20},
		{"HD-10 source length 5", set(t, full, offSourceLength, 5), ErrLength, 7, 20},
		{"HD-10 source length 16", set(t, full, offSourceLength, 16), ErrLength, 7, 20},
		{"HD-10 destination length 255", set(t, full, offDestinationLength, 255), ErrLength, 7, 21},
		{"ER-03 two faults are one error", set(t, full, offVersion, 7)[:full.Size()], ErrVersion, 7, 16},
	}
	for _, c := range table {
		t.Run(c.name, c.check)
	}
}

func TestFaultsOfEntriesAreRefusedWhole(t *testing.T) {
	const first = offAddresses + 12
	two := bare(PurgeRequest)
	two.CIEs = append(two.CIEs, CIE{Protocol: lan})
	cut := marshal(t, two)
	cut = seal(cut[:len(cut)-3])
	head := marshal(t, two)
	head = seal(head[:first+16+11])
	many := func(n int) []byte {
		p := bare(ResolutionReply)
		p.CIEs = make([]CIE, n)
		return marshal(t, p)
	}
	entries := func(kind Type, cies ...CIE) []byte {
		p := bare(kind)
		p.CIEs = cies
		return marshal(t, p)
	}
	six := bare(PurgeRequest)
	six.ProtocolType, six.SourceProtocol, six.DestinationProtocol = ProtocolIPv6, spoke6, hub6
	six.CIEs = []CIE{{Protocol: spoke6, PrefixLength: 129}}
	table := []refused{
		{"CM-05 prefix length 33", entries(ResolutionReply, CIE{PrefixLength: 33}), ErrPrefixLength, 7, first + 1},
		{"CM-05 prefix length 254 in the second", entries(ResolutionReply, CIE{}, CIE{PrefixLength: 254}), ErrPrefixLength, 7, first + 13},
		{"CM-05 prefix length 129 of IPv6", marshal(t, six), ErrPrefixLength, 7, offAddresses + 4 + 32 + 1},
		{"CM-09 the last entry is cut in two", cut, ErrTruncated, 7, first + 16},
		{"CM-09 not even its head is there", head, ErrTruncated, 7, first + 16},
		{"CM-09 too many", many(MaxCIEs + 1), ErrTooMany, 7, first + 12*MaxCIEs},
		{"CM-09 NBMA address of 5 octets", set(t, two, first+cieNBMA, 5), ErrLength, 7, first + cieNBMA},
		{"CM-09 NBMA address with the top bit", set(t, two, first+cieNBMA, 0x84), ErrLength, 7, first + cieNBMA},
		{"CM-09 subaddress with the top bit", set(t, two, first+cieSub, 0x81), ErrLength, 7, first + cieSub},
		{"CM-09 protocol address of 16 octets", set(t, two, first+cieProtocol, 16), ErrLength, 7, first + cieProtocol},
		{"RQ-09 two entries in a Resolution Request", entries(ResolutionRequest, CIE{}, CIE{}), ErrEntries, 7, first + 12},
		{"RG-09 no entry in a Registration Request", entries(RegistrationRequest), ErrEntries, 7, first},
		{"RG-09 no entry in a Registration Reply", entries(RegistrationReply), ErrEntries, 7, first},
		{"an entry in a Probe Request", entries(ProbeRequest, CIE{}), ErrEntries, 7, first},
		{"an entry in a Probe Reply", entries(ProbeReply, CIE{}), ErrEntries, 7, first},
		{"PU-04 purge of no address", entries(PurgeRequest, CIE{Protocol: lan}, CIE{}), ErrLength, 7, first + 16 + cieProtocol},
		{"PU-04 purged no address", entries(PurgeReply, CIE{}), ErrLength, 7, first + cieProtocol},
	}
	for _, c := range table {
		t.Run(c.name, c.check)
	}
}

func TestFaultsOfExtensionsAreRefusedAtTheirOctet(t *testing.T) {
	const at = offAddresses + 12 + 16
	extensions := func(octets ...byte) []byte {
		b := marshal(t, bare(PurgeRequest))
		binary.BigEndian.PutUint16(b[offExtensions:], uint16(len(b)))
		return seal(append(b, octets...))
	}
	twice := func(kind ExtensionType) []byte {
		return extensions(0x80, byte(kind), 0, 0, 0x80, 4, 0, 0, 0x00, byte(kind), 0, 0, 0x80, 0, 0, 0)
	}
	table := []refused{
		{"EX-01 no end mark", extensions(0x80, 3, 0, 0), ErrExtension, 7, at + 4},
		{"EX-01 length past the end", extensions(0x80, 3, 0, 5, 0x80, 0, 0, 0), ErrExtension, 7, at},
		{"EX-01 1 octet left", extensions(0x80, 3, 0, 0, 0x80), ErrExtension, 7, at + 4},
		{"EX-01 3 octets left", extensions(0x80, 3, 0, 0, 0x80, 0, 0), ErrExtension, 7, at + 4},
		{"EX-01 end mark with a length", extensions(0x80, 0, 0, 1, 0), ErrExtension, 7, at},
		{"EX-02 two Responder Addresses", twice(ExtensionResponderAddress), ErrDuplicate, 9, at + 8},
		{"EX-02 two Authentications", twice(ExtensionAuthentication), ErrDuplicate, 9, at + 8},
		{"EX-02 two NAT Addresses", twice(ExtensionNATAddress), ErrDuplicate, 9, at + 8},
		{"EX-12 5000 extensions of length 0", extensions(bytes.Repeat([]byte{0x80, 8, 0, 0}, 5000)...), ErrTooMany, 7, at + 4*MaxExtensions},
	}
	for _, c := range table {
		t.Run(c.name, c.check)
	}
}

func TestAPacketCutAnywhereIsRefused(t *testing.T) {
	whole := marshal(t, registration(t))
	for n := range whole {
		if p, err := Decode(whole[:n]); err == nil {
			t.Errorf("%d octets are read as %v", n, p)
		}
		if n < fixedSize {
			continue
		}
		// The sender may also cut it and put size and checksum right.
		if p, err := Decode(seal(bytes.Clone(whole[:n]))); err == nil {
			t.Errorf("%d octets with their size are read as %v", n, p)
		}
	}
}

func TestWhatIsToBeIgnoredIsIgnored(t *testing.T) {
	t.Run("HD-03 link padding", func(t *testing.T) {
		b := marshal(t, registration(t))
		p, err := Decode(append(bytes.Clone(b), 1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		if got := marshal(t, p); !bytes.Equal(got, b) {
			t.Errorf("it is sent on: %x", got)
		}
	})
	t.Run("HD-05 HD-07 SNAP, unused flags and fields", func(t *testing.T) {
		p := registration(t)
		p.SNAP, p.Flags, p.CIEs[0].Unused = [5]byte{1, 2, 3, 4, 5}, 0xFFFF, 0xFFFF
		b := marshal(t, p)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.SNAP != p.SNAP || got.Flags != 0xFFFF || got.CIEs[0].Unused != 0xFFFF || got.CIEs[0].HoldingTime != 7200 {
			t.Errorf("read as %v", got)
		}
		if again := marshal(t, got); !bytes.Equal(again, b) {
			t.Errorf("sent on as %x", again)
		}
	})
	t.Run("EX-08 the u bit and C are no part of the type", func(t *testing.T) {
		for _, word := range []uint16{0x4003, 0x0003, 0x8003, 0xC003} {
			b := marshal(t, registration(t))
			at := binary.BigEndian.Uint16(b[offExtensions:])
			binary.BigEndian.PutUint16(b[at:], word)
			p, err := Decode(sum(b))
			if err != nil {
				t.Fatal(err)
			}
			if p.Extensions[0].Type != ExtensionResponderAddress || p.Extensions[0].Compulsory != (word&0x8000 != 0) {
				t.Errorf("0x%04x is %v", word, p.Extensions[0])
			}
			if again := marshal(t, p); !bytes.Equal(again, b) {
				t.Errorf("0x%04x is sent on as %x", word, again)
			}
		}
	})
	t.Run("EX-01 octets behind the end mark, and its bits", func(t *testing.T) {
		for _, word := range []uint16{0x0000, 0x4000, 0x8000, 0xC000} {
			b := marshal(t, registration(t))
			binary.BigEndian.PutUint16(b[len(b)-4:], word)
			b = seal(append(b, 0x80, 3, 0xFF))
			p, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Extensions) != 5 || !bytes.Equal(p.Trailer, []byte{0x80, 3, 0xFF}) {
				t.Errorf("read as %v", p)
			}
			if again := marshal(t, p); !bytes.Equal(again, b) {
				t.Errorf("sent on as %x", again)
			}
		}
	})
	t.Run("EX-05 an unknown extension that is not compulsory", func(t *testing.T) {
		p := registration(t)
		p.SetExtension(Extension{Type: 0x3801, Value: []byte("seventeen octets!")})
		got, err := Decode(marshal(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if got.UnknownCompulsory() != -1 || string(got.Extension(0x3801).Value) != "seventeen octets!" {
			t.Errorf("read as %v", got)
		}
	})
}

func TestAnUnknownCompulsoryExtensionIsFound(t *testing.T) { // EX-06
	p := registration(t)
	p.SetExtension(Extension{Type: 0x3801, Compulsory: true})
	got, err := Decode(marshal(t, p))
	if err != nil {
		t.Fatal(err)
	}
	i := got.UnknownCompulsory()
	if i != 5 {
		t.Fatalf("found at %d", i)
	}
	b := marshal(t, got)
	if at := got.ExtensionOffset(i); binary.BigEndian.Uint16(b[at:]) != 0xB801 {
		t.Errorf("offset %d, where %x is", at, b[at:])
	}
}

// An Error Indication needs an addressee, and errors are never answered.
func TestAFaultyPacketStillNamesItsSender(t *testing.T) {
	for name, b := range map[string][]byte{
		"version":   set(t, registration(t), offVersion, 2),
		"checksum":  func() []byte { b := marshal(t, registration(t)); b[12] ^= 1; return b }(),
		"extension": change(t, registration(t), func(b []byte) { b[len(b)-2] = 1 }),
		"entry":     set(t, registration(t), 41, 77),
	} {
		var fault *DecodeError
		if _, err := Decode(b); !errors.As(err, &fault) {
			t.Fatalf("%s: %v", name, err)
		}
		p := fault.Packet
		if p == nil || p.Type != RegistrationRequest || p.SourceProtocol != spoke || p.SourceNBMA != spokeNBMA ||
			p.DestinationProtocol != hub || p.RequestID != 1 {
			t.Errorf("%s: %v", name, p)
		}
	}
	var fault *DecodeError
	if _, err := Decode(set(t, bare(ErrorIndication), offVersion, 2)); !errors.As(err, &fault) || fault.Packet.Type != ErrorIndication {
		t.Errorf("an error is not known as one: %v", fault.Packet)
	}
	if _, err := Decode(make([]byte, 19)); !errors.As(err, &fault) || fault.Packet != nil {
		t.Errorf("a packet of 19 octets: %v", fault.Packet)
	}
	if _, err := Decode(make([]byte, 20)); !errors.As(err, &fault) || fault.Packet == nil || fault.Packet.SourceNBMA.IsValid() {
		t.Errorf("a packet of 20 octets: %v", fault.Packet)
	}
}
