// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

const fullTransfer = 16 << 20 // octets

// transfer is what is sent each way; an emulated machine is spared.
func transfer() int {
	if testing.Short() {
		return fullTransfer / 8
	}
	return fullTransfer
}

// cloud is a hub with two spokes, each behind a wire of its own, and a LAN host
// behind each spoke:
//
//	lanA 10.10.1.2 ── a 203.0.113.2 ──┐             ┌── b 203.0.113.6 ── lanB 10.10.2.2
//	                  10.0.0.2        ├── internet ──┤   10.0.0.3
//	                                  │             │
//	                              hub 198.51.100.1, 10.0.0.1
type cloud struct{ internet, hub, a, b, lanA, lanB *node }

// newCloud makes it. Spokes reach each other through the hub, on tunnel dmvpn0;
// b stands on hub's tunnel hubToB, which may be another.
func newCloud(t testing.TB, hubToB string, keyB, flagsB uint32) *cloud {
	t.Helper()
	const key = 42
	c := &cloud{newNode(t), newNode(t), newNode(t), newNode(t), newNode(t), newNode(t)}
	wire(t, c.hub, "u0", "198.51.100.1/24", c.internet, "h", "198.51.100.254/24")
	wire(t, c.a, "u0", "203.0.113.2/30", c.internet, "a", "203.0.113.1/30")
	wire(t, c.b, "u0", "203.0.113.6/30", c.internet, "b", "203.0.113.5/30")
	wire(t, c.lanA, "e0", "10.10.1.2/24", c.a, "l0", "10.10.1.1/24")
	wire(t, c.lanB, "e0", "10.10.2.2/24", c.b, "l0", "10.10.2.1/24")
	for _, n := range []struct {
		*node
		gateway string
	}{{c.hub, "198.51.100.254"}, {c.a, "203.0.113.1"}, {c.b, "203.0.113.5"}} {
		n.via(t, "0.0.0.0/0", n.gateway, "u0")
	}
	c.lanA.via(t, "0.0.0.0/0", "10.10.1.1", "e0")
	c.lanB.via(t, "0.0.0.0/0", "10.10.2.1", "e0")

	c.hub.addTunnel(t, "dmvpn0", "10.0.0.1/24", "u0", "198.51.100.1", key, flagKey|flagMSSClamp)
	c.a.addTunnel(t, "dmvpn0", "10.0.0.2/24", "u0", "203.0.113.2", key, flagKey|flagMSSClamp)
	addressB, hubB := "10.0.0.3", "10.0.0.1"
	if hubToB != "dmvpn0" {
		addressB, hubB = "10.1.0.3", "10.1.0.1"
		c.hub.addTunnel(t, hubToB, hubB+"/24", "u0", "198.51.100.1", keyB, flagsB)
	}
	c.b.addTunnel(t, "dmvpn0", addressB+"/24", "u0", "203.0.113.6", keyB, flagsB)

	c.hub.addPeer(t, "dmvpn0", "10.0.0.2", "203.0.113.2")
	c.hub.addPeer(t, hubToB, addressB, "203.0.113.6")
	c.a.addPeer(t, "dmvpn0", "10.0.0.1", "198.51.100.1")
	c.b.addPeer(t, "dmvpn0", hubB, "198.51.100.1")
	c.hub.via(t, "10.10.1.0/24", "10.0.0.2", "dmvpn0")
	c.hub.via(t, "10.10.2.0/24", addressB, hubToB)
	c.a.via(t, "10.10.0.0/16", "10.0.0.1", "dmvpn0")
	c.b.via(t, "10.10.0.0/16", hubB, "dmvpn0")
	c.b.via(t, "10.0.0.0/16", hubB, "dmvpn0")
	return c
}

func (c *cloud) nodes() map[string]*node {
	return map[string]*node{"hub": c.hub, "a": c.a, "b": c.b, "lanA": c.lanA, "lanB": c.lanB}
}

