// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// The far end of tests of IPv6 is on lo too, which has two addresses.
var near6, far6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")

func enter6(t *testing.T) {
	t.Helper()
	netnstest.Enter(t)
	for _, a := range []netip.Addr{near6, far6} {
		netnstest.Run(t, "ip address add "+a.String()+"/128 dev lo nodad")
	}
	netnstest.Eventually(t, "the routes to the addresses", func() bool {
		routes := netnstest.Run(t, "ip -6 route show table local")
		return strings.Contains(routes, near6.String()) && strings.Contains(routes, far6.String())
	})
}

func TestGREOverIPv6ArrivesAsItWasSent(t *testing.T) {
	enter6(t)
	a, b := conn(t, Config{Local: near6, Device: "lo", Mark: 9}), conn(t, Config{Local: far6})
	for _, want := range []Packet{
		{Header: Header{Protocol: ProtocolNHRP, Key: 42, HasKey: true}, TOS: 0xb9, Payload: []byte("keyed")},
		{Header: Header{Protocol: ProtocolIPv4}, Payload: bytes.Repeat([]byte{7}, 9000)},
	} {
		if err := a.Send(far6, want.Header, want.TOS, want.Payload); err != nil {
			t.Fatal(err)
		}
		got, err := receive(t, b)
		if err != nil || got.Header != want.Header || got.TOS != want.TOS || got.Source != near6 || got.Destination != far6 ||
			got.Options || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for what, err := range map[string]error{
		"to IPv4":        a.Send(near, Header{}, 0, nil),
		"from IPv4":      conn(t, Config{Local: near}).Send(far6, Header{}, 0, nil),
		"to IPv4 in six": a.Send(netip.MustParseAddr("::ffff:127.0.0.1"), Header{}, 0, nil),
	} {
		if !errors.Is(err, ErrFamily) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestGREBehindOtherHeadersOfIPv6: fragments are put together, extension headers stepped over.
func TestGREBehindOtherHeadersOfIPv6(t *testing.T) {
	enter6(t)
	b := conn(t, Config{Local: far6})
	gre := append([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, bytes.Repeat([]byte("0123456789abcdef"), 100)...)
	options := []byte{unix.IPPROTO_GRE, 0, 1, 4, 0, 0, 0, 0} // PadN
	fragment := func(offset int, more byte) []byte {
		return []byte{unix.IPPROTO_GRE, 0, byte(offset >> 8), byte(offset) | more, 0, 0, 0, 9}
	}
	for _, c := range []struct {
		name    string
		parts   [][]byte
		next    byte
		options bool
	}{
		{"two fragments", [][]byte{append(fragment(800, 0), gre[800:]...), append(fragment(0, 1), gre[:800]...)}, unix.IPPROTO_FRAGMENT, false},
		{"destination options", [][]byte{append(bytes.Clone(options), gre...)}, unix.IPPROTO_DSTOPTS, true},
		{"hop-by-hop options", [][]byte{append(bytes.Clone(options), gre...)}, unix.IPPROTO_HOPOPTS, true},
	} {
		for _, part := range c.parts {
			sendRaw6(t, near6, far6, c.next, part)
		}
		got, err := receive(t, b)
		if err != nil || got.Key != 42 || !bytes.Equal(got.Payload, gre[8:]) || got.Options != c.options {
			t.Errorf("%s: %d octets, options %t, %v", c.name, len(got.Payload), got.Options, err)
		}
	}
}

// sendRaw6 sends what is behind an IPv6 header by a socket of its own.
func sendRaw6(t *testing.T, from, to netip.Addr, next byte, payload []byte) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	b := append([]byte{0x60, 0, 0, 0, 0, 0, next, 64}, from.AsSlice()...)
	b = append(append(b, to.AsSlice()...), payload...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	if err := unix.Sendto(s, b, 0, &unix.SockaddrInet6{Addr: to.As16()}); err != nil {
		t.Fatal(err)
	}
}

func TestIKEAndESPOverIPv6(t *testing.T) {
	enter6(t)
	netnstest.Run(t, "ip link set lo mtu 1400")
	c, peer := udp(t, UDPConfig{Local: at("[::]:4500"), Encapsulation: true}), udp(t, UDPConfig{Local: at("[fd00::2]:4502"), Encapsulation: true})
	four := udp(t, UDPConfig{Local: at("0.0.0.0:4500"), Encapsulation: true}) // beside that of [::]
	local, remote := at("[fd00::1]:4500"), at("[fd00::2]:4502")
	if err := c.Send(local, remote, true, []byte("a message")); err != nil {
		t.Fatal(err)
	}
	same(t, next(t, peer, 1), got{remote.String(), local.String(), IKE, 0, "a message"})
	packets := append(bytes.Repeat(esp(1, 1, 100), 9), esp(2, 1, 60)...)
	if err := c.SendSegments(local, remote, 0xb9, 100, packets); err != nil {
		t.Fatal(err)
	}
	want := make([]got, 9)
	for i := range want {
		want[i] = got{remote.String(), local.String(), ESP, 0xb9, string(esp(1, 1, 100))}
	}
	same(t, next(t, peer, 10), append(want, got{remote.String(), local.String(), ESP, 0xb9, string(esp(2, 1, 60))})...)
	if err := peer.SendSegments(remote, local, 0, 40, esp(3, 1, 40)); err != nil {
		t.Fatal(err)
	}
	same(t, next(t, c, 1), got{local.String(), remote.String(), ESP, 0, string(esp(3, 1, 40))})
	for _, n := range []int{1353, 3000} {
		if err := c.SendSegments(local, remote, 0, n, append(esp(1, 1, n), esp(1, 2, n)...)); !errors.Is(err, ErrTooBig) {
			t.Errorf("packets of %d octets: %v", n, err)
		}
	}
	if err := c.SendSegments(local, remote, 0, 1352, esp(1, 1, 1352)); err != nil {
		t.Error(err)
	}
	long := string(bytes.Repeat([]byte("i"), 3000))
	if err := c.Send(local, remote, true, []byte(long)); err != nil {
		t.Error(err)
	}
	same(t, next(t, peer, 2), got{remote.String(), local.String(), ESP, 0, string(esp(1, 1, 1352))}, got{remote.String(), local.String(), IKE, 0, long})
	if err := c.Send(netip.AddrPort{}, at("127.0.0.1:4500"), true, nil); !errors.Is(err, ErrFamily) {
		t.Errorf("to IPv4: %v", err)
	}
	if err := four.Send(netip.AddrPort{}, remote, true, nil); !errors.Is(err, ErrFamily) {
		t.Errorf("from IPv4: %v", err)
	}
	if err := c.Send(local, at("[fd00::2]:4501"), true, []byte("SPIi")); err != nil {
		t.Error(err)
	}
	sameHints(t, hints(t, c), `[fd00::1]:4500 fd00::2 says of [fd00::2]:4501: connection refused ECONNREFUSED "\x00\x00\x00\x00SPIi"`)
}

func TestRawESPOverIPv6(t *testing.T) {
	enter6(t)
	netnstest.Run(t, "ip link set lo mtu 1400")
	c, peer := rawESP(t, Config{Local: near6, Device: "lo", Mark: 9}), rawESP(t, Config{Local: far6})
	if err := c.SendSegments(near6, far6, 0xb9, 100, append(esp(1, 1, 100), esp(2, 1, 60)...)); err != nil {
		t.Fatal(err)
	}
	l, r := "[fd00::2]:0", "[fd00::1]:0"
	same(t, nextESP(t, peer, 2), got{l, r, ESP, 0xb9, string(esp(1, 1, 100))}, got{l, r, ESP, 0xb9, string(esp(2, 1, 60))})
	if err := c.SendSegments(near6, far6, 0, 1361, esp(1, 1, 1361)); !errors.Is(err, ErrTooBig) {
		t.Errorf("a packet of 1361 octets: %v", err)
	}
	if err := c.SendSegments(near6, far6, 0, 1360, esp(1, 1, 1360)); err != nil {
		t.Error(err)
	}
	sendRaw6(t, near6, far6, unix.IPPROTO_ESP, []byte("short"))
	if err := c.SendSegments(near6, far6, 0, 8, esp(4, 1, 8)); err != nil {
		t.Error(err)
	}
	same(t, nextESP(t, peer, 2), got{l, r, ESP, 0, string(esp(1, 1, 1360))}, got{l, r, ESP, 0, string(esp(4, 1, 8))})
	if n := peer.Counters(); n != (ESPCounters{Received: 4, Garbage: 1}) {
		t.Errorf("%+v", n)
	}
}

// TestSocketsOfIPv6AreAdopted, each by its own kind alone.
func TestSocketsOfIPv6AreAdopted(t *testing.T) {
	enter6(t)
	g := conn(t, Config{Local: near6, Device: "lo"})
	if again := conn(t, Config{Local: near6, Device: "lo", Adopt: g.File()}); again.File() != g.File() {
		t.Error("GRE: another socket was opened")
	}
	if other := conn(t, Config{Local: far6, Device: "lo", Adopt: g.File()}); other.File() == g.File() {
		t.Error("GRE: the socket of another address was adopted")
	}
	e := rawESP(t, Config{Local: near6})
	if again := rawESP(t, Config{Local: near6, Adopt: e.File()}); again.File() != e.File() {
		t.Error("ESP: another socket was opened")
	}
	u := udp(t, UDPConfig{Local: at("[fd00::1]:500")})
	if again := udp(t, UDPConfig{Local: at("[fd00::1]:500"), Adopt: u.File()}); again.File() != u.File() {
		t.Error("UDP: another socket was opened")
	}
	if _, err := Open(Config{Local: netip.MustParseAddr("fe80::1%lo")}); err == nil {
		t.Error("an address with a zone was taken")
	}
}

// TestICMPv6SaysThatThePathIsNarrow of GRE that BPF sent, and of ESP of ours.
func TestICMPv6SaysThatThePathIsNarrow(t *testing.T) {
	hostPID := narrowWay(t, narrow6)
	from, to, router := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::2"), netip.MustParseAddr("2001:db8:1::fe")
	c := conn(t, Config{Local: from, Device: "w0"})
	known := func() bool { mtu, err := c.PathMTU(to); return err == nil && mtu == 1300 }
	if known() {
		t.Fatal("the path is known before anything was sent")
	}
	sendRaw6(t, from, to, unix.IPPROTO_GRE, append([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, make([]byte, 1400)...))
	netnstest.Eventually(t, "the kernel knows", known)
	_, err := receive(t, c)
	var n *Narrow
	if want := (Narrow{Header{0x0800, 42, true}, to, router, 1300}); !errors.As(err, &n) || *n != want {
		t.Errorf("got %v, want %v", err, &want)
	}
	if err := c.Send(to, Header{}, 0, make([]byte, 1257)); !errors.Is(err, ErrTooBig) {
		t.Errorf("what does not fit: %v", err)
	}
	if err := c.Send(to, Header{}, 0, make([]byte, 1256)); err != nil {
		t.Errorf("what just fits: %v", err)
	}

	netnstest.In(t, hostPID, func() {}) // it is there
	netnstest.Run(t, "ip -6 route flush cache")
	u := udp(t, UDPConfig{Local: netip.AddrPortFrom(from, 4500), Device: "w0", Encapsulation: true})
	netnstest.Eventually(t, "the kernel has forgotten", func() bool { return !known() })
	if err := u.SendSegments(u.Local(), netip.AddrPortFrom(to, 4500), 0, 1400, esp(7, 9, 1400)); err != nil {
		t.Fatal(err)
	}
	sameHints(t, hints(t, u), fmt.Sprintf("[2001:db8:1::1]:4500 2001:db8:1::fe says of [2001:db8:2::2]:4500: packets above 1300 octets do not fit EMSGSIZE %q", esp(7, 9, 1400)[:quoteSize]))
}
