// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"net/netip"
	"testing"
)

func TestParseStray(t *testing.T) {
	ip := func(protocol byte, payload ...byte) []byte {
		return append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0, 198, 51, 100, 7, 192, 0, 2, 1}, payload...)
	}
	udp := ip(17, 0x75, 0x30, 0x11, 0x94, 0, 40, 0, 0, 1, 2, 3, 4, 0, 0, 0, 9)
	raw := ip(50, 1, 2, 3, 4, 0, 0, 0, 9)
	six := append([]byte{0x60, 0, 0, 0, 0, 16, 17, 64}, netip.MustParseAddr("2001:db8::7").AsSlice()...)
	six = append(append(six, netip.MustParseAddr("2001:db8::1").AsSlice()...), udp[20:]...)
	raw6 := append(append([]byte{}, six[:40]...), raw[20:]...)
	raw6[6] = 50
	for _, c := range []struct {
		name          string
		b             []byte
		local, remote string // "": it is none
	}{
		{"in UDP", udp, "192.0.2.1:4500", "198.51.100.7:30000"},
		{"in UDP, cut behind the SPI", udp[:32], "192.0.2.1:4500", "198.51.100.7:30000"},
		{"in UDP, cut within the SPI", udp[:31], "", ""},
		{"in UDP, cut within UDP", udp[:27], "", ""},
		{"raw", raw, "192.0.2.1:0", "198.51.100.7:0"},
		{"raw, cut within the SPI", raw[:23], "", ""},
		{"GRE", ip(47, 1, 2, 3, 4), "", ""},
		{"with options", append([]byte{0x46}, raw[1:]...), "", ""},
		{"IPv6, in UDP", six, "[2001:db8::1]:4500", "[2001:db8::7]:30000"},
		{"IPv6, raw", raw6, "[2001:db8::1]:0", "[2001:db8::7]:0"},
		{"IPv6, cut within the header", six[:39], "", ""},
		{"IPv6, cut within the SPI", six[:51], "", ""},
		{"nothing", nil, "", ""},
	} {
		spi, local, remote, ok := ParseStray(c.b)
		if c.local == "" {
			if ok {
				t.Errorf("%s: SPI %08x from %s", c.name, spi, remote)
			}
			continue
		}
		if !ok || spi != 0x01020304 || local != netip.MustParseAddrPort(c.local) || remote != netip.MustParseAddrPort(c.remote) {
			t.Errorf("%s: %08x, %s, %s, %t", c.name, spi, local, remote, ok)
		}
	}
}