// TestGSO sends TCP both ways over each kind of path. What arrives is what was
// sent, no checksum is wrong and nothing is dropped.
func TestGSO(t *testing.T) {
	const keyed = flagKey | flagMSSClamp
	toHub := path{address: "10.0.0.1", server: func(c *cloud) *node { return c.hub }, client: func(c *cloud) *node { return c.a }}
	lanToHub := path{address: "10.0.0.1", server: func(c *cloud) *node { return c.hub }, client: func(c *cloud) *node { return c.lanA }}
	hairpin := path{address: "10.10.2.2", server: func(c *cloud) *node { return c.lanB }, client: func(c *cloud) *node { return c.lanA }}
	six := path{address: "fd10:0:2::2", server: hairpin.server, client: hairpin.client}
	sixToHub := path{address: "fd00::1", server: lanToHub.server, client: lanToHub.client}
	for _, c := range []struct {
		name   string
		path   path
		hubToB string
		key    uint32
		flags  uint32
		// segments: the underlay has no offload but receives by GRO, so that the
		// kernel cuts GRE packets itself, and joins them again.
		segments bool
		// a6, b6: the spoke is reached by IPv6.
		a6, b6 bool
		// large: octets that a packet on the hub's wire has at least, on average.
		large uint64
	}{
		{name: "spoke to hub", path: toHub, hubToB: "dmvpn0", key: 42, flags: keyed, large: 4000},
		{name: "LAN to hub", path: lanToHub, hubToB: "dmvpn0", key: 42, flags: keyed, large: 4000},
		{name: "LAN to LAN through the hub, a hairpin", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, large: 4000},
		{name: "LAN to LAN through two tunnels of the hub, one without a key", path: hairpin, hubToB: "dmvpn1", flags: flagMSSClamp, large: 4000},
		{name: "spoke to hub over an underlay without offloads", path: toHub, hubToB: "dmvpn0", key: 42, flags: keyed, segments: true},
		{name: "a hairpin over an underlay without offloads", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, segments: true},
		{name: "IPv6 from a LAN to the hub", path: sixToHub, hubToB: "dmvpn0", key: 42, flags: keyed, large: 4000},
		{name: "IPv6 from LAN to LAN, a hairpin", path: six, hubToB: "dmvpn0", key: 42, flags: keyed, large: 4000},
		{name: "IPv6 from LAN to LAN through two tunnels of the hub, one without a key", path: six, hubToB: "dmvpn1", flags: flagMSSClamp, large: 4000},
		{name: "IPv6 to the hub over an underlay without offloads", path: sixToHub, hubToB: "dmvpn0", key: 42, flags: keyed, segments: true},
		{name: "an IPv6 hairpin over an underlay without offloads", path: six, hubToB: "dmvpn0", key: 42, flags: keyed, segments: true},
		{name: "spoke to hub over IPv6", path: toHub, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, large: 4000},
		{name: "LAN to hub over IPv6", path: lanToHub, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, large: 4000},
		{name: "a hairpin over IPv6", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, b6: true, large: 4000},
		{name: "a hairpin from IPv6 to IPv4", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, large: 4000},
		{name: "a hairpin through two tunnels, one without a key and over IPv4", path: hairpin, hubToB: "dmvpn1", flags: flagMSSClamp, a6: true, large: 4000},
		{name: "a hairpin over IPv6 without offloads", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, b6: true, segments: true},
		{name: "a hairpin from IPv6 to IPv4 without offloads", path: hairpin, hubToB: "dmvpn0", key: 42, flags: keyed, b6: true, segments: true},
		{name: "IPv6 to the hub over IPv6", path: sixToHub, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, large: 4000},
		{name: "an IPv6 hairpin over IPv6", path: six, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, b6: true, large: 4000},
		{name: "an IPv6 hairpin from IPv4 to IPv6, two tunnels", path: six, hubToB: "dmvpn1", flags: flagMSSClamp, b6: true, large: 4000},
		{name: "an IPv6 hairpin over IPv6 without offloads", path: six, hubToB: "dmvpn0", key: 42, flags: keyed, a6: true, b6: true, segments: true},
		{name: "two tunnels over an underlay without offloads", path: hairpin, hubToB: "dmvpn1", flags: flagMSSClamp, segments: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cloud := newCloud(t, c.hubToB, c.key, c.flags)
			if strings.Contains(c.path.address, ":") {
				cloud.carry6(t, c.hubToB)
			}
			if c.a6 || c.b6 {
				cloud.over6(t, c.hubToB, c.a6, c.b6)
			}
			if c.segments {
				for _, n := range []*node{cloud.hub, cloud.a, cloud.b} {
					n.in(t, func() { ethtool(t, "u0", ethtoolSetTxChecksum, 0); ethtool(t, "u0", ethtoolSetGRO, 1) })
				}
			}
			before := cloud.hub.wireTraffic(t)
			took := exchange(t, c.path.server(cloud), c.path.address, c.path.client(cloud))
			after := cloud.hub.wireTraffic(t)
			for name, n := range cloud.nodes() {
				if e := n.checksumErrors(t); e != nil {
					t.Errorf("%s counts %v", name, e)
				}
				if d := dropsOf(t, n.maps["dmvpn_drop"]); len(d) > 0 {
					t.Errorf("%s dropped %v", name, d)
				}
			}
			rx := (after.RxBytes - before.RxBytes) / (after.RxPackets - before.RxPackets)
			tx := (after.TxBytes - before.TxBytes) / (after.TxPackets - before.TxPackets)
			if rx < c.large || tx < c.large {
				t.Errorf("packets on the hub's wire have %d octets in, %d out, on average: want GSO packets of %d and more", rx, tx, c.large)
			}
			sum := cloud.hub.traffic(t)
			if sum.RxBytes < uint64(transfer()) || sum.TxBytes < uint64(transfer()) {
				t.Errorf("the hub counted %d octets in and %d out, less than %d: the way was another", sum.RxBytes, sum.TxBytes, transfer())
			}
			t.Logf("%d MiB each way in %v, packets of %d octets in, %d out", transfer()>>20, took, rx, tx)
		})
	}
}

