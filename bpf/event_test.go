// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

// happening is an event as the tests compare it.
type happening struct {
	Kind    DmvpnEventKind
	Peer    uint32
	NextHop [16]byte
	Packet  string
}

func (w *world) happenings(t testing.TB) (all []happening) {
	t.Helper()
	for _, e := range w.events(t) {
		if e.TunnelIfindex != uint32(w.tunnel) {
			t.Errorf("event of tunnel %d, want %d", e.TunnelIfindex, w.tunnel)
		}
		all = append(all, happening{e.Kind, e.Peer, e.Nexthop.Octet, dump(e.Packet[:e.Length])})
	}
	return all
}

// TestRedirectEvent lets a real packet come in by the tunnel, be forwarded by the
// kernel, and leave by the tunnel.
func TestRedirectEvent(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{tunnel: asHub})
	pass := func(source string) (before, after []byte) {
		before, after = udp(source, "10.10.2.5", 200), udp(source, "10.10.2.5", 200, older)
		frame := append(bytes.Clone(w.linkTo), wrap(outer(hubNBMA, local), gre(key), before)...)
		must(t, write(w.wire, frame))
		b := read(w.wire, patience)
		if b == nil {
			t.Fatalf("the packet of %s did not come back", source)
		}
		if d := cmp.Diff(dump(wrap(outer(local, spokeNBMA), gre(key), after)), dump(b[len(link):])); d != "" {
			t.Errorf("hairpin (-want +got)\n%s", d)
		}
		return before, after
	}
	_, first := pass("10.10.3.5")
	pass("10.10.3.5")
	_, other := pass("10.10.3.6")
	want := []happening{
		{DmvpnEventKindEVENT_REDIRECT, spoke, addr("10.0.0.2"), dump(first[:128])},
		{DmvpnEventKindEVENT_REDIRECT, spoke, addr("10.0.0.2"), dump(other[:128])},
	}
	if d := cmp.Diff(want, w.happenings(t)); d != "" {
		t.Errorf("one event a flow in 8 s (-want +got)\n%s", d)
	}
	w.age(t, 8*time.Second)
	pass("10.10.3.5")
	if got := w.happenings(t); len(got) != 1 {
		t.Errorf("8 s later: %d events, want 1", len(got))
	}
}

// age makes every bucket older.
func (w *world) age(t testing.TB, by time.Duration) {
	t.Helper()
	w.changeBuckets(t, func(b *DmvpnFlowBucket) { b.LastNs -= uint64(by) })
}

// changeBuckets changes every bucket in use.
func (w *world) changeBuckets(t testing.TB, change func(*DmvpnFlowBucket)) {
	t.Helper()
	m := w.maps["dmvpn_redirect"]
	keys, values := make([]uint32, m.MaxEntries()), make([]DmvpnFlowBucket, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Fatal(err)
	}
	for i := range n {
		if values[i] != (DmvpnFlowBucket{}) {
			change(&values[i])
			must(t, m.Put(keys[i], values[i]))
		}
	}
}

// TestMissEvent: one a second and flow, with the next hop that is unresolved.
func TestMissEvent(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	try := func(packet []byte) []happening {
		result := w.rawSend(t, packet)
		if result == nil {
			t.Fatal("the packet did not go to the hub")
		}
		return w.happenings(t)
	}
	packet := udp(lan, "10.10.9.5", 20)
	want := []happening{{DmvpnEventKindEVENT_MISS, hub, addr("10.0.0.99"), dump(packet)}}
	if d := cmp.Diff(want, try(packet)); d != "" {
		t.Errorf("first packet (-want +got)\n%s", d)
	}
	if got := try(packet); got != nil {
		t.Errorf("again at once: %v", got)
	}
	if got := try(udp(lan, "10.10.9.6", 20)); len(got) != 1 {
		t.Errorf("another destination: %d events, want 1", len(got))
	}
	w.age(t, time.Second)
	if got := try(packet); len(got) != 1 {
		t.Errorf("a second later: %d events, want 1", len(got))
	}
}

// rawSend sends a packet into the tunnel and gives what comes out of the wire.
func (w *world) rawSend(t testing.TB, packet []byte) []byte {
	t.Helper()
	must(t, w.into(t, packet, packetCase{}.ethertype()))
	return read(w.wire, patience)
}

