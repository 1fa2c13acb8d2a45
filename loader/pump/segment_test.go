// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// tcp4 is a TCP segment in IPv4 with a partial checksum of nonsense.
func tcp4(options, data []byte) inner {
	b := []byte{0x45, 2, 0, 0, 0x12, 0x34, 0x40, 0, 63, protocolTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	b = append(b, 0, 80, 0, 81, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, byte(tcpHeader+len(options))<<2, 0x99, 1, 0, 0xaa, 0xbb, 0, 0)
	b = append(append(b, options...), data...)
	p := inner{b, ipHeader}
	p.seal()
	return p
}

// tcp6 is the same in IPv6.
func tcp6(options, data []byte) inner {
	p := tcp4(options, data)
	return as6(p)
}

// as6 puts what an IPv4 packet carries into IPv6, between addresses that end as its own do.
func as6(p inner) inner {
	b := make([]byte, ip6Header, ip6Header+len(p.payload()))
	b[0], b[1], b[3] = 0x60|p.tos()>>4, p.tos()<<4, 9
	b[6], b[7] = p.protocol(), p.b[8]
	for i, at := range []int{8, 24} {
		b[at] = 0xfd
		copy(b[at+12:], p.b[12+4*i:16+4*i])
	}
	six := inner{append(b, p.payload()...), ip6Header}
	six.seal()
	return six
}

func good(p inner) bool {
	if p.six() {
		return fold(sum(p.pseudo(), p.payload())) == 0xffff && int(binary.BigEndian.Uint16(p.b[4:])) == len(p.b)-ip6Header
	}
	return fold(sum(0, p.b[:p.header])) == 0xffff && fold(sum(p.pseudo(), p.payload())) == 0xffff &&
		int(binary.BigEndian.Uint16(p.b[2:])) == len(p.b)
}

func TestTCPIsCutIntoSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := make([]byte, 4*rapid.IntRange(0, 10).Draw(t, "options"))
		data := rapid.SliceOfN(rapid.Byte(), 1, 4000).Draw(t, "data")
		size := rapid.IntRange(1, 1500).Draw(t, "size")
		packet, kind := tcp4(options, data), uint8(gsoTCPv4)
		if rapid.Bool().Draw(t, "IPv6") {
			packet, kind = tcp6(options, data), gsoTCPv6
		}
		var got []byte
		n := 0
		whole := packet.segment(vnet{gsoType: kind, gsoSize: uint16(size)}, nil, func(s inner) {
			tcp := s.payload()
			offset := binary.BigEndian.Uint32(tcp[4:]) - 0xffffff00
			last := len(got)+len(tcp)-tcpHeader-len(options) == len(data)
			switch {
			case !good(s):
				t.Fatalf("checksums or length of %x", s.b)
			case int(offset) != len(got):
				t.Fatalf("sequence number of offset %d at %d", offset, len(got))
			case s.six() != packet.six() || s.six() && !bytes.Equal(s.b[:4], packet.b[:4]):
				t.Fatalf("header of segment %d: %x", n, s.b[:ip6Header])
			case !s.six() && binary.BigEndian.Uint16(s.b[4:]) != uint16(0x1234+n):
				t.Fatalf("identification of segment %d: %x", n, s.b[4:6])
			case last != (tcp[13]&0x09 == 0x09) || (n == 0) != (tcp[13]&0x80 != 0):
				t.Fatalf("flags of segment %d: %x", n, tcp[13])
			}
			got = append(got, tcp[tcpHeader+len(options):]...)
			n++
		})
		if !whole || !bytes.Equal(got, data) || n != (len(data)+size-1)/size {
			t.Fatalf("%d segments, %d octets of %d", n, len(got), len(data))
		}
	})
}

func TestUDPIsCutIntoDatagrams(t *testing.T) {
	four, _ := parseInner(udp4("10.0.0.1", "10.0.0.2", 99, []byte("aaabbbc")))
	for _, packet := range []inner{four, as6(four)} {
		var got []string
		if !packet.segment(vnet{gsoType: gsoUDPL4, gsoSize: 3}, nil, func(s inner) {
			if !good(s) || int(binary.BigEndian.Uint16(s.payload()[4:])) != len(s.payload()) {
				t.Errorf("lengths or checksums of %x", s.b)
			}
			got = append(got, string(s.payload()[udpHeader:]))
		}) || len(got) != 3 || got[0] != "aaa" || got[2] != "c" {
			t.Errorf("got %q", got)
		}
	}
}

func TestWhatIsNoGSOIsRefused(t *testing.T) {
	udp, _ := parseInner(udp4("10.0.0.1", "10.0.0.2", 99, []byte("abc")))
	cut := tcp4(nil, []byte("abc"))
	cut.payload()[12] = 0xf0 // a header longer than the packet
	for name, c := range map[string]struct {
		p inner
		v vnet
	}{
		"IPv6 said to be IPv4":        {tcp6(nil, []byte("abc")), vnet{gsoType: gsoTCPv4, gsoSize: 1}},
		"IPv4 said to be IPv6":        {tcp4(nil, []byte("abc")), vnet{gsoType: gsoTCPv6, gsoSize: 1}},
		"UDP said to be TCP":          {udp, vnet{gsoType: gsoTCPv4, gsoSize: 1}},
		"a size of 0":                 {udp, vnet{gsoType: gsoUDPL4}},
		"a kind that is not known":    {udp, vnet{gsoType: 9, gsoSize: 1}},
		"headers beyond the packet":   {cut, vnet{gsoType: gsoTCPv4, gsoSize: 1}},
		"headers without any payload": {tcp4(nil, nil), vnet{gsoType: gsoTCPv4, gsoSize: 1}},
	} {
		if c.p.segment(c.v, nil, func(inner) { t.Errorf("%s: something was sent", name) }) {
			t.Errorf("%s: was not refused", name)
		}
	}
}

