// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

// hello is OSPF of a type to all routers, with a number.
func hello(kind, number byte) inner {
	b := append([]byte{0x45, 0xc0, 0, 24, 0, 0, 0, 0, 1, 89, 0, 0}, 10, 0, 0, 11, 224, 0, 0, 5)
	p := inner{append(b, 2, kind, 0, number), ipHeader}
	p.seal()
	return p
}

// TestTheNewestOfAKindIsRemembered, as long as it is news to who joins.
func TestTheNewestOfAKindIsRemembered(t *testing.T) {
	var g greetings
	at := time.Unix(1000, 0)
	wide := must2(parseInner(udp4("10.0.0.11", "239.1.2.3", 5000, nil)))
	part := hello(1, 9)
	binary.BigEndian.PutUint16(part.b[6:], flagMF)
	for i, p := range []inner{hello(4, 1), hello(1, 2), hello(1, 3), wide, part} {
		g.remember(at.Add(time.Duration(i)*time.Second), vnet{}, p)
	}
	g.remember(at.Add(5*time.Second), vnet{gsoType: gsoUDPL4}, hello(1, 8))
	numbers := func(joined time.Duration) (all []byte) {
		for _, one := range g.between(time.Time{}, at.Add(joined)) {
			all = append(all, one.packet.payload()[3])
		}
		return all
	}
	for joined, want := range map[time.Duration]string{0: "", 2 * time.Second: "\x01", 3 * time.Second: "\x01\x03", 11 * time.Second: "\x03", 20 * time.Second: ""} {
		if got := string(numbers(joined)); got != want {
			t.Errorf("who joins after %v gets %x, expected %x", joined, got, want)
		}
	}
	if got := g.between(at, at.Add(3*time.Second)); len(got) != 1 {
		t.Errorf("who was there until the first gets %d, not 1", len(got))
	}
	for kind := range byte(2 * greetingKinds) {
		g.remember(at.Add(6*time.Second+time.Duration(kind)), vnet{}, hello(kind, kind))
	}
	if got := numbers(7 * time.Second); len(got) != greetingKinds || got[0] != greetingKinds {
		t.Errorf("of many kinds %x are left", got)
	}
	if n := testing.AllocsPerRun(100, func() { g.remember(at, vnet{}, hello1) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

var hello1 = hello(1, 1)

// TestWhoJoinsHearsTheNewestHello, in clear: once, and what came later is not said again.
func TestWhoJoinsHearsTheNewestHello(t *testing.T) {
	listed := make(chan []tables.PeerID, 1)
	listed <- nil
	w := newWire(t, func(c *Config) {
		c.Multicast = func(bool) []tables.PeerID { now := <-listed; listed <- now; return now }
	})
	id := w.admit(t, peer1, "10.0.0.1")
	c := w.group(t, "224.0.0.5")
	for _, text := range []string{"older", "newest"} {
		must(c.Write([]byte(text)))(t)
	}
	netnstest.Eventually(t, "they are dropped", func() bool { return w.pump.Multicast().Nobody == 2 })
	w.pump.Greet(id) // gets none
	netnstest.Eventually(t, "that is over", func() bool { return !w.pump.greetings.waits(id) })
	<-listed
	listed <- []tables.PeerID{id}
	w.pump.Greet(id)
	w.pump.Greet(id)
	for _, want := range []string{"newest", "later"} {
		if got := string(w.arrives(t, peer1).payload()[udpHeader:]); got != want {
			t.Fatalf("%q came, expected %q", got, want)
		}
		if want == "newest" {
			must(c.Write([]byte("later")))(t)
		}
	}
	if got, want := w.pump.Multicast(), (MulticastCount{Packets: 1, Copies: 2, Nobody: 2}); got != want {
		t.Errorf("counted %+v, expected %+v", got, want)
	}
}

func (g *greetings) waits(id tables.PeerID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.due[id] != nil
}

// TestCopiesWaitForAnAssociation: multicast to a peer whose SA is not back yet leaves by it,
// and what was sealed for nobody is said again.
func TestCopiesWaitForAnAssociation(t *testing.T) {
	near, far, pid, _ := newSites(t, func(c *Config) { c.Patience = time.Hour; toEverybody(c) })
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	id := a.Owner.(*Secured).Peer
	near.pump.Secure(id, nil)
	netnstest.Run(t, "ip route add 224.0.0.0/4 dev dmvpn0")
	var server *net.UDPConn
	netnstest.In(t, pid, func() {
		device := must(net.InterfaceByName("dmvpn0"))(t)
		server = must(net.ListenMulticastUDP("udp4", device, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("224.0.0.5:5001"))))(t)
	})
	defer server.Close()
	check(t, server.SetReadDeadline(time.Now().Add(60*time.Second)))
	c := must(net.Dial("udp4", "224.0.0.5:5001"))(t)
	defer c.Close()
	for _, text := range []string{"one", "two"} {
		must(c.Write([]byte(text)))(t)
	}
	netnstest.Eventually(t, "they are copied", func() bool { return near.pump.Multicast().Copies == 2 })
	near.pump.Secure(id, a)
	buf, last := make([]byte, 100), ""
	comes := func(all ...string) {
		t.Helper()
		for _, want := range all {
			n, err := server.Read(buf)
			for err == nil && string(buf[:n]) == last && want != last { // it may be said again
				n, err = server.Read(buf)
			}
			if last = want; err != nil || string(buf[:n]) != want {
				t.Fatalf("%q, %v; expected %q; near dropped %s", buf[:n], err, want, near.drops())
			}
		}
	}
	comes("one", "two")
	netnstest.Eventually(t, "the greeting for who is there is over", func() bool { return !near.pump.greetings.waits(id) })
	must(c.Write([]byte("lost")))(t)
	comes("lost")
	again, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	near.pump.Secure(id, again)
	comes("lost") // for all that is known
	if d := near.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
