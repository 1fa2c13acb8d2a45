// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// behindNAT builds
//
//	one 192.168.1.1 ─┐
//	                 ├─ 192.168.1.254 nat 198.19.1.1 ── 198.19.1.254 outside (and 198.19.1.253)
//	two 192.168.1.2 ─┘
func behindNAT(t *testing.T, ports Ports) (one, two, nat, outside *Node) {
	t.Helper()
	l := open(t)
	one, two, nat, outside = l.Node("one"), l.Node("two"), l.Router("nat"), l.Node("outside")
	nat.Bridge("lan", "192.168.1.254/24")
	l.Wire(&Wire{A: End{"one", "eth0", "192.168.1.1/24"}, B: End{"nat", "one", ""}})
	l.Wire(&Wire{A: End{"two", "eth0", "192.168.1.2/24"}, B: End{"nat", "two", ""}})
	nat.Plug("one", "lan")
	nat.Plug("two", "lan")
	l.Wire(&Wire{A: End{"nat", "eth0", "198.19.1.1/24"}, B: End{"outside", "eth0", "198.19.1.254/24"}})
	outside.Address("eth0", "198.19.1.253/24")
	one.Route("192.168.1.254", "default")
	two.Route("192.168.1.254", "default")
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	if err := nat.NAT("eth0", ports); err != nil {
		t.Fatal(err)
	}
	return one, two, nat, outside
}

// listen opens UDP port 4500 of a node's address.
func listen(t *testing.T, n *Node, address string) (conn *net.UDPConn) {
	t.Helper()
	err := n.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 4500)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// seenFrom sends a packet between two sockets and gives where it seems to come from.
func seenFrom(t *testing.T, from, to *net.UDPConn) netip.AddrPort {
	t.Helper()
	if _, err := from.WriteTo([]byte{1}, to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, who, err := to.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func TestTwoBehindANATHaveOneAddress(t *testing.T) {
	one, two, nat, outside := behindNAT(t, KeepPorts)
	server, other := listen(t, outside, "198.19.1.254"), listen(t, outside, "198.19.1.253")
	first, second := listen(t, one, "192.168.1.1"), listen(t, two, "192.168.1.2")

	// Nobody has asked yet: what comes is lost, and takes no port.
	if _, err := server.WriteTo([]byte{1}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("198.19.1.1:4500"))); err != nil {
		t.Fatal(err)
	}
	a, b := seenFrom(t, first, server), seenFrom(t, second, server)
	if public := netip.MustParseAddr("198.19.1.1"); a.Addr() != public || b.Addr() != public || a.Port() != 4500 || b.Port() == 4500 {
		t.Errorf("they seem to be %v and %v", a, b)
	}
	if c := seenFrom(t, first, other); c != a {
		t.Errorf("the first is %v to one and %v to another", a, c)
	}
	if _, err := server.WriteTo([]byte{2}, net.UDPAddrFromAddrPort(b)); err != nil {
		t.Fatal(err)
	}
	if err := second.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(make([]byte, 16)); err != nil {
		t.Errorf("the answer to the second: %v", err)
	}
	if _, err := one.Ping(netip.MustParseAddr("192.168.1.2"), 0, 10*time.Second); err != nil {
		t.Errorf("inside: %v", err)
	}
	// Told to, it gives others to those whom it has forgotten.
	if err := nat.NAT("eth0", PortPerDestination); err != nil {
		t.Fatal(err)
	}
	if c := seenFrom(t, first, server); c != a {
		t.Errorf("the first was %v and became %v", a, c)
	}
	if err := nat.ForgetConnections(); err != nil {
		t.Fatal(err)
	}
	if c := seenFrom(t, first, server); c == a {
		t.Errorf("the first is still %v", a)
	}
}

func TestANATWithAPortPerDestination(t *testing.T) {
	one, _, _, outside := behindNAT(t, PortPerDestination)
	server, other := listen(t, outside, "198.19.1.254"), listen(t, outside, "198.19.1.253")
	first := listen(t, one, "192.168.1.1")
	a, b := seenFrom(t, first, server), seenFrom(t, first, other)
	if a == b || a.Addr() != b.Addr() {
		t.Errorf("it is %v to one and %v to another", a, b)
	}
}

func TestANATWithAnotherPortThatStays(t *testing.T) {
	one, _, _, outside := behindNAT(t, OtherPorts)
	server, other := listen(t, outside, "198.19.1.254"), listen(t, outside, "198.19.1.253")
	first := listen(t, one, "192.168.1.1")
	a, b := seenFrom(t, first, server), seenFrom(t, first, other)
	if a != b || a.Port() == 4500 {
		t.Errorf("it is %v to one and %v to another", a, b)
	}
}
