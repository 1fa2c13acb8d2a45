// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
	"dmvpn/loader/underlay"
)

func TestOuterFragmentsArriveByTheTunnelDevice(t *testing.T) {
	w := newWire(t)
	id := w.admit(t, peer1, "10.0.0.1")
	c := listen(t, "10.0.0.11:5000")
	data := bytes.Repeat([]byte("ab"), 600)
	w.sendFragments(t, peer1, udp4("10.0.0.1", "10.0.0.11", 5000, data))
	b := make([]byte, 2000)
	n, err := c.Read(b)
	if err != nil || !bytes.Equal(b[:n], data) {
		t.Fatalf("got %d octets, %v; drops: %s", n, err, w.drops(t))
	}
	netnstest.Eventually(t, "it is counted", func() bool { // after it was handed over
		s := must(w.tables.Stats(id))(t)
		return s.RxPackets == 1 && s.RxBytes == uint64(len(data)+28) && !s.RxLast.IsZero()
	})
}

func TestFragmentsFromAStrangerAreDropped(t *testing.T) {
	w := newWire(t)
	w.sendFragments(t, peer2, udp4("10.0.0.2", "10.0.0.11", 5000, make([]byte, 800)))
	netnstest.Eventually(t, "it is counted", func() bool { return w.drops(t) == "unknown-peer" })
}

func TestWhatIsWrongInsideFragmentsIsDroppedByItsReason(t *testing.T) {
	w := newWire(t)
	w.admit(t, peer1, "10.0.0.1")
	short := udp4("10.0.0.1", "10.0.0.11", 5000, make([]byte, 800))
	w.sendFragments(t, peer1, short[:len(short)-1])
	netnstest.Eventually(t, "inner-header", func() bool { return w.drops(t) == "inner-header" })
}

func TestNHRPGoesBothWays(t *testing.T) {
	w := newWire(t)
	h := header
	h.Protocol = underlay.ProtocolNHRP
	check(t, w.far[peer2].Send(local, h, 0, []byte("registration request")))
	select {
	case got := <-w.nhrp:
		if got != "192.0.2.2 registration request" {
			t.Errorf("got %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("nothing came; drops: %s", w.drops(t))
	}
	check(t, w.pump.SendNHRP(peer2, []byte("registration reply")))
	check(t, w.far[peer2].File().SetReadDeadline(time.Now().Add(5*time.Second)))
	got := must(w.far[peer2].Read(make([]byte, 2000)))(t)
	if got.Protocol != underlay.ProtocolNHRP || got.Key != key || got.TOS != tosControl || string(got.Payload) != "registration reply" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatHasNoPeerIsCounted(t *testing.T) {
	w := newWire(t)
	c := must(net.Dial("udp4", "10.0.0.77:5001"))(t)
	defer c.Close()
	must(c.Write([]byte("hello")))(t)
	netnstest.Eventually(t, "it is counted", func() bool { return w.drops(t) == "no-nexthop" })
}

// pmtu opens a UDP socket to 10.0.0.1 with the kernel's path MTU discovery on or
// off.
func pmtu(t *testing.T, discover int) *net.UDPConn {
	t.Helper()
	c := must(net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:5001"))))(t)
	t.Cleanup(func() { _ = c.Close() })
	raw := must(c.SyscallConn())(t)
	check(t, raw.Control(func(fd uintptr) {
		check(t, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover))
	}))
	return c
}

func TestWhatIsTooBigForThePeerIsAnsweredWithItsMTU(t *testing.T) {
	w := newWire(t)
	check(t, w.tables.Describe(w.admit(t, peer1, "10.0.0.1"), netip.Addr{}, 1000))
	c := pmtu(t, unix.IP_PMTUDISC_DO)
	must(c.Write(make([]byte, 1200)))(t)
	netnstest.Eventually(t, "the sender knows", func() bool {
		_, err := c.Write(make([]byte, 1200))
		return errors.Is(err, unix.EMSGSIZE)
	})
	if got := netnstest.Run(t, "ip route get 10.0.0.1"); !strings.Contains(got, "mtu 1000") {
		t.Errorf("the sender learned another MTU: %s", got)
	}
	netnstest.Eventually(t, "what fits is sent", func() bool {
		_, err := c.Write(make([]byte, 1000-28))
		return err == nil // errors about those before come first
	})
	if got := w.arrives(t, peer1); len(got.b) != 1000 {
		t.Errorf("got %d octets", len(got.b))
	}
}

func TestWhatMayBeCutIsCut(t *testing.T) {
	w := newWire(t)
	check(t, w.tables.Describe(w.admit(t, peer1, "10.0.0.1"), netip.Addr{}, 700))
	c := pmtu(t, unix.IP_PMTUDISC_DONT)
	data := bytes.Repeat([]byte("0123"), 300)
	must(c.Write(data))(t)
	var whole []byte
	for len(whole) < len(data)+udpHeader {
		f := w.arrives(t, peer1)
		if len(f.b) > 700 || int(f.fragment()&offsetMask)*8 != len(whole) {
			t.Fatalf("fragment of %d octets at %d", len(f.b), f.fragment()&offsetMask*8)
		}
		whole = append(whole, f.payload()...)
	}
	if !bytes.Equal(whole[udpHeader:], data) {
		t.Error("the pieces do not fit")
	}
}

// TestANarrowPathLowersThePeersMTU: a route with a lower MTU stands for what
// ICMP teaches the kernel.
func TestANarrowPathLowersThePeersMTU(t *testing.T) {
	w := newWire(t)
	id := w.admit(t, peer1, "10.0.0.1")
	netnstest.Run(t, "ip route add 192.0.2.1/32 dev w0 mtu 1100")
	now := func() int { peer, _ := w.tables.Peer(id); return peer.MTU }
	w.pump.learn(id)
	if got := now(); got != 1100-28 {
		t.Errorf("MTU %d", got)
	}
	w.admit(t, peer1, "10.0.0.1") // it registers again
	if got := now(); got != 1100-28 {
		t.Errorf("MTU after a renewal: %d", got)
	}
	w.pump.restore(id)
	if got := now(); got != 0 {
		t.Errorf("after ten minutes: %d", got)
	}
	w.pump.learn(id)
	w.pump.Forget()
	if got := now(); got != 0 {
		t.Errorf("after the end: %d", got)
	}
}