// TestFlowsThatShareABucketGetTheirTurns: another flow takes it over after a
// quarter of the interval, not before.
func TestFlowsThatShareABucketGetTheirTurns(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	packet := udp(lan, "10.10.9.5", 20)
	try := func() int {
		if w.rawSend(t, packet) == nil {
			t.Fatal("the packet did not go to the hub")
		}
		return len(w.happenings(t))
	}
	if got := try(); got != 1 {
		t.Fatalf("first packet: %d events, want 1", got)
	}
	w.changeBuckets(t, func(b *DmvpnFlowBucket) { b.Flow.Destination.Octet[15]++ })
	if got := try(); got != 0 {
		t.Errorf("another flow has the bucket: %d events, want 0", got)
	}
	w.age(t, time.Second/4)
	if got := try(); got != 1 {
		t.Errorf("a quarter of a second later: %d events, want 1", got)
	}
	w.age(t, time.Second/4)
	if got := try(); got != 0 {
		t.Errorf("a quarter of a second after its own: %d events, want 0", got)
	}
}

// TestUnknownEvent: one a second and address, and a bounded number from however
// many addresses.
func TestUnknownEvent(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	inner := udp("10.10.2.5", lan, 20)
	// pass sends a packet of each source and waits until all are dropped.
	pass := func(sources ...string) []happening {
		dropped := func() uint64 {
			return dropsOf(t, w.maps["dmvpn_drop"])[fmt.Sprintf("peer 0 reason %d", DmvpnDropReasonDROP_UNKNOWN_PEER)]
		}
		all := dropped() + uint64(len(sources))
		for _, source := range sources {
			must(t, write(w.wire, append(bytes.Clone(w.linkTo), wrap(outer(source, local), gre(key), inner)...)))
		}
		for end := time.Now().Add(patience); dropped() < all; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the packets of %v are not dropped", sources)
			}
		}
		return w.happenings(t)
	}
	want := []happening{{DmvpnEventKindEVENT_UNKNOWN_NBMA, 0, addr("203.0.113.98"), dump(inner)}}
	if d := cmp.Diff(want, pass("203.0.113.98")); d != "" {
		t.Errorf("first packet (-want +got)\n%s", d)
	}
	if got := pass("203.0.113.98"); got != nil {
		t.Errorf("again within a second: %v", got)
	}
	if got := pass("203.0.113.99"); len(got) != 1 {
		t.Errorf("another address: %d events, want 1", len(got))
	}
	w.age(t, time.Second)
	if got := pass("203.0.113.98"); len(got) != 1 {
		t.Errorf("a second later: %d events, want 1", len(got))
	}
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("192.0.%d.%d", 10+i/250, 1+i%250))
	}
	w.fresh(t, packetCase{})
	began := time.Now()
	got := len(pass(many...))
	// 64 at once, and as many again every quarter of a second.
	if most := 64 * (1 + int(time.Since(began)/(time.Second/4))); got < 32 || got > most {
		t.Errorf("500 forged addresses: %d events, want 32 to %d", got, most)
	}
}

// TestFirstPacketWaitsForTheNeighbour: the underlay does not know the link
// address of the peer yet; nothing is lost while it asks.
func TestFirstPacketWaitsForTheNeighbour(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	v := DmvpnPeer{TunnelIfindex: uint32(w.tunnel), Flags: flagUp}
	v.Nbma.Octet, v.Protocol.Octet = addr("198.51.100.50"), addr("10.0.0.50")
	must(t, w.maps["dmvpn_peer"].Put(uint32(lastPeer), v))
	must(t, w.maps["dmvpn_nexthop"].Put(DmvpnNexthopKey{Nexthop: v.Protocol, TunnelIfindex: uint32(w.tunnel)}, uint32(lastPeer)))
	packet := udp(lan, "10.0.0.50", 20)
	ask := w.rawSend(t, packet)
	if len(ask) < 42 || !bytes.Equal(ask[12:14], []byte{8, 6}) {
		t.Fatalf("no ARP request but % x", ask)
	}
	mac := []byte{2, 0, 0, 0, 0, 0x32}
	reply := append(append(bytes.Clone(ask[6:12]), mac...), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	reply = append(append(reply, mac...), ask[38:42]...) // who was asked for
	reply = append(reply, ask[22:32]...)                 // who asked
	must(t, write(w.wire, reply))
	got := read(w.wire, patience)
	want := append(append(bytes.Clone(mac), ask[6:12]...), 8, 0)
	want = append(want, wrap(outer(local, "198.51.100.50"), gre(key), packet)...)
	if d := cmp.Diff(dump(want), dump(got)); d != "" {
		t.Errorf("after the ARP reply (-want +got)\n%s", d)
	}
}
