// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
)

func tunnel(t *testing.T, here, there string) *Tunnel {
	t.Helper()
	x, err := NewTunnel(netip.MustParseAddr(here), netip.MustParseAddr(there), 47)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The inner header, and what the other end makes of it.
func TestTheInnerHeaderOfTunnelMode(t *testing.T) {
	near, far := tunnel(t, "192.0.2.1", "198.51.100.2"), tunnel(t, "198.51.100.2", "192.0.2.1")
	b := append(near.Append(nil, 0xb9, 4), "data"...)
	if want := "45b9001800004000402f4dc7c0000201c6336402"; hex.EncodeToString(b[:headerIPv4]) != want {
		t.Errorf("got %x, want %s", b[:headerIPv4], want)
	}
	for tos := range 256 {
		for _, n := range []int{0, 1, 1400, 65515} {
			b := append(near.Append(nil, uint8(tos), n), make([]byte, n)...)
			var sum uint32
			for i := 0; i < headerIPv4; i += 2 {
				sum += uint32(binary.BigEndian.Uint16(b[i:]))
			}
			if sum = sum>>16 + sum&0xffff; sum != 0xffff {
				t.Fatalf("TOS %d, %d octets: the checksum is wrong: %x", tos, n, b[:headerIPv4])
			}
			payload, got, err := far.Take(append(b, 1, 2, 3)) // with padding for traffic flow confidentiality
			if err != nil || int(got) != tos || len(payload) != n {
				t.Fatalf("TOS %d, %d octets: %d, %d, %v", tos, n, got, len(payload), err)
			}
		}
	}
}

func TestTunnelModeTakesWhatWasNegotiated(t *testing.T) {
	far := tunnel(t, "198.51.100.2", "192.0.2.1")
	good := append(tunnel(t, "192.0.2.1", "198.51.100.2").Append(nil, 0, 4), "data"...)
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		err    error
	}{
		{"as it should be", func(b []byte) []byte { return b }, nil},
		{"with options", func(b []byte) []byte {
			b = append(b[:20:20], append([]byte{1, 1, 1, 0}, b[20:]...)...)
			b[0], b[3] = 0x46, 28
			return b
		}, nil},
		{"another source", func(b []byte) []byte { b[15]++; return b }, ErrSelectors},
		{"another destination", func(b []byte) []byte { b[19]++; return b }, ErrSelectors},
		{"another protocol", func(b []byte) []byte { b[9] = 17; return b }, ErrSelectors},
		{"the first fragment", func(b []byte) []byte { b[6] = 0x20; return b }, ErrFragment},
		{"a later fragment", func(b []byte) []byte { b[7] = 1; return b }, ErrFragment},
		{"longer than it is", func(b []byte) []byte { b[3]++; return b }, ErrTruncated},
		{"shorter than its header", func(b []byte) []byte { b[3] = 19; return b }, ErrTruncated},
		{"a header of 16 octets", func(b []byte) []byte { b[0] = 0x44; return b }, ErrTruncated},
		{"IPv6", func(b []byte) []byte { b[0] = 0x65; return b }, ErrTruncated},
		{"no header", func(b []byte) []byte { return b[:19] }, ErrTruncated},
	} {
		payload, _, err := far.Take(c.change(bytes.Clone(good)))
		if !errors.Is(err, c.err) || err == nil && string(payload) != "data" {
			t.Errorf("%s: %q, %v", c.name, payload, err)
		}
	}
	if _, err := NewTunnel(netip.IPv6Loopback(), netip.MustParseAddr("192.0.2.1"), 47); err == nil {
		t.Error("two versions were taken")
	}
}

// TestTunnelModeOfIPv6: the inner header, and what of one is taken.
func TestTunnelModeOfIPv6(t *testing.T) {
	near, far := tunnel(t, "2001:db8::1", "2001:db8:1::2"), tunnel(t, "2001:db8:1::2", "2001:db8::1")
	good := append(near.Append(nil, 0xb9, 4), "data"...)
	if want := "6b90000000042f4020010db800000000000000000000000120010db8000100000000000000000002"; hex.EncodeToString(good[:near.Header()]) != want {
		t.Errorf("got %x, want %s", good[:near.Header()], want)
	}
	for tos := range 256 {
		if _, got, err := far.Take(append(near.Append(nil, uint8(tos), 4), "data and padding"...)); err != nil || int(got) != tos {
			t.Errorf("TOS %d: %d, %v", tos, got, err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		err    error
	}{
		{"as it should be", func(b []byte) []byte { return b }, nil},
		{"a flow label", func(b []byte) []byte { b[3] = 7; return b }, nil},
		{"another source", func(b []byte) []byte { b[23]++; return b }, ErrSelectors},
		{"another destination", func(b []byte) []byte { b[39]++; return b }, ErrSelectors},
		{"another protocol", func(b []byte) []byte { b[6] = 17; return b }, ErrSelectors},
		{"a fragment", func(b []byte) []byte { b[6] = 44; return b }, ErrFragment},
		{"longer than it is", func(b []byte) []byte { b[5]++; return b }, ErrTruncated},
		{"IPv4", func(b []byte) []byte { b[0] = 0x45; return b }, ErrTruncated},
		{"no header", func(b []byte) []byte { return b[:39] }, ErrTruncated},
	} {
		payload, _, err := far.Take(c.change(bytes.Clone(good)))
		if !errors.Is(err, c.err) || err == nil && string(payload) != "data" {
			t.Errorf("%s: %q, %v", c.name, payload, err)
		}
	}
}
