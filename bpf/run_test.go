// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// skb is struct __sk_buff.
type skb struct {
	Len, PktType, Mark, QueueMapping, Protocol, VLANPresent, VLANTCI, VLANProto, Priority uint32
	IngressIfIndex, IfIndex, TCIndex                                                      uint32
	CB                                                                                    [5]uint32
	Hash, TCClassID, Data, DataEnd, NAPI, Family, RemoteIP4, LocalIP4                     uint32
	RemoteIP6, LocalIP6                                                                   [4]uint32
	RemotePort, LocalPort, DataMeta                                                       uint32
	FlowKeys, TStamp                                                                      uint64
	WireLen, GSOSegs                                                                      uint32
	Socket                                                                                uint64
	GSOSize, TStampType                                                                   uint32
	HWTStamp                                                                              uint64
}

const (
	actPass     = 0xffffffff // TC_ACT_UNSPEC
	actOK       = 0
	actShot     = 2
	actRedirect = 7
)

// link is the header that BPF_PROG_TEST_RUN wants in front.
var link = []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}

// run sends the packet through one program by BPF_PROG_TEST_RUN.
func (w *world) run(t testing.TB, c packetCase, egress bool) result {
	t.Helper()
	w.fresh(t, c)
	p, device := w.test.decap, w.underlay
	if egress {
		p, device = w.test.encap, w.tunnel
	}
	in := skb{IfIndex: uint32(device), GSOSize: c.gso}
	if c.gso > 0 {
		in.GSOSegs = uint32(len(c.packet))/c.gso + 1
	}
	if c.hairpin {
		in.IngressIfIndex = uint32(w.tunnel)
	}
	var after skb
	out := make([]byte, len(c.packet)+256)
	stations := link[:12]
	if !egress {
		stations = w.linkTo[:12]
	}
	front := binary.BigEndian.AppendUint16(bytes.Clone(stations), c.ethertype())
	options := &ebpf.RunOptions{Data: append(front, c.packet...), DataOut: out, Context: in, ContextOut: &after}
	verdict, err := p.Run(options)
	must(t, err)
	out = options.DataOut
	r := result{Mark: after.Mark}
	switch {
	case verdict == actShot:
		r.To = nowhere
	case verdict == actPass && !egress:
		r.To, r.Packet = stack, dump(out[len(link):])
	case verdict == actOK && egress:
		r.To, r.Tag, r.Packet = queue, tagOf(out), dump(out[8+len(link):])
	case verdict == actRedirect && egress:
		r.To, r.Packet = underlay, dump(unlabelled(t, out[len(link):]))
	case verdict == actRedirect:
		r.To, r.Packet = tunnel, dump(out[len(link):])
	default:
		t.Fatalf("verdict %d", int32(verdict))
	}
	w.observe(t, &r)
	return r
}

// unlabelled takes the flow label of an outer packet of IPv6, which the kernel's hash of what
// is inside makes, out; all of them together would be no label.
func unlabelled(t testing.TB, b []byte) []byte {
	t.Helper()
	if b[0]>>4 != 6 || b[6] != unix.IPPROTO_GRE {
		return b
	}
	if b[1]&0x0f|b[2]|b[3] == 0 {
		t.Error("an outer packet without a flow label")
	}
	return spoil(b, 1, int(b[1]&0xf0), 2, 0, 3, 0)
}

func (c packetCase) ethertype() uint16 {
	if c.protocol == 0 {
		return unix.ETH_P_IP
	}
	return c.protocol
}

func tagOf(b []byte) *DmvpnTag {
	return &DmvpnTag{Magic: b[0], Reason: b[1], Drop: binary.NativeEndian.Uint16(b[2:]), Peer: binary.NativeEndian.Uint32(b[4:])}
}

// patience is for what comes: a busy machine may take its time.
const patience = 5 * time.Second

const vnetHeader = 10 // octets of struct virtio_net_hdr

// send puts the packet on a real device and reads where it comes out: into the
// tunnel device, or from the wire into the underlay device.
func (w *world) send(t testing.TB, c packetCase, egress bool) result {
	t.Helper()
	w.fresh(t, c)
	if egress {
		if c.mtu > 0 {
			up(t, "dmvpn0", "", c.mtu)
			defer up(t, "dmvpn0", "", 1400)
		}
		if err := w.into(t, c.packet, c.ethertype()); err != nil && c.to != nowhere {
			t.Fatal(err)
		}
	} else {
		frame := append(binary.BigEndian.AppendUint16(bytes.Clone(w.linkTo[:12]), c.ethertype()), c.packet...)
		must(t, write(w.wire, frame))
	}
	var r result
	switch c.to {
	case nowhere:
		w.awaitDrop(t)
		r.To = nowhere
	case underlay:
		if b := read(w.wire, patience); b != nil {
			r.take(t, underlay, append(b[:len(link):len(link)], unlabelled(t, b[len(link):])...), len(link))
		}
	case tunnel:
		r.take(t, tunnel, read(w.inside, patience), 0)
	case stack:
		r.take(t, stack, read(w.raw, patience), 0)
	case queue:
		b := read(w.queue, patience)
		if len(b) < vnetHeader+8 {
			t.Fatalf("the queue gave %d octets", len(b))
		}
		r.Tag = tagOf(b[vnetHeader:])
		r.take(t, queue, b, vnetHeader+8)
	}
	for name, fd := range map[string]int{"wire": w.wire, "tunnel": w.inside, "queue": w.queue} {
		if b := read(fd, 0); b != nil && !(egress && name == "tunnel") {
			t.Errorf("besides, the %s has % x", name, b[:min(len(b), 96)])
		}
	}
	w.observe(t, &r)
	return r
}

// into sends a packet into the tunnel device. A drop at egress comes back as an
// error.
func (w *world) into(t testing.TB, packet []byte, protocol uint16) error {
	t.Helper()
	err := unix.Sendto(w.inside, packet, 0, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: w.tunnel})
	if err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatal(err)
	}
	return err
}

// take notes a packet that was read, without the octets in front of it.
func (r *result) take(t testing.TB, where place, b []byte, front int) {
	t.Helper()
	if b == nil {
		r.To = nowhere
		return
	}
	r.To, r.Packet = where, dump(b[front:])
}

// awaitDrop waits until some drop is counted.
func (w *world) awaitDrop(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if len(dropsOf(t, w.maps["dmvpn_drop"])) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// read gives the next packet of a descriptor, nil if none comes in time. Of
// AF_PACKET it skips what the device itself sends.
func read(fd int, wait time.Duration) []byte {
	b := make([]byte, 1<<16+256)
	for end := time.Now().Add(wait); ; {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.ENOTSOCK) {
			n, err = unix.Read(fd, b)
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if err == nil && !bytes.Contains(b[:n], listeners) {
			return b[:n]
		}
		if err == nil {
			continue
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
}

// listeners are whom the kernel tells of the groups that it is in: the routers that listen to
// MLD.
var listeners = net.ParseIP("ff02::16")

func write(fd int, b []byte) error {
	_, err := unix.Write(fd, b)
	return err
}
