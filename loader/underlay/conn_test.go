// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The far end is a plain raw socket in the same namespace, on lo with two
// addresses.
var near, far = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")

func conn(t *testing.T, c Config) *Conn {
	t.Helper()
	conn, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func receive(t *testing.T, c *Conn) (Packet, error) {
	t.Helper()
	if err := c.file.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.Read(make([]byte, MaxPacket))
}

func TestAPacketArrivesAsItWasSent(t *testing.T) {
	netnstest.Enter(t)
	a, b := conn(t, Config{Local: near, Device: "lo", Mark: 9}), conn(t, Config{Local: far})
	for _, want := range []Packet{
		{Header: Header{Protocol: ProtocolNHRP, Key: 42, HasKey: true}, TOS: 0xb8, Payload: []byte("keyed")},
		{Header: Header{Protocol: ProtocolIPv4, HasKey: true}, TOS: 1, Payload: []byte("key 0 is a key")},
		{Header: Header{Protocol: ProtocolIPv4}, Payload: bytes.Repeat([]byte{7}, 9000)},
	} {
		if err := a.Send(far, want.Header, want.TOS, want.Payload); err != nil {
			t.Fatal(err)
		}
		got, err := receive(t, b)
		if err != nil || got.Header != want.Header || got.TOS != want.TOS || got.Source != near || got.Destination != far ||
			got.Options || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestOuterFragmentsArePutTogether(t *testing.T) {
	netnstest.Enter(t)
	b := conn(t, Config{Local: far})
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 100)
	gre := append([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, payload...)
	cut := 800
	for _, part := range []struct {
		offset int
		more   byte
		data   []byte
	}{{cut, 0, gre[cut:]}, {0, 0x20, gre[:cut]}} {
		packet := append([]byte{0x45, 0, 0, 0, 0, 1, part.more | byte(part.offset/8>>8), byte(part.offset / 8), 64, 47, 0, 0,
			127, 0, 0, 1, 127, 0, 0, 2}, part.data...)
		if err := unix.Sendto(raw, packet, 0, &unix.SockaddrInet4{Addr: far.As4()}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := receive(t, b)
	if err != nil || got.Key != 42 || !bytes.Equal(got.Payload, payload) {
		t.Errorf("got %d octets, %v", len(got.Payload), err)
	}
}

func TestAPacketAboveTheMTUIsNotSent(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo mtu 1000")
	if err := conn(t, Config{Local: near}).Send(far, Header{}, 0, make([]byte, 1000)); !errors.Is(err, ErrTooBig) {
		t.Errorf("got %v", err)
	}
}

func TestASocketIsAdoptedIfItIsBoundTheSame(t *testing.T) {
	netnstest.Enter(t)
	c := Config{Local: near, Device: "lo", Mark: 9}
	a := conn(t, c)
	c.Adopt = a.File()
	// As an earlier version has left it.
	var before, after int
	if err := a.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 0) // which the next line sees
		before, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR)
	}); err != nil {
		t.Fatal(err)
	}
	if again := conn(t, c); again.File() != a.File() {
		t.Error("another socket was opened")
	}
	if err := a.raw.Control(func(fd uintptr) {
		after, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR)
	}); err != nil || before != 0 || after != 1 {
		t.Errorf("IP_RECVERR was %d and is %d, %v", before, after, err)
	}
	c.Local = far
	other := conn(t, c)
	if other.File() == c.Adopt || other.Local() != far {
		t.Error("a socket of another address was adopted")
	}
	if _, err := a.Read(make([]byte, 10)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the socket that was not taken should be closed: %v", err)
	}
}

