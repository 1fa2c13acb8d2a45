// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// TestWhatIsTooBigOfIPv6IsAnswered with the peer's MTU, or with 1280 where that is less.
func TestWhatIsTooBigOfIPv6IsAnswered(t *testing.T) {
	for mtu, told := range map[int]string{1300: "mtu 1300", 1000: "mtu 1280"} {
		w := newWire(t)
		check(t, w.tables.Describe(w.admit(t, peer1, "fd00::1"), netip.Addr{}, mtu))
		c := must(net.Dial("udp6", "[fd00::1]:5001"))(t).(*net.UDPConn)
		defer c.Close()
		raw := must(c.SyscallConn())(t)
		check(t, raw.Control(func(fd uintptr) {
			check(t, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO))
		}))
		must(c.Write(make([]byte, 1340)))(t)
		netnstest.Eventually(t, "the sender knows", func() bool {
			_, err := c.Write(make([]byte, 1340))
			return errors.Is(err, unix.EMSGSIZE)
		})
		if got := netnstest.Run(t, "ip -6 route get fd00::1"); !strings.Contains(got, told) {
			t.Errorf("of %d the sender learned another MTU: %s", mtu, got)
		}
		netnstest.Eventually(t, "what fits is sent", func() bool {
			_, err := c.Write(make([]byte, min(mtu, 1300)-48))
			return err == nil // errors about those before come first
		})
		if got := w.arrives(t, peer1); len(got.b) != mtu {
			t.Errorf("got %d octets", len(got.b))
		}
	}
}

// TestIPv6Headers are read as RFC 8200 has them, and written so.
func TestIPv6Headers(t *testing.T) {
	four, _ := parseInner(udp4("10.0.0.1", "10.0.0.2", 99, []byte("abc")))
	packet := as6(four)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		ok     bool
		octets int
	}{
		"as it is":                        {func(b []byte) []byte { return b }, true, 51},
		"octets behind its end":           {func(b []byte) []byte { return append(b, 1, 2) }, true, 51},
		"a header alone":                  {func(b []byte) []byte { b[4], b[5] = 0, 0; return b[:40] }, true, 40},
		"half a header":                   {func(b []byte) []byte { return b[:39] }, false, 0},
		"a payload that is not all there": {func(b []byte) []byte { return b[:50] }, false, 0},
		"version 5":                       {func(b []byte) []byte { b[0] = 0x50; return b }, false, 0},
	} {
		got, ok := parseInner(c.change(append([]byte(nil), packet.b...)))
		if ok != c.ok || len(got.b) != c.octets {
			t.Errorf("%s: %d octets, %v", name, len(got.b), ok)
		}
	}
	for class := range 256 {
		packet.b[0], packet.b[1] = 0x60|byte(class>>4), byte(class<<4)|5
		if got := packet.tos(); int(got) != class {
			t.Errorf("traffic class %#x: %#x", class, got)
		}
		packet.setECN((byte(class) ^ 3) & 3)
		if want := byte(class) ^ 3; packet.tos() != want || packet.b[1]&0x0f != 5 || packet.b[0]>>4 != 6 {
			t.Errorf("ECN of %#x: %x", class, packet.b[:4])
		}
	}
}

// TestErrorsAreNotAnsweredOfIPv6, nor what nobody can be told of (RFC 4443, section 2.4).
func TestErrorsAreNotAnsweredOfIPv6(t *testing.T) {
	of := func(source, destination string, next uint8, payload ...byte) inner {
		b := make([]byte, ip6Header)
		b[0], b[6] = 0x60, next
		copy(b[8:], netip.MustParseAddr(source).AsSlice())
		copy(b[24:], netip.MustParseAddr(destination).AsSlice())
		p := inner{append(b, payload...), ip6Header}
		p.seal()
		return p
	}
	for name, c := range map[string]struct {
		packet inner
		want   bool
	}{
		"UDP":               {of("fd10::1", "fd00::1", protocolUDP, make([]byte, 8)...), true},
		"an echo request":   {of("fd10::1", "fd00::1", protocolICMPv6, 128, 0, 0, 0), true},
		"to many":           {of("fd10::1", "ff05::1", protocolUDP, make([]byte, 8)...), true},
		"a first fragment":  {of("fd10::1", "fd00::1", protocolFragment, 17, 0, 0, 1, 0, 0, 0, 1), true},
		"a later fragment":  {of("fd10::1", "fd00::1", protocolFragment, 17, 0, 0, 9, 0, 0, 0, 1), false},
		"too big":           {of("fd10::1", "fd00::1", protocolICMPv6, 2, 0, 0, 0), false},
		"a redirect":        {of("fd10::1", "fd00::1", protocolICMPv6, 137, 0, 0, 0), false},
		"cut ICMP":          {of("fd10::1", "fd00::1", protocolICMPv6), false},
		"from many":         {of("ff02::1", "fd00::1", protocolUDP, make([]byte, 8)...), false},
		"from nobody":       {of("::", "fd00::1", protocolUDP, make([]byte, 8)...), false},
		"from a link-local": {of("fe80::1", "fd00::1", protocolUDP, make([]byte, 8)...), false},
	} {
		if got := answerable(c.packet); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
