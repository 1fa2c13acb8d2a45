// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
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
	w.pump.Greet(id, 0) // gets none
	netnstest.Eventually(t, "that is over", func() bool { return !w.pump.greetings.waits(id) })
	<-listed
	listed <- []tables.PeerID{id}
	w.pump.Greet(id, 0)
	w.pump.Greet(id, 0)
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

// TestWhoComesBackIsGreetedWithWhatItMissed: a hello that is from before it was away may be from before
// its sender had heard it.
func TestWhoComesBackIsGreetedWithWhatItMissed(t *testing.T) {
	const it = 7
	for name, c := range map[string]struct {
		away []time.Duration // before it comes back, in the order that they are noted in
		want time.Duration   // 0: ever
	}{
		"never there":                      {},
		"away for a while":                 {away: []time.Duration{3 * time.Second}, want: 3 * time.Second},
		"last heard before it left":        {away: []time.Duration{time.Second, 4 * time.Second}, want: 4 * time.Second},
		"left once more before it is back": {away: []time.Duration{4 * time.Second, time.Second}, want: 4 * time.Second},
		"for as long as a greeting lives":  {away: []time.Duration{greetingAge}},
		"never heard":                      {away: []time.Duration{time.Duration(1<<63 - 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g greetings
				back := time.Now()
				for _, before := range c.away {
					g.leave(it, back.Add(-before))
				}
				want := back.Add(-c.want)
				if c.want == 0 {
					want = time.Time{}
				}
				if got := g.missed(it); got != want {
					t.Errorf("since %v, expected %v", got, want)
				}
				time.Sleep(greetingAge)
				synctest.Wait()
				if len(g.away) != 0 {
					t.Errorf("%v stay behind", g.away)
				}
			})
		})
	}
}

// TestWhoComesBackHearsNothingFromBefore, in clear: as the peer that it was, and as another.
func TestWhoComesBackHearsNothingFromBefore(t *testing.T) {
	listed := make(chan []tables.PeerID, 1)
	w := newWire(t, func(c *Config) {
		c.Multicast = func(bool) []tables.PeerID { now := <-listed; listed <- now; return now }
	})
	was, is := w.admit(t, peer1, "10.0.0.1"), w.admit(t, peer2, "10.0.0.1")
	listed <- []tables.PeerID{was}
	c := w.group(t, "224.0.0.5")
	hears := func(at netip.Addr, want string) {
		t.Helper()
		if got := string(w.arrives(t, at).payload()[udpHeader:]); got != want {
			t.Fatalf("%q came, expected %q", got, want)
		}
	}
	must(c.Write([]byte("before")))(t)
	hears(peer1, "before")
	for _, back := range []struct {
		id, was tables.PeerID
		at      netip.Addr
	}{{was, 0, peer1}, {is, was, peer2}} {
		w.pump.Leave(was)
		w.pump.Greet(back.id, back.was)
		netnstest.Eventually(t, "the greeting is over", func() bool { return !w.pump.greetings.waits(back.id) })
		<-listed
		listed <- []tables.PeerID{back.id}
		must(c.Write([]byte("later")))(t)
		hears(back.at, "later")
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
	netnstest.Eventually(t, "that greeting is over", func() bool { return !near.pump.greetings.waits(id) })
	again.Arrived(time.Now(), again.Path().Remote, true)
	near.pump.Secure(id, nil) // it was heard, and leaves
	third, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	before := near.pump.Multicast().Copies
	near.pump.Secure(id, third)
	netnstest.Eventually(t, "it is back", func() bool { return !near.pump.greetings.waits(id) })
	must(c.Write([]byte("new")))(t)
	comes("new")
	if n := near.pump.Multicast().Copies - before; n != 1 {
		t.Errorf("who left and comes anew was sent %d packets, not the new one alone", n)
	}
	if d := near.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