func TestWhatCannotBeBoundIsNamed(t *testing.T) {
	netnstest.Enter(t)
	for want, c := range map[string]Config{
		"bind to device w9":                      {Local: near, Device: "w9"},
		"on 192.0.2.1: bind: cannot assign requ": {Local: netip.MustParseAddr("192.0.2.1")},
	} {
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestCloseEndsARead(t *testing.T) {
	netnstest.Enter(t)
	c := conn(t, Config{Local: near})
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 100))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestGREIsReadByItsRFCs(t *testing.T) {
	ip := func(total byte) []byte {
		return []byte{0x45, 3, 0, total, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	}
	packet := func(gre ...byte) []byte { return append(ip(byte(20+len(gre))), gre...) }
	for _, c := range []struct {
		name   string
		b      []byte
		reason tables.Reason
		want   string
		key    uint32
	}{
		{"no key", packet(0, 0, 8, 0, 'a'), 0, "a", 0},
		{"checksum, key and sequence number", packet(0xb0, 0, 8, 0, 1, 2, 3, 4, 0, 0, 0, 42, 5, 6, 7, 8, 'a'), 0, "a", 42},
		{"octets after the packet", append(packet(0, 0, 8, 0, 'a'), 'b'), 0, "a", 0},
		{"a reserved bit, of a tunnel that is named", packet(0x28, 0, 8, 0, 0, 0, 0, 42), tables.DropGREReserved, "", 42},
		{"the other reserved bit", packet(0x24, 0, 8, 0, 0, 0, 0, 42), tables.DropGREReserved, "", 42},
		{"bits 6 to 12, which are ignored", packet(0x23, 0xf8, 8, 0, 0, 0, 0, 42, 'a'), 0, "a", 42},
		{"the routing bit", packet(0x60, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 42), tables.DropGRERouting, "", 42},
		{"version 1, as PPTP has it", packet(0x20, 1, 0x88, 0x0b, 0, 0, 0, 0), tables.DropGREVersion, "", 0},
		{"a key that is cut off", packet(0x20, 0, 8, 0, 0), tables.DropTruncated, "", 0},
		{"no GRE", packet(), tables.DropTruncated, "", 0},
		{"less than an IP header", ip(20)[:19], tables.DropTruncated, "", 0},
		{"a length beyond the packet", packet(0, 0, 8, 0, 'a')[:24], tables.DropTruncated, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(c.b)
			var m *Malformed
			if errors.As(err, &m) {
				if m.Reason != c.reason || m.Packet.Key != c.key || m.Octets != len(c.b) {
					t.Errorf("got %+v", m)
				}
				return
			}
			if c.reason != 0 || string(p.Payload) != c.want || p.Key != c.key || p.TOS != 3 {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

// FuzzParse: what is taken is within the packet, has no flag that forbids it, and
// reads the same when it is written again; what is not has a reason.
func FuzzParse(f *testing.F) {
	ip := []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}
	f.Add([]byte{0x46, 0, 0, 32, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 1, 1, 0x20, 0, 8, 0, 0, 0, 0, 42})
	f.Add(append(slices.Clone(ip), 0xb0, 0, 8, 0, 1, 2, 3, 4, 0, 0, 0, 42, 5, 6, 7, 8, 'd', 'a', 't', 'a'))
	f.Add(append(slices.Clone(ip), 0, 0, 0x20, 1, 'n', 'h', 'r', 'p', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add(append(slices.Clone(ip), 0x60, 1, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			var m *Malformed
			if !errors.As(err, &m) || m.Reason == tables.DropNone || m.Octets != len(b) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		flags := binary.BigEndian.Uint16(b[int(b[0]&0x0f)*4:])
		if flags&(flagRouting|flagReserved|flagVersion) != 0 {
			t.Errorf("taken with the flags %#04x", flags)
		}
		if len(p.Payload)+p.Overhead(near) > len(b) {
			t.Errorf("more payload than packet: %d of %d", len(p.Payload), len(b))
		}
		h, payload, reason := ParseGRE(append(p.appendTo(nil), p.Payload...))
		if reason != tables.DropNone || h != p.Header || !bytes.Equal(payload, p.Payload) {
			t.Errorf("written again it reads %+v % x %v, not %+v % x", h, payload, reason, p.Header, p.Payload)
		}
	})
}