func TestAPartialChecksumIsCompleted(t *testing.T) {
	for _, protocol := range []byte{protocolTCP, protocolUDP} {
		p := tcp4(nil, []byte("odd"))
		p.b[9] = protocol
		p.seal()
		at := map[byte]int{protocolTCP: 16, protocolUDP: 6}[protocol]
		binary.BigEndian.PutUint16(p.payload()[at:], fold(p.pseudo()))
		if !p.complete(vnet{flags: vnetNeedsSum, sumStart: 8 + ipHeader, sumOffset: uint16(at)}, 8) || !good(p) {
			t.Errorf("protocol %d: %x", protocol, p.b)
		}
		if p.complete(vnet{flags: vnetNeedsSum, sumStart: 8 + ipHeader, sumOffset: 2000}, 8) {
			t.Error("an offset beyond the packet")
		}
	}
}

func TestFragmentsFitTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "data")
		mtu := rapid.IntRange(68, 1500).Draw(t, "mtu")
		b := append([]byte{0x47, 0, 0, 0, 0, 1, 0x20, 100, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
			7, 3, 4, 0x94, 4, 0, 0, 0}, data...) // record route, which is not copied; router alert, which is
		p := inner{b, 28}
		p.seal()
		var got []byte
		if !p.fragments(mtu, func(f inner) {
			if len(f.b) > mtu || f.fragment()&flagMF == 0 || int(f.fragment()&offsetMask) != 100+len(got)/8 || fold(sum(0, f.b[:28])) != 0xffff {
				t.Fatalf("fragment at %d: %x", len(got), f.b[:28])
			}
			if first := len(got) == 0; first != (f.b[20] == 7) || f.b[23] != 0x94 {
				t.Fatalf("options at %d: %x", len(got), f.b[20:28])
			}
			got = append(got, f.payload()...)
		}) || !bytes.Equal(got, data) {
			t.Fatalf("%d octets of %d", len(got), len(data))
		}
	})
}

func TestECNLeavesATunnelByRFC6040(t *testing.T) {
	// inner \ outer: Not-ECT, ECT(1), ECT(0), CE; 9 is a drop
	want := [4][4]uint8{{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}}
	for in := range uint8(4) {
		for out := range uint8(4) {
			got, ok := ecnExit(in, out)
			if !ok {
				got = 9
			}
			if got != want[in][out] {
				t.Errorf("inner %d, outer %d: %d, want %d", in, out, got, want[in][out])
			}
		}
	}
	p := tcp4(nil, nil)
	p.setECN(3)
	if p.tos()&3 != 3 || fold(sum(0, p.b[:ipHeader])) != 0xffff {
		t.Errorf("header %x", p.b[:ipHeader])
	}
}

func TestTheMSSOfASYNIsClamped(t *testing.T) {
	for name, options := range map[string][]byte{
		"at an even offset": {2, 4, 0x05, 0xb4}, "at an odd one": {1, 2, 4, 0x05, 0xb4, 1, 1, 0},
	} {
		p := tcp4(options, nil)
		tcp := p.payload()
		tcp[13] = 2 // SYN
		binary.BigEndian.PutUint16(tcp[16:], 0)
		binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(p.pseudo(), tcp)))
		for _, limit := range []int{1360, 1400, 1360} { // never raised
			p.clampMSS(limit)
		}
		if !good(p) || !bytes.Contains(tcp, []byte{2, 4, 1360 >> 8, 1360 & 0xff}) {
			t.Errorf("%s: %x", name, tcp)
		}
	}
	for _, broken := range [][]byte{{2, 1, 0, 0}, {5, 0, 0, 0}, {2, 4, 0, 0}} {
		p := tcp4(broken, nil)
		p.payload()[13] = 2
		p.clampMSS(1360) // must end
	}
}

func TestErrorsAreNotAnswered(t *testing.T) {
	icmp := func(kind byte) inner {
		p := tcp4(nil, nil)
		p.b[9], p.payload()[0] = protocolICMP, kind
		return p
	}
	for name, c := range map[string]struct {
		p    inner
		want bool
	}{
		"TCP": {tcp4(nil, nil), true}, "an echo request": {icmp(8), true}, "an ICMP error": {icmp(3), false},
	} {
		if got := answerable(c.p); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, source := range []string{"0.0.0.0", "224.0.0.1", "255.255.255.255"} {
		p := tcp4(nil, nil)
		copy(p.b[12:], netip.MustParseAddr(source).AsSlice())
		if answerable(p) {
			t.Errorf("%s was answered", source)
		}
	}
	later := tcp4(nil, nil)
	later.b[7] = 1
	if answerable(later) {
		t.Error("a later fragment was answered")
	}
}

func FuzzInner(f *testing.F) {
	f.Add(tcp4([]byte{2, 4, 5, 0xb4}, []byte("data")).b, uint8(gsoTCPv4), uint16(2), uint16(100))
	f.Add(udp4("10.0.0.1", "10.0.0.2", 9, []byte("data")), uint8(gsoUDPL4), uint16(3), uint16(68))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, size, mtu uint16) {
		p, ok := parseInner(b)
		if !ok || size < 64 && len(b) > 1000 {
			return
		}
		p.clampMSS(1360)
		p.complete(vnet{flags: vnetNeedsSum, sumStart: size, sumOffset: mtu}, 8)
		p.segment(vnet{gsoType: kind, gsoSize: size}, nil, func(s inner) {
			s.fragments(int(mtu), func(f inner) {
				if len(f.b) > int(mtu) {
					t.Errorf("fragment of %d octets above %d", len(f.b), mtu)
				}
			})
		})
	})
}
