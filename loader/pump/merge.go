// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"

	"golang.org/x/sys/unix"

	"dmvpn/loader/tables"
)

// merger writes inner packets into the tunnel device's queue. Consecutive TCP segments of
// one connection, and UDP packets of one flow, become one GSO packet, as the kernel's own
// GRO makes it (flow.go). Packets of one flow keep their order; those of several may come
// in turns.
type merger struct {
	pump    *Pump
	queue   *Queue
	flows   [mergeFlows]flow
	waiting int     // of flows, those that hold something
	scratch []byte  // for what the device does not take whole
	seen    arrived // and not yet counted
}

// arrived is what one peer has sent.
type arrived struct {
	id              tables.PeerID
	packets, octets int
}

const (
	mergeFlows = 8 // flows that grow at the same time; a power of 2
	// mergeBuffer is the largest GSO packet with its virtio_net_hdr.
	mergeBuffer = vnetHeader + 65535
)

// newMerger makes that of a worker.
func newMerger(p *Pump, worker int) *merger {
	m := &merger{pump: p, queue: p.config.Queues[worker%len(p.config.Queues)]}
	for i := range m.flows {
		m.flows[i].buf = make([]byte, 0, mergeBuffer)
	}
	return m
}

// idle says whether everything was written and counted.
func (m *merger) idle() bool { return m.waiting == 0 && m.seen.packets == 0 }

// add takes a packet whose header was checked.
func (m *merger) add(id tables.PeerID, in inner) {
	f := &m.flows[in.hash()%mergeFlows]
	if f.grows(id, in) {
		if f.grow(in) {
			m.flush(f)
		}
		return
	}
	m.flush(f)
	m.waiting++
	if f.begin(id, in) {
		m.flush(f)
	}
}

// end writes and counts what waits.
func (m *merger) end() {
	for i := range m.flows {
		if m.waiting == 0 {
			break
		}
		m.flush(&m.flows[i])
	}
	m.report()
}

// flush writes what a flow holds.
func (m *merger) flush(f *flow) {
	if f.idle() {
		return
	}
	m.waiting--
	err := m.write(f)
	if err != nil {
		m.pump.config.Tables.CountDrops(f.id, tables.DropSlowPath, f.count, f.octets)
	} else {
		m.count(arrived{f.id, f.count, f.octets})
	}
	f.buf, f.size = f.buf[:0], 0
}

// write gives the device a flow's packet, or its parts where the device has no GSO for
// UDP: kernels before 6.2.
func (m *merger) write(f *flow) error {
	p := m.pump
	v := vnet{}
	if f.count > 1 {
		v = f.finish()
	}
	if v.gsoType != gsoUDPL4 || !p.withoutUSO.Load() {
		v.put(f.buf)
		err := m.queue.write(f.buf)
		if v.gsoType != gsoUDPL4 || !errors.Is(err, unix.EINVAL) {
			return err
		}
		p.withoutUSO.Store(true)
	}
	if m.scratch == nil {
		m.scratch = make([]byte, mergeBuffer)
	}
	// Each part has room for its virtio_net_hdr, of zeros, in front.
	var failed error
	inner{f.buf[vnetHeader:], f.header}.segment(v, m.scratch[vnetHeader:vnetHeader], func(part inner) {
		if err := m.queue.write(m.scratch[:vnetHeader+len(part.b)]); err != nil {
			failed = err
		}
	})
	return failed
}

// count sums up what one peer sent, and reports it when it is another's turn.
func (m *merger) count(a arrived) {
	if m.seen.id != a.id {
		m.report()
	}
	m.seen.id = a.id
	m.seen.packets += a.packets
	m.seen.octets += a.octets
}

func (m *merger) report() {
	if m.seen.packets > 0 {
		m.pump.config.Tables.CountReceivedMany(m.seen.id, m.seen.packets, m.seen.octets)
	}
	m.seen = arrived{}
}