// path is who talks to whom.
type path struct {
	server, client func(*cloud) *node
	address        string // of the server
}

// wireTraffic reads the counters of the node's underlay device; a GSO packet
// counts as one.
func (n *node) wireTraffic(t testing.TB) (s netlink.LinkStatistics) {
	t.Helper()
	n.in(t, func() {
		link, err := netlink.LinkByName("u0")
		must(t, err)
		s = *link.Attrs().Statistics
	})
	return s
}

// traffic sums what the node counted for all peers.
func (n *node) traffic(t testing.TB) (sum DmvpnPeerStats) {
	t.Helper()
	for id := range n.peers + 1 {
		var s []DmvpnPeerStats
		must(t, n.maps["dmvpn_stats"].Lookup(id, &s))
		for _, v := range s {
			sum.RxPackets, sum.RxBytes = sum.RxPackets+v.RxPackets, sum.RxBytes+v.RxBytes
			sum.TxPackets, sum.TxBytes = sum.TxPackets+v.TxPackets, sum.TxBytes+v.TxBytes
		}
	}
	return sum
}

// exchange sends the same octets both ways over one TCP connection and compares
// digests. It gives the time that took.
func exchange(t testing.TB, server *node, address string, client *node) time.Duration {
	t.Helper()
	var listener net.Listener
	server.in(t, func() {
		var err error
		listener, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		must(t, err)
	})
	defer listener.Close()
	begin := time.Now()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		served <- talk(conn)
	}()
	var conn net.Conn
	client.in(t, func() {
		var err error
		// One address and no context: dialled on this thread.
		conn, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		must(t, err)
	})
	must(t, talk(conn))
	must(t, <-served)
	return time.Since(begin)
}

// talk writes the octets, reads as many, and compares.
func talk(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return err
	}
	sent, got := sha256.New(), sha256.New()
	failed := make(chan error, 1)
	go func() {
		block := make([]byte, 1<<16)
		for i := 0; i < transfer(); i += len(block) {
			for j := range block {
				block[j] = byte(i>>16 + j*7)
			}
			sent.Write(block)
			if _, err := conn.Write(block); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	if _, err := io.CopyN(got, conn, int64(transfer())); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if s, g := fmt.Sprintf("%x", sent.Sum(nil)), fmt.Sprintf("%x", got.Sum(nil)); s != g {
		return fmt.Errorf("received %s, sent %s", g, s)
	}
	return nil
}

// dropsOf reads a drop map: "peer N reason M" and packets.
func dropsOf(t testing.TB, m *ebpf.Map) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	var key DmvpnDropKey
	var counts []DmvpnDropCount
	it := m.Iterate()
	for it.Next(&key, &counts) {
		for _, c := range counts {
			if c.Packets > 0 {
				found[fmt.Sprintf("peer %d reason %d", key.Peer, key.Reason)] += c.Packets
			}
		}
	}
	must(t, it.Err())
	return found
}
