// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

// toEverybody lets every peer of the tunnel have multicast.
func toEverybody(c *Config) {
	t := c.Tables
	c.Multicast = func(bool) (all []tables.PeerID) {
		for _, p := range t.Peers() {
			all = append(all, p.ID)
		}
		return all
	}
}

func TestMulticastGoesToThoseWhoGetIt(t *testing.T) {
	for _, group := range []string{"224.0.0.5", "239.1.2.3", "255.255.255.255"} {
		t.Run(group, func(t *testing.T) {
			var listed []tables.PeerID
			w := newWire(t, func(c *Config) { c.Multicast = func(bool) []tables.PeerID { return listed } })
			first, second := w.admit(t, peer1, "10.0.0.1"), w.admit(t, peer2, "10.0.0.2")
			listed = []tables.PeerID{first, second}
			c := w.group(t, group)
			must(c.Write([]byte("hello")))(t)
			for _, at := range []netip.Addr{peer1, peer2} {
				got := w.arrives(t, at)
				if string(got.payload()[udpHeader:]) != "hello" || fold(sum(got.pseudo(), got.payload())) != 0xffff || got.destination().String() != group {
					t.Errorf("at %s: %x", at, got.b)
				}
			}
			listed = []tables.PeerID{second}
			must(c.Write([]byte("again")))(t)
			if got := w.arrives(t, peer2); string(got.payload()[udpHeader:]) != "again" {
				t.Errorf("got %x", got.b)
			}
			netnstest.Eventually(t, "they are counted", func() bool { // after they were sent
				return must(w.tables.Stats(first))(t).TxPackets == 1 && must(w.tables.Stats(second))(t).TxPackets == 2
			})
			if got, want := w.pump.Multicast(), (MulticastCount{Packets: 2, Copies: 3}); got != want {
				t.Errorf("counted %+v, expected %+v", got, want)
			}
		})
	}
}

// group opens a socket to a group by the tunnel.
func (w *wire) group(t *testing.T, group string) net.Conn {
	t.Helper()
	netnstest.Run(t, "ip route replace "+group+" dev dmvpn0")
	netnstest.Run(t, "ip route replace 224.0.0.0/4 dev dmvpn0")
	c := must(net.Dial("udp4", group+":5001"))(t)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestAPacketIsForAllOrForNobody: the limit counts copies, and never leaves the last ones of
// the list without.
func TestAPacketIsForAllOrForNobody(t *testing.T) {
	b := bucket{rate: 10, burst: 4}
	at := time.Unix(100, 0)
	for _, step := range []struct {
		after time.Duration
		n     int
		want  bool
	}{
		{0, 3, true},
		{0, 2, false}, // one is left
		{0, 1, true},
		{100 * time.Millisecond, 1, true},
		{time.Hour, 40, true},               // more than a burst: at once, and then
		{3500 * time.Millisecond, 1, false}, // 3.6 s pass until the debt is paid
		{200 * time.Millisecond, 1, true},   // and one is there
		{10 * time.Millisecond, 1, false},
	} {
		at = at.Add(step.after)
		if got := b.takeMany(at, step.n); got != step.want {
			t.Fatalf("%+v: %v", step, got)
		}
	}
}

// TestGroupsOfTheNodeStayThere: ff00::/16 and ff01::/16, whatever their flags, go to nobody.
func TestGroupsOfTheNodeStayThere(t *testing.T) {
	for group, want := range map[string]bool{"ff00::1": false, "ff01::1": false, "ff11::1": false, "ff02::1": true, "ff0e::1": true} {
		b := make([]byte, 40)
		b[0] = 6 << 4
		copy(b[24:], netip.MustParseAddr(group).AsSlice())
		packet, ok := parseInner(b)
		if !ok || packet.leaves() != want {
			t.Errorf("%s: parsed %v, leaves %v, want %v", group, ok, packet.leaves(), want)
		}
	}
}

// TestAStreamOfMulticastLeavesRoomForHellos: what stays on the link has a share of its own.
func TestAStreamOfMulticastLeavesRoomForHellos(t *testing.T) {
	w := newWire(t, toEverybody, func(c *Config) { c.MulticastRate, c.MulticastBurst = 1, 20 })
	w.admit(t, peer1, "10.0.0.1")
	stream, hello := w.group(t, "239.1.2.3"), w.group(t, "224.0.0.5")
	for range 200 {
		must(stream.Write([]byte("stream")))(t)
	}
	netnstest.Eventually(t, "the stream is limited", func() bool { return w.pump.Multicast().Limited > 100 })
	must(hello.Write([]byte("hello")))(t)
	var came []string
	for len(came) < 40 && !slices.Contains(came, "hello") {
		came = append(came, string(w.arrives(t, peer1).payload()[udpHeader:]))
	}
	if !slices.Contains(came, "hello") {
		t.Errorf("no hello in %v", came)
	}
	if d := w.drops(t); d != "multicast-rate" {
		t.Errorf("dropped: %s", d)
	}
}
