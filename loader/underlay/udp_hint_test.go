// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// hints reads until there is one.
func hints(t *testing.T, c *UDPConn) []string {
	t.Helper()
	b := NewBatch(1)
	var all []string
	for len(all) == 0 {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadBatch(b); err != nil {
			t.Fatal(err)
		}
		for _, h := range b.Hints {
			all = append(all, fmt.Sprintf("%s %s %s %q", h.Local, h, unix.ErrnoName(h.Err), h.Quote))
		}
	}
	return all
}

func sameHints(t *testing.T, all []string, want string) {
	t.Helper()
	for _, h := range all {
		if h != want {
			t.Errorf("\n got %s\nwant %s", h, want)
		}
	}
}

// TestAPortThatNobodyHasIsAHint, and nobody else's trouble: the kernel would tell
// it to whoever sends or reads next.
func TestAPortThatNobodyHasIsAHint(t *testing.T) {
	netnstest.Enter(t)
	c := udp(t, UDPConfig{Local: at("0.0.0.0:4500"), Encapsulation: true})
	peer := udp(t, UDPConfig{Local: at("127.0.0.2:4502"), Encapsulation: true})
	want := `127.0.0.1:4500 127.0.0.3 says of 127.0.0.3:4501: connection refused ECONNREFUSED "\x00\x00\x00\x00SPIi"`
	send := func(to string) {
		t.Helper()
		if err := c.Send(at("127.0.0.1:4500"), at(to), true, []byte("SPIi")); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
	send("127.0.0.3:4501")
	sameHints(t, hints(t, c), want)
	// While nobody reads: the next sendings meet the error, and go past it.
	for range 3 {
		send("127.0.0.3:4501")
		send("127.0.0.2:4502")
	}
	if n := len(next(t, peer, 3)); n != 3 {
		t.Errorf("%d datagrams", n)
	}
	sameHints(t, hints(t, c), want)
	// Many more than a batch has room for.
	for range 5 * maxHints {
		send("127.0.0.3:4501")
	}
	for n := 0; n < 5*maxHints; {
		found := hints(t, c)
		sameHints(t, found, want)
		n += len(found)
	}
	// And datagrams still come.
	if err := peer.Send(peer.Local(), at("127.0.0.1:4500"), true, []byte("after all")); err != nil {
		t.Fatal(err)
	}
	same(t, next(t, c, 1), got{"127.0.0.1:4500", "127.0.0.2:4502", IKE, 0, "after all"})
}

// TestTooBigForTheDevice: ESP is refused, IKE is fragmented, and neither waits for
// the other.
func TestTooBigForTheDevice(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo mtu 1000")
	for _, port := range []uint16{500, 4500} {
		local, remote := netip.AddrPortFrom(near, port), netip.AddrPortFrom(far, port)
		c, peer := udp(t, UDPConfig{Local: local, Encapsulation: port == 4500}), udp(t, UDPConfig{Local: remote, Encapsulation: port == 4500})
		message := bytes.Repeat([]byte("IKE_SA_INIT "), 300)
		if err := c.Send(local, remote, port == 4500, message); err != nil {
			t.Fatal(err)
		}
		same(t, next(t, peer, 1), got{remote.String(), local.String(), IKE, 0, string(message)})
		if port == 500 {
			continue
		}
		for _, n := range []int{973, 2000} {
			if err := c.SendSegments(local, remote, 0, n, esp(1, 1, n)); !errors.Is(err, ErrTooBig) {
				t.Errorf("a packet of %d octets: %v", n, err)
			}
			if err := c.SendSegments(local, remote, 0, n, append(esp(1, 1, n), esp(1, 2, n)...)); !errors.Is(err, ErrTooBig) {
				t.Errorf("two packets of %d octets: %v", n, err)
			}
		}
		if err := c.SendSegments(local, remote, 0, 972, esp(1, 1, 972)); err != nil {
			t.Error(err)
		}
		if n := c.Counters(); n != (UDPCounters{Sent: 2, TooBig: 4}) {
			t.Errorf("%+v", n)
		}
		if mtu, err := c.PathMTU(netip.Addr{}, far); mtu != 1000 || err != nil {
			t.Errorf("path MTU %d, %v", mtu, err)
		}
	}
}

// TestTooBigForTheWay: a router with a narrower link says so, once, and the kernel
// knows from then on. The quote has the SPI and sequence number of the packet.
func TestTooBigForTheWay(t *testing.T) {
	hostPID := narrowWay(t, narrow4)
	c := udp(t, UDPConfig{Local: at("192.0.2.1:4500"), Device: "w0", Encapsulation: true})
	var peer *UDPConn
	netnstest.In(t, hostPID, func() { peer = udp(t, UDPConfig{Local: at("198.51.100.2:4500"), Encapsulation: true}) })
	to := peer.Local()
	if err := c.SendSegments(c.Local(), to, 0, 1400, esp(7, 9, 1400)); err != nil {
		t.Fatal(err)
	}
	sameHints(t, hints(t, c), fmt.Sprintf("192.0.2.1:4500 192.0.2.254 says of 198.51.100.2:4500: packets above 1300 octets do not fit EMSGSIZE %q", esp(7, 9, 1400)[:quoteSize]))
	if mtu, err := c.PathMTU(c.Local().Addr(), to.Addr()); mtu != 1300 || err != nil {
		t.Errorf("path MTU %d, %v", mtu, err)
	}
	if err := c.SendSegments(c.Local(), to, 0, 1400, esp(7, 10, 1400)); !errors.Is(err, ErrTooBig) {
		t.Errorf("the second one: %v", err)
	}
	if err := c.SendSegments(c.Local(), to, 0, 1272, esp(7, 11, 1272)); err != nil {
		t.Error(err)
	}
	message := bytes.Repeat([]byte("i"), 1400)
	if err := c.Send(c.Local(), to, true, message); err != nil {
		t.Error(err)
	}
	l, r := "198.51.100.2:4500", "192.0.2.1:4500"
	same(t, next(t, peer, 2), got{l, r, ESP, 0, string(esp(7, 11, 1272))}, got{l, r, IKE, 0, string(message)})
}
