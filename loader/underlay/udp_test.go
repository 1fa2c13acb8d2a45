// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"bytes"
	"encoding/binary"
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

func udp(t testing.TB, c UDPConfig) *UDPConn {
	t.Helper()
	conn, err := OpenUDP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func at(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// got is a datagram that outlives its batch.
type got struct {
	local, remote string
	kind          Kind
	tos           uint8
	data          string
}

// next reads until there are so many datagrams.
func next(t testing.TB, c *UDPConn, n int) []got {
	t.Helper()
	b := NewBatch(4)
	var all []got
	for len(all) < n {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadBatch(b); err != nil {
			t.Fatalf("%v after %v", err, all)
		}
		for _, d := range b.Datagrams {
			all = append(all, got{d.Local.String(), d.Remote.String(), d.Kind, d.TOS, string(d.Data)})
		}
	}
	return all
}

func same(t testing.TB, all []got, want ...got) {
	t.Helper()
	if fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", all, want)
	}
}

// The far end is in the same namespace, on lo with its many addresses.
func TestDatagramsAreSortedOut(t *testing.T) {
	netnstest.Enter(t)
	ike, natt := udp(t, UDPConfig{Local: at("127.0.0.1:500"), Device: "lo", Mark: 9}), udp(t, UDPConfig{Local: at("127.0.0.1:4500"), Encapsulation: true})
	peer, peerNATT := udp(t, UDPConfig{Local: at("127.0.0.2:500")}), udp(t, UDPConfig{Local: at("127.0.0.2:4500"), Encapsulation: true})
	send := func(c *UDPConn, to string, marker bool, data string) {
		t.Helper()
		if err := c.Send(netip.AddrPort{}, at(to), marker, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	send(ike, "127.0.0.2:500", false, "")
	send(ike, "127.0.0.2:500", false, "\xff")
	send(ike, "127.0.0.2:500", false, "\x00\x00\x00\x00 an initiator's SPI may begin so")
	same(t, next(t, peer, 1), got{"127.0.0.2:500", "127.0.0.1:500", IKE, 0, "\x00\x00\x00\x00 an initiator's SPI may begin so"})
	if n := peer.Counters(); n != (UDPCounters{IKE: 1, Keepalives: 1, Garbage: 1}) {
		t.Errorf("port 500: %+v", n)
	}
	if n := ike.Counters(); n != (UDPCounters{Sent: 3}) {
		t.Errorf("port 500, the sender: %+v", n)
	}

	t.Run("nat-non-esp-marker", func(t *testing.T) {
		send(natt, "127.0.0.2:4500", false, "\xff")
		send(natt, "127.0.0.2:4500", false, "")
		send(natt, "127.0.0.2:4500", false, "\xff\xff")
		send(natt, "127.0.0.2:4500", false, "\x00\x00\x00")
		send(natt, "127.0.0.2:4500", false, "\x00\x00\x01\x00\x00\x00\x01")
		send(natt, "127.0.0.2:4500", true, "a message")
		send(natt, "127.0.0.2:4500", false, "\x00\x00\x01\x00\x00\x00\x00\x01")
		same(t, next(t, peerNATT, 2), got{"127.0.0.2:4500", "127.0.0.1:4500", IKE, 0, "a message"},
			got{"127.0.0.2:4500", "127.0.0.1:4500", ESP, 0, "\x00\x00\x01\x00\x00\x00\x00\x01"})
		if n := peerNATT.Counters(); n != (UDPCounters{IKE: 1, ESP: 1, Keepalives: 1, Garbage: 4}) {
			t.Errorf("port 4500: %+v", n)
		}
	})
}

// TestTheAnswerLeavesFromWhereTheQuestionWent: a host with several addresses and
// one socket for all of them.
func TestTheAnswerLeavesFromWhereTheQuestionWent(t *testing.T) {
	netnstest.Enter(t)
	hub := udp(t, UDPConfig{Local: netip.AddrPortFrom(netip.Addr{}, 4500), Encapsulation: true})
	spoke := udp(t, UDPConfig{Local: at("127.0.0.9:1024"), Encapsulation: true}) // of a NAT
	for _, to := range []string{"127.0.0.2:4500", "127.0.0.3:4500", "127.0.0.1:4500"} {
		if err := spoke.Send(spoke.Local(), at(to), true, []byte("question")); err != nil {
			t.Fatal(err)
		}
		question := next(t, hub, 1)
		same(t, question, got{to, "127.0.0.9:1024", IKE, 0, "question"})
		if err := hub.Send(at(question[0].local), at(question[0].remote), true, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		same(t, next(t, spoke, 1), got{"127.0.0.9:1024", to, IKE, 0, "answer"})
	}
	if err := hub.Send(at("192.0.2.99:4500"), spoke.Local(), true, nil); err == nil || !strings.Contains(err.Error(), "no address of ours") {
		t.Errorf("from an address that we do not have: %v", err)
	}
	if err := hub.Send(at("127.0.0.2:4500"), at("[2001:db8::1]:4500"), true, nil); err == nil || !errors.Is(err, ErrFamily) {
		t.Errorf("to IPv6: %v", err)
	}
}

// esp is a packet of n octets with an SPI and a sequence number.
func esp(spi, sequence byte, n int) []byte {
	return append([]byte{0, 0, 1, spi, 0, 0, 0, sequence}, bytes.Repeat([]byte{spi}, n-8)...)
}

// this namespace            the other
// w0 192.0.2.1/24 ───────── w0 192.0.2.2/24
func twoHosts(t testing.TB) (run func(string) string, pid string) {
	t.Helper()
	netnstest.Enter(t)
	run, pid = netnstest.Other(t)
	netnstest.Run(t, "ip link add w0 type veth peer name w0 netns "+pid)
	netnstest.Run(t, "ip address add 192.0.2.1/24 dev w0")
	netnstest.Run(t, "ip link set w0 up")
	run("ip address add 192.0.2.2/24 dev w0")
	run("ip link set w0 up")
	return run, pid
}

// TestMergedDatagramsAreTakenApart: ESP of two SPIs, IKE and a keepalive in one
// buffer, as GRO makes it of one peer's datagrams.
func TestMergedDatagramsAreTakenApart(t *testing.T) {
	run, pid := twoHosts(t)
	run("ethtool -K w0 gro on")
	near := udp(t, UDPConfig{Local: at("192.0.2.1:4500"), Encapsulation: true})
	var far *UDPConn
	netnstest.In(t, pid, func() { far = udp(t, UDPConfig{Local: at("192.0.2.2:4500"), Encapsulation: true}) })
	parts := [][]byte{esp(1, 1, 60), esp(1, 2, 60), append(make([]byte, 4), bytes.Repeat([]byte("i"), 56)...), esp(2, 1, 60), {0xFF}}
	if err := near.SendSegments(near.Local(), far.Local(), 0xb9, 60, bytes.Join(parts, nil)); err != nil {
		t.Fatal(err)
	}
	// The last one comes by itself, for the read to have an end.
	if err := near.SendSegments(near.Local(), far.Local(), 0, 1400, esp(3, 1, 100)); err != nil {
		t.Fatal(err)
	}
	l, r := "192.0.2.2:4500", "192.0.2.1:4500"
	same(t, next(t, far, 5), got{l, r, ESP, 0xb9, string(parts[0])}, got{l, r, ESP, 0xb9, string(parts[1])}, got{l, r, IKE, 0xb9, string(parts[2][4:])},
		got{l, r, ESP, 0xb9, string(parts[3])}, got{l, r, ESP, 0, string(esp(3, 1, 100))})
	if n := far.Counters(); n != (UDPCounters{IKE: 1, ESP: 4, Keepalives: 1}) {
		t.Errorf("%+v", n)
	}
	if n := near.Counters(); n != (UDPCounters{Sent: 6}) {
		t.Errorf("the sender: %+v", n)
	}
	var whole []byte
	for i := range MaxSegments + 1 {
		whole = append(whole, esp(1, byte(i), 100)...)
	}
	if err := near.SendSegments(near.Local(), far.Local(), 0, 100, whole); err == nil {
		t.Error("65 segments were taken")
	}
	if err := near.SendSegments(near.Local(), far.Local(), 0, 100, whole[:6400]); err != nil {
		t.Fatal(err)
	}
	b := NewBatch(4)
	if err := far.ReadBatch(b); err != nil || b.read != 1 || len(b.Datagrams) != 64 {
		t.Fatalf("%d packets in %d messages, %v", len(b.Datagrams), b.read, err)
	}
	for i, d := range b.Datagrams {
		if !bytes.Equal(d.Data, esp(1, byte(i), 100)) {
			t.Fatalf("packet %d: %q", i, d.Data)
		}
	}
}

// TestADeviceWithoutChecksumsGetsPacketAfterPacket: for it the kernel does not
// take a buffer apart.
func TestADeviceWithoutChecksumsGetsPacketAfterPacket(t *testing.T) {
	_, pid := twoHosts(t)
	netnstest.Run(t, "ethtool -K w0 tx off")
	near := udp(t, UDPConfig{Local: at("192.0.2.1:4500"), Encapsulation: true})
	var far *UDPConn
	netnstest.In(t, pid, func() { far = udp(t, UDPConfig{Local: at("192.0.2.2:4500"), Encapsulation: true}) })
	if err := near.SendSegments(near.Local(), far.Local(), 0, 100, append(esp(1, 1, 100), esp(1, 2, 50)...)); err != nil {
		t.Fatal(err)
	}
	l, r := "192.0.2.2:4500", "192.0.2.1:4500"
	same(t, next(t, far, 2), got{l, r, ESP, 0, string(esp(1, 1, 100))}, got{l, r, ESP, 0, string(esp(1, 2, 50))})
	if n := near.Counters(); n != (UDPCounters{Sent: 2}) {
		t.Errorf("%+v", n)
	}
}

// TestSocketsOfTwoDevicesDoNotMix: the same addresses on both.
//
//	a0 192.0.2.1/24 ── a0 192.0.2.2/24   of the other namespace
//	b0 192.0.2.1/24 ── b0 192.0.2.2/24
func TestSocketsOfTwoDevicesDoNotMix(t *testing.T) {
	netnstest.Enter(t)
	run, pid := netnstest.Other(t)
	here := func(command string) string { return netnstest.Run(t, command) }
	for _, device := range []string{"a0", "b0"} {
		here("ip link add " + device + " type veth peer name " + device + " netns " + pid)
		for host, do := range []func(string) string{here, run} {
			do(fmt.Sprintf("ip address add 192.0.2.%d/24 dev %s", host+1, device))
			do("ip link set " + device + " up")
		}
	}
	open := func(address, device string) *UDPConn {
		return udp(t, UDPConfig{Local: at(address), Device: device, Encapsulation: true})
	}
	var far []*UDPConn
	netnstest.In(t, pid, func() { far = []*UDPConn{open("192.0.2.2:4500", "a0"), open("192.0.2.2:4500", "b0")} })
	for i, device := range []string{"a0", "b0"} {
		// On one by its address, on the other by all that it has.
		near := open([]string{"192.0.2.1:4500", "0.0.0.0:4500"}[i], device)
		if err := near.Send(near.Local(), at("192.0.2.2:4500"), true, []byte(device)); err != nil {
			t.Fatal(err)
		}
		same(t, next(t, far[i], 1), got{"192.0.2.2:4500", "192.0.2.1:4500", IKE, 0, device})
		if err := far[i].Send(at("192.0.2.2:4500"), at("192.0.2.1:4500"), true, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		same(t, next(t, near, 1), got{"192.0.2.1:4500", "192.0.2.2:4500", IKE, 0, "answer"})
	}
}

func TestAUDPSocketIsAdoptedIfItIsBoundTheSame(t *testing.T) {
	netnstest.Enter(t)
	c := UDPConfig{Local: at("127.0.0.1:4500"), Device: "lo", Mark: 9, Encapsulation: true}
	a := udp(t, c)
	c.Adopt = a.File()
	if again := udp(t, c); again.File() != a.File() {
		t.Error("another socket was opened")
	}
	other := c
	other.Local = at("127.0.0.2:4500")
	if o := udp(t, other); o.File() == c.Adopt || o.Local() != other.Local {
		t.Error("a socket of another address was adopted")
	}
	if err := a.ReadBatch(NewBatch(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the socket that was not taken should be closed: %v", err)
	}
	// Of another kind, or with the kernel taking ESP.
	gre := conn(t, Config{Local: near, Device: "lo", Mark: 9})
	c.Adopt = gre.File()
	if o := udp(t, c); o.File() == c.Adopt {
		t.Error("a raw socket was adopted")
	}
	c.Local = at("127.0.0.3:4500")
	a = udp(t, c)
	control(t, a, func(fd int) {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP); err != nil {
			t.Fatal(err)
		}
	})
	c.Adopt = a.File()
	o := udp(t, c)
	if o.File() == c.Adopt {
		t.Error("a socket with UDP_ENCAP was adopted")
	}
	control(t, o, func(fd int) {
		if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP); v != 0 || err != nil {
			t.Errorf("UDP_ENCAP %d, %v", v, err)
		}
	})
}

func control(t *testing.T, c *UDPConn, fn func(fd int)) {
	t.Helper()
	if err := c.descriptor.Control(func(fd uintptr) { fn(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

func TestUDPSocketsThatCannotBeNameTheRemedy(t *testing.T) {
	netnstest.Enter(t)
	udp(t, UDPConfig{Local: at("127.0.0.1:500")})
	for want, c := range map[string]UDPConfig{
		"another program has the port": {Local: at("127.0.0.1:500")},
		"bind to device w9":            {Local: at("127.0.0.2:500"), Device: "w9"},
		"no device has the address":    {Local: at("192.0.2.1:500")},
		"no address without a zone":    {Local: at("[fe80::1%lo]:500")},
	} {
		if _, err := OpenUDP(c); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.Local.String()) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestNothingIsMissedBetweenBatches: what arrives while a batch is taken, when the reader has
// seen the socket empty, is given next.
func TestNothingIsMissedBetweenBatches(t *testing.T) {
	netnstest.Enter(t)
	near, far := udp(t, UDPConfig{Local: at("127.0.0.1:500")}), udp(t, UDPConfig{Local: at("127.0.0.2:500")})
	const all = 5000
	sent, received := 0, 0
	send := func(n int) {
		for range n {
			if err := near.Send(netip.AddrPort{}, far.Local(), false, binary.BigEndian.AppendUint32(nil, uint32(sent))); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	if err := far.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := NewBatch(4)
	send(1)
	err := far.ReadBatches(b, func() bool {
		for _, d := range b.Datagrams {
			if n := binary.BigEndian.Uint32(d.Data); int(n) != received {
				t.Fatalf("number %d after %d others", n, received)
			}
			received++
		}
		if received == sent {
			send(1 + received%9) // less than a batch, one, and more
		}
		return received < all
	})
	if err != nil || received < all {
		t.Errorf("%d of %d: %v", received, sent, err)
	}
}

func TestAReadOfUDPEnds(t *testing.T) {
	netnstest.Enter(t)
	c := udp(t, UDPConfig{Local: at("127.0.0.1:500")})
	done := make(chan error)
	read := func() { done <- c.ReadBatch(NewBatch(1)) }
	go read()
	time.Sleep(10 * time.Millisecond)
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("by deadline: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go read()
	time.Sleep(10 * time.Millisecond)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("by closing: %v", err)
	}
	if err := c.Send(c.Local(), at("127.0.0.1:500"), false, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send: %v", err)
	}
}

// TestASlowDeviceHoldsNobodyUp: ESP that does not fit into the socket's buffer is refused, and
// nothing else is lost; IKE waits.
func TestASlowDeviceHoldsNobodyUp(t *testing.T) {
	_, pid := twoHosts(t)
	netnstest.Run(t, "tc qdisc add dev w0 root tbf rate 20mbit burst 10kb limit 10mb")
	c := udp(t, UDPConfig{Local: at("192.0.2.1:4500"), Encapsulation: true})
	var far *UDPConn
	netnstest.In(t, pid, func() { far = udp(t, UDPConfig{Local: at("192.0.2.2:4500"), Encapsulation: true}) })
	control(t, c, func(fd int) {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8192); err != nil {
			t.Fatal(err)
		}
	})
	const each, messages = 200, 20
	sent, refused := 0, 0
	for i := range each {
		var full *Full
		switch err := c.SendSegments(c.Local(), far.Local(), 0, 1400, esp(1, byte(i), 1400)); {
		case err == nil:
			sent++
		case errors.As(err, &full) && full.Sent == 0:
			refused++
		default:
			t.Fatal(err)
		}
	}
	for range messages {
		if err := c.Send(c.Local(), far.Local(), true, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[Kind]int{}
	for _, d := range next(t, far, sent+messages) {
		kinds[d.kind]++
	}
	if refused == 0 || kinds[ESP] != sent || kinds[IKE] != messages {
		t.Errorf("%d packets sent, %d refused; there were %v", sent, refused, kinds)
	}
	if n := c.Counters(); n.Failed != uint64(refused) || n.Sent != uint64(sent+messages) {
		t.Errorf("counters %+v", n)
	}
}
