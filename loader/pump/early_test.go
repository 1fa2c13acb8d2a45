// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

// What is there before its peer's association leaves by it, before what comes later; when the
// time is over it is dropped and counted, and nothing waits any more.
func TestPacketsWaitForAnAssociation(t *testing.T) {
	const early, late, lost = 50, 10, 5
	near, far, pid, _ := newSites(t, func(c *Config) { c.Patience = time.Hour })
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	id := a.Owner.(*Secured).Peer
	near.pump.Secure(id, nil)
	var server *net.UDPConn
	netnstest.In(t, pid, func() { server = listen(t, "10.0.0.1:5002") })
	check(t, server.SetReadDeadline(time.Now().Add(60*time.Second)))
	c := must(net.Dial("udp4", "10.0.0.1:5002"))(t)
	defer c.Close()
	number := uint32(0)
	send := func(n int) {
		for range n {
			_, err := c.Write(binary.BigEndian.AppendUint32(nil, number))
			check(t, err)
			number++
		}
	}
	queue := near.pump.config.Queues[0]
	read := func(n int) func() bool {
		return func() bool { all, _ := queue.Counters(); return all == uint64(n) }
	}
	send(early)
	netnstest.Eventually(t, "the worker has them", read(early))
	near.pump.Secure(id, a)
	send(late)
	buf := make([]byte, 100)
	for want := range uint32(early + late) {
		n, err := server.Read(buf)
		if err != nil || n != 4 || binary.BigEndian.Uint32(buf) != want {
			t.Fatalf("packet %d: %x, %v; near dropped %s", want, buf[:n], err, near.drops())
		}
	}
	near.pump.Secure(id, nil)
	send(lost)
	netnstest.Eventually(t, "the worker has the last", read(early+late+lost))
	if d := near.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
	near.pump.GiveUp()
	if d := near.drops(); d != "no-sa×5" {
		t.Errorf("dropped: %s", d)
	}
	send(1)
	netnstest.Eventually(t, "nothing waits", func() bool { return near.drops() == "no-sa×6" })
	near.pump.Secure(id, a)
	send(1)
	if n, err := server.Read(buf); err != nil || binary.BigEndian.Uint32(buf) != number-1 {
		t.Errorf("the last: %x, %v", buf[:n], err)
	}
}

// Whoever has many packets that wait takes no place from the others, and holds nobody up: what is
// too much is not kept.
func TestNobodyWaitsBehindAPeerThatStaysAway(t *testing.T) {
	p := &Pump{}
	p.secured.peer = map[tables.PeerID]*esp.Association{}
	p.early.begin(p, time.Hour)
	packet := inner{b: make([]byte, 64<<10)}
	kept := func(id tables.PeerID) bool { _, kept := p.early.keep(p, id, vnet{}, packet); return kept }
	fill := func(id tables.PeerID) (octets int) {
		for kept(id) {
			octets += len(packet.b)
		}
		return octets
	}
	if n := fill(1); n != mostOfOne {
		t.Errorf("%d octets wait for one peer", n)
	}
	all, others := mostOfOne, tables.PeerID(2)
	for ; kept(others); others++ {
		all += len(packet.b) + fill(others)
	}
	if all != mostEarly || others < 8 {
		t.Errorf("%d octets wait for %d peers", all, others-1)
	}
	p.early.mu.Lock()
	p.early.take(1)
	p.early.mu.Unlock()
	if n := fill(others); n != mostOfOne {
		t.Errorf("%d octets have the room of those that left", n)
	}
}
