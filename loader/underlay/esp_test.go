// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

func rawESP(t testing.TB, c Config) *ESPConn {
	t.Helper()
	conn, err := OpenESP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// nextESP reads until there are so many packets.
func nextESP(t testing.TB, c *ESPConn, n int) []got {
	t.Helper()
	b := NewBatch(4)
	var all []got
	for len(all) < n {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadBatch(b); err != nil {
			t.Fatalf("%v after %d packets", err, len(all))
		}
		for _, d := range b.Datagrams {
			all = append(all, got{d.Local.String(), d.Remote.String(), d.Kind, d.TOS, string(d.Data)})
		}
	}
	return all
}

// patience is for what comes at once, but on a busy machine.
const patience = 20 * time.Second

// The far end is in the same namespace, on lo with its many addresses.
func TestRawESPIsTakenOutOfItsIPHeader(t *testing.T) {
	netnstest.Enter(t)
	near, far := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	c, peer := rawESP(t, Config{Local: near, Device: "lo", Mark: 9}), rawESP(t, Config{Local: far})
	packets := append(bytes.Repeat(esp(1, 1, 100), MaxSegments-1), esp(2, 1, 60)...)
	if err := c.SendSegments(near, far, 0xb9, 100, packets); err != nil {
		t.Fatal(err)
	}
	if err := c.SendSegments(netip.Addr{}, far, 0, 1400, esp(3, 1, 8)); err != nil {
		t.Fatal(err)
	}
	want := make([]got, MaxSegments-1)
	for i := range want {
		want[i] = got{"127.0.0.2:0", "127.0.0.1:0", ESP, 0xb9, string(esp(1, 1, 100))}
	}
	want = append(want, got{"127.0.0.2:0", "127.0.0.1:0", ESP, 0xb9, string(esp(2, 1, 60))}, got{"127.0.0.2:0", "127.0.0.1:0", ESP, 0, string(esp(3, 1, 8))})
	same(t, nextESP(t, peer, len(want)), want...)
	if n := peer.Counters(); n != (ESPCounters{Received: 65}) {
		t.Errorf("the receiver: %+v", n)
	}
	if n := c.Counters(); n != (ESPCounters{Sent: 65}) {
		t.Errorf("the sender: %+v", n)
	}
	for what, err := range map[string]error{
		"65 packets":   c.SendSegments(near, far, 0, 8, make([]byte, 8*65)),
		"size 0":       c.SendSegments(near, far, 0, 0, make([]byte, 8)),
		"to IPv6":      c.SendSegments(near, netip.IPv6LinkLocalAllNodes(), 0, 8, make([]byte, 8)),
		"from nowhere": c.SendSegments(netip.MustParseAddr("192.0.2.99"), far, 0, 8, make([]byte, 8)),
	} {
		if err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// Options stand between the header and ESP, and what has no sequence number is no ESP.
func TestRawESPHeaders(t *testing.T) {
	ip := func(header int, total int, rest ...byte) []byte {
		b := append(make([]byte, header), rest...)
		b[0], b[2], b[3] = 4<<4|byte(header/4), byte(total>>8), byte(total)
		return b
	}
	whole := esp(1, 2, 12)
	for _, c := range []struct {
		name string
		b    []byte
		kind Kind
	}{
		{"without options", ip(20, 32, whole...), ESP},
		{"with options", ip(28, 40, whole...), ESP},
		{"padded by the link", ip(20, 32, append(whole[:12:12], 0, 0, 0)...), ESP},
		{"shorter than its header says", ip(20, 33, whole...), Garbage},
		{"no sequence number", ip(20, 27, whole[:7]...), Garbage},
		{"a header of 16 octets", append([]byte{0x44, 0, 0, 32}, make([]byte, 28)...), Garbage},
		{"no header", []byte{0x45}, Garbage},
	} {
		kind, data := sortESP4(c.b)
		if kind != c.kind || kind == ESP && !bytes.Equal(data, whole) {
			t.Errorf("%s: kind %d, %x", c.name, kind, data)
		}
	}
}

// TestRawESPTooBigForTheDevice: refused, and the next one that fits goes.
func TestRawESPTooBigForTheDevice(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo mtu 1000")
	c, peer := rawESP(t, Config{Local: near}), rawESP(t, Config{Local: far})
	if err := c.SendSegments(near, far, 0, 981, append(esp(1, 1, 981), esp(1, 2, 500)...)); !errors.Is(err, ErrTooBig) {
		t.Errorf("two packets, one too big: %v", err)
	}
	if err := c.SendSegments(near, far, 0, 980, esp(1, 3, 980)); err != nil {
		t.Error(err)
	}
	same(t, nextESP(t, peer, 1), got{far.String() + ":0", near.String() + ":0", ESP, 0, string(esp(1, 3, 980))})
	if n := c.Counters(); n != (ESPCounters{Sent: 1, TooBig: 2}) {
		t.Errorf("%+v", n)
	}
}

// TestRawESPTooBigForTheWay: a router says so, and the quote has SPI and sequence number.
func TestRawESPTooBigForTheWay(t *testing.T) {
	hostPID := narrowWay(t, narrow4)
	to := netip.MustParseAddr("198.51.100.2")
	c := rawESP(t, Config{Local: netip.MustParseAddr("192.0.2.1"), Device: "w0"})
	var peer *ESPConn
	netnstest.In(t, hostPID, func() { peer = rawESP(t, Config{Local: to}) })
	if err := c.SendSegments(netip.Addr{}, to, 0, 1400, esp(7, 9, 1400)); err != nil {
		t.Fatal(err)
	}
	b := NewBatch(1)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadBatch(b); err != nil || len(b.Hints) != 1 {
		t.Fatalf("%v, %v", b.Hints, err)
	}
	h := b.Hints[0]
	if h.String() != "192.0.2.254 says of 198.51.100.2:0: packets above 1300 octets do not fit" || !bytes.Equal(h.Quote, esp(7, 9, 1400)[:quoteSize]) {
		t.Errorf("%s %q", h, h.Quote)
	}
	if mtu, err := c.PathMTU(netip.Addr{}, to); mtu != 1300 || err != nil {
		t.Errorf("path MTU %d, %v", mtu, err)
	}
	if err := c.SendSegments(netip.Addr{}, to, 0, 1400, esp(7, 10, 1400)); !errors.Is(err, ErrTooBig) {
		t.Errorf("the second one: %v", err)
	}
	if err := c.SendSegments(netip.Addr{}, to, 0, 1280, esp(7, 11, 1280)); err != nil {
		t.Error(err)
	}
	same(t, nextESP(t, peer, 1), got{"198.51.100.2:0", "192.0.2.1:0", ESP, 0, string(esp(7, 11, 1280))})
}

// TestRawESPGoesPastWhatItHeard: a host without ESP says so of each packet; the next
// sendings are not disturbed.
func TestRawESPGoesPastWhatItHeard(t *testing.T) {
	_, pid := twoHosts(t)
	c := rawESP(t, Config{Local: netip.MustParseAddr("192.0.2.1")})
	var peer *ESPConn
	to := netip.MustParseAddr("192.0.2.2")
	refused := func() {
		t.Helper()
		if err := c.SendSegments(netip.Addr{}, to, 0, 50, append(esp(1, 1, 50), esp(1, 2, 50)...)); err != nil {
			t.Error(err)
		}
	}
	refused()
	netnstest.Eventually(t, "an ICMP message", func() bool {
		raw, err := c.File().SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		pending := false
		_ = raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd), Events: 0}}
			_, _ = unix.Poll(p, 0)
			pending = p[0].Revents&unix.POLLERR != 0
		})
		return pending
	})
	netnstest.In(t, pid, func() { peer = rawESP(t, Config{}) })
	refused()
	if n := len(nextESP(t, peer, 2)); n != 2 {
		t.Errorf("%d packets", n)
	}
	if n := c.Counters(); n != (ESPCounters{Sent: 4}) {
		t.Errorf("%+v", n)
	}
}

