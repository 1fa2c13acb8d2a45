// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/google/go-cmp/cmp"
)

// place is where a packet ends up.
type place string

const (
	nowhere  place = "nowhere"  // dropped
	underlay place = "underlay" // encapsulated, on the wire
	tunnel   place = "tunnel"   // decapsulated, received by dmvpn0
	queue    place = "queue"    // with a tag, for Go to read
	stack    place = "stack"    // left alone
)

// packetCase is a line of a table: a packet, and what becomes of it.
type packetCase struct {
	name   string
	tunnel func(*DmvpnTunnel) // changes the tunnel's entry for this case
	packet []byte             // from its IP header
	onlyBy string             // "run" or "wire" where the other cannot show it

	protocol uint16 // its Ethertype, 0 for IPv4
	hairpin  bool   // it came in by the tunnel: BPF_PROG_TEST_RUN only
	gso      uint32 // it is a GSO packet: BPF_PROG_TEST_RUN only
	mtu      int    // of the tunnel device, 0 for 1400: on the wire only

	to    place
	out   []byte // as it leaves, from its IP header; nil: as it came
	tag   *DmvpnTag
	drop  DmvpnDropReason // counted reason, DROP_NONE for none
	peer  uint32          // whom the drop or the traffic is counted for
	event DmvpnEventKind  // raised, 0 for none
}

// result is what can be seen afterwards.
type result struct {
	To     place
	Packet string
	Tag    *DmvpnTag
	Drops  map[string]uint64
	Rx, Tx map[uint32]traffic
	Events []string
	Mark   uint32
}

type traffic struct{ Packets, Octets uint64 }

func (c packetCase) want(egress bool) result {
	r := result{To: c.to, Tag: c.tag, Drops: map[string]uint64{}, Rx: map[uint32]traffic{}, Tx: map[uint32]traffic{}}
	out := c.out
	if out == nil {
		out = c.packet
	}
	if c.to != nowhere {
		r.Packet = dump(out)
	}
	if c.drop != DmvpnDropReasonDROP_NONE {
		r.Drops[fmt.Sprintf("peer %d reason %d", c.peer, c.drop)] = 1
	}
	switch c.to {
	case underlay:
		r.Tx[c.peer] = traffic{1, uint64(len(c.packet))}
	case tunnel:
		r.Rx[c.peer] = traffic{1, uint64(len(out))}
	}
	if c.event != 0 {
		r.Events = []string{fmt.Sprintf("event %d", c.event)}
	}
	return r
}

// dump prints a packet so that a difference can be read: 4 octets a line, which
// is a line of the RFCs' drawings.
func dump(b []byte) string {
	var s bytes.Buffer
	for i := 0; i < len(b) && i < 96; i += 4 {
		fmt.Fprintf(&s, "%3d  % x\n", i, b[i:min(i+4, len(b))])
	}
	fmt.Fprintf(&s, "%d octets\n", len(b))
	return s.String()
}

// check compares, after a case ran one way.
func check(t testing.TB, want, got result) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.AllowUnexported(DmvpnTag{}), cmp.Comparer(sameTag)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func sameTag(a, b *DmvpnTag) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Magic == b.Magic && a.Reason == b.Reason && a.Drop == b.Drop && a.Peer == b.Peer
}

// fresh empties counters and buckets, writes the tunnel as the case wants it and
// throws away what is still under way.
func (w *world) fresh(t testing.TB, c packetCase) {
	t.Helper()
	value := w.plainTunnel()
	if c.tunnel != nil {
		c.tunnel(&value)
	}
	w.setTunnel(t, value)
	var drop DmvpnDropKey
	clearMap(t, w.maps["dmvpn_drop"], &drop)
	w.changeBuckets(t, func(b *DmvpnFlowBucket) { *b = DmvpnFlowBucket{} })
	zero := make([]DmvpnPeerStats, ebpf.MustPossibleCPU())
	for id := range uint32(lastPeer + 1) {
		must(t, w.maps["dmvpn_stats"].Put(id, zero))
	}
	w.events(t)
	for _, fd := range []int{w.wire, w.inside, w.queue, w.raw} {
		for read(fd, 0) != nil {
		}
	}
}

func clearMap[K any](t testing.TB, m *ebpf.Map, key *K) {
	t.Helper()
	for m.NextKey(nil, key) == nil {
		must(t, m.Delete(key))
	}
}

// observe reads counters and events into r.
func (w *world) observe(t testing.TB, r *result) {
	t.Helper()
	r.Drops, r.Rx, r.Tx = dropsOf(t, w.maps["dmvpn_drop"]), map[uint32]traffic{}, map[uint32]traffic{}
	for id := range uint32(lastPeer + 1) {
		var s []DmvpnPeerStats
		must(t, w.maps["dmvpn_stats"].Lookup(id, &s))
		var rx, tx traffic
		var rxLast, txLast uint64
		for _, v := range s {
			rx.Packets, rx.Octets = rx.Packets+v.RxPackets, rx.Octets+v.RxBytes
			tx.Packets, tx.Octets = tx.Packets+v.TxPackets, tx.Octets+v.TxBytes
			rxLast, txLast = max(rxLast, v.RxLastNs), max(txLast, v.TxLastNs)
		}
		if rx.Packets > 0 {
			r.Rx[id] = rx
		}
		if tx.Packets > 0 {
			r.Tx[id] = tx
		}
		if (rx.Packets > 0) != (rxLast > 0) || (tx.Packets > 0) != (txLast > 0) {
			t.Errorf("peer %d: stamps %d and %d do not go with its packets", id, rxLast, txLast)
		}
	}
	for _, e := range w.events(t) {
		r.Events = append(r.Events, fmt.Sprintf("event %d", e.Kind))
	}
}

// events reads what the ring buffer has.
func (w *world) events(t testing.TB) []DmvpnEvent {
	t.Helper()
	r, err := ringbuf.NewReader(w.maps["dmvpn_events"])
	must(t, err)
	defer r.Close()
	var all []DmvpnEvent
	for {
		r.SetDeadline(time.Now())
		record, err := r.Read()
		if err != nil {
			return all
		}
		var e DmvpnEvent
		if n, err := binary.Decode(record.RawSample, binary.NativeEndian, &e); err != nil || n != len(record.RawSample) {
			t.Fatalf("event of %d octets: %d read, %v", len(record.RawSample), n, err)
		}
		all = append(all, e)
	}
}