func TestARawESPSocketIsTakenOver(t *testing.T) {
	netnstest.Enter(t)
	first := rawESP(t, Config{Local: near, Device: "lo", Mark: 7})
	duplicate := func() *os.File {
		fd, err := unix.FcntlInt(first.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "held")
	}
	inode := func(f *os.File) string {
		s, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		name   string
		config Config
		same   bool
	}{
		{"bound as asked", Config{Local: near, Device: "lo", Mark: 7}, true},
		{"another address", Config{Local: far, Device: "lo", Mark: 7}, false},
		{"another mark", Config{Local: near, Device: "lo"}, false},
		{"no device", Config{Local: near, Mark: 7}, false},
	} {
		c.config.Adopt = duplicate()
		if now := rawESP(t, c.config); (inode(now.File()) == inode(first.File())) != c.same {
			t.Errorf("%s: the same socket: %t", c.name, !c.same)
		}
	}
	if _, err := OpenESP(Config{Local: netip.MustParseAddr("192.0.2.99")}); err == nil || !strings.Contains(err.Error(), "raw ESP socket on 192.0.2.99") {
		t.Errorf("an address that nobody has: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.ReadBatch(NewBatch(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// TestRawESPCostsNoAllocation, neither to send nor to read.
func TestRawESPCostsNoAllocation(t *testing.T) {
	netnstest.Enter(t)
	c, peer := rawESP(t, Config{Local: near}), rawESP(t, Config{Local: far})
	b, packets := NewBatch(8), bytes.Repeat(esp(1, 1, 100), 10)
	round := func() {
		if err := c.SendSegments(near, far, 1, 100, packets); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 10; n += len(b.Datagrams) {
			if err := peer.ReadBatch(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	round() // the batch grows to what it needs
	if n := testing.AllocsPerRun(200, round); n >= 1 {
		t.Errorf("%v allocations for 10 packets", n)
	}
}
