// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vnet is struct virtio_net_hdr: how GSO packets are handed over.
type vnet struct {
	Flags, GSOType                            uint8
	HeaderLen, GSOSize, CsumStart, CsumOffset uint16
}

const (
	needsCsum = 1
	gsoTCP4   = 1
	gsoUDP    = 3 // fragments of one datagram
)

func (v vnet) octets() []byte {
	b, err := binary.Append(nil, binary.NativeEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

// gsoSocket opens AF_PACKET that writes with a vnet header.
func gsoSocket(t testing.TB, device int) int {
	t.Helper()
	fd := listen(t, device)
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	return fd
}

// segmentTCP is a TCP packet with so many octets of payload and its checksum
// left to do, as the stack makes them.
func segmentTCP(source, destination string, payload int) []byte {
	h := ip(source, destination, layers.IPProtocolTCP, df)
	s := &layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, ACK: true, Window: 65535}
	_ = s.SetNetworkLayerForChecksum(h)
	b := octets(h, s, gopacket.Payload(make([]byte, payload)))
	// The field holds the sum of the pseudo header.
	sum := uint32(6 + len(b) - 20)
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[36:], uint16(sum+sum>>16))
	return b
}

// TestProtectedGSO: the daemon reads one large packet behind its tag, and the
// vnet header counts the tag.
func TestProtectedGSO(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{tunnel: with(flagProtected)})
	packet := segmentTCP(lan, "10.10.2.5", 20000)
	header := vnet{Flags: needsCsum, GSOType: gsoTCP4, HeaderLen: 40, GSOSize: 1360, CsumStart: 20, CsumOffset: 16}
	fd := gsoSocket(t, w.tunnel)
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: w.tunnel}
	must(t, unix.Sendto(fd, append(header.octets(), packet...), 0, to))
	got := read(w.queue, patience)
	header.HeaderLen, header.CsumStart = header.HeaderLen+8, header.CsumStart+8
	want := append(header.octets(), tagOctets(tagged(DmvpnTagReasonTAG_DATA, spoke, DmvpnDropReasonDROP_SLOW_PATH))...)
	if d := cmp.Diff(dump(append(want, packet...)), dump(got)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func tagOctets(g *DmvpnTag) []byte {
	b := []byte{g.Magic, g.Reason}
	b = binary.NativeEndian.AppendUint16(b, g.Drop)
	return binary.NativeEndian.AppendUint32(b, g.Peer)
}

// TestForeignGSO: a datagram to be fragmented cannot be encapsulated as it is.
// The daemon gets the fragments, each with the tag.
func TestForeignGSO(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	packet := udp(lan, "10.10.2.5", 4000)
	header := vnet{GSOType: gsoUDP, HeaderLen: 28, GSOSize: 1376}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: w.tunnel}
	must(t, unix.Sendto(gsoSocket(t, w.tunnel), append(header.octets(), packet...), 0, to))
	want := tagged(DmvpnTagReasonTAG_GSO, spoke, DmvpnDropReasonDROP_ADJUST_ROOM)
	var payload []byte
	for len(payload) < 4008 {
		b := read(w.queue, patience)
		if len(b) < vnetHeader+8+20 {
			t.Fatalf("after %d octets of payload the queue gave % x", len(payload), b)
		}
		if d := cmp.Diff(want, tagOf(b[vnetHeader:]), cmp.Comparer(sameTag)); d != "" {
			t.Errorf("tag (-want +got)\n%s", d)
		}
		payload = append(payload, b[vnetHeader+8+20:]...)
	}
	if !bytes.Equal(payload, packet[20:]) {
		t.Error("the fragments do not make up the datagram")
	}
}

// TestHeadersOutsideTheHead: a driver may leave all but the link header in the
// pages of a packet.
func TestHeadersOutsideTheHead(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	up(t, "u0", "", 9000)
	inner := fromSpoke(8000)
	var fd int
	w.atOtherEnd(t, func(v0 int) { up(t, "v0", "", 9000); fd = gsoSocket(t, v0) })
	must(t, write(fd, append(append(vnet{HeaderLen: 14}.octets(), w.linkTo...), received(inner)...)))
	got := read(w.inside, patience)
	if d := cmp.Diff(dump(inner), dump(got)); d != "" {
		t.Errorf("received (-want +got)\n%s", d)
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: w.tunnel}
	inner = segmentTCP(lan, "10.10.2.5", 8000)
	header := vnet{Flags: needsCsum, GSOType: gsoTCP4, HeaderLen: 1, GSOSize: 1360, CsumStart: 20, CsumOffset: 16}
	must(t, unix.Sendto(gsoSocket(t, w.tunnel), append(header.octets(), inner...), 0, to))
	got = read(w.wire, patience)
	if len(got) < len(link) {
		t.Fatal("sent: nothing came out of the wire")
	}
	if d := cmp.Diff(dump(sent(inner)), dump(got[len(link):])); d != "" {
		t.Errorf("sent (-want +got)\n%s", d)
	}
}

// TestForeignGSOReceived: one that arrives as a datagram to be fragmented, as a
// TAP of a virtual machine hands it over, cannot lose its outer headers. A TAP
// stands for the underlay device.
func TestForeignGSOReceived(t *testing.T) {
	w := newWorld(t)
	w.fresh(t, packetCase{})
	tap := openTAP(t, "u1")
	attach(t, up(t, "u1", "", 1500), netlink.HANDLE_MIN_INGRESS, w.real.decap)
	u1, err := netlink.LinkByName("u1")
	must(t, err)
	frame := append(bytes.Clone(u1.Attrs().HardwareAddr), w.linkTo[6:]...)
	frame = append(frame, received(fromSpoke(4000))...)
	header := vnet{GSOType: gsoUDP, HeaderLen: 14 + 28 + 28, GSOSize: 1376}
	must(t, write(tap, append(header.octets(), frame...)))
	w.awaitDrop(t)
	want := map[string]uint64{fmt.Sprintf("peer %d reason %d", spoke, DmvpnDropReasonDROP_ADJUST_ROOM): 1}
	if d := cmp.Diff(want, dropsOf(t, w.maps["dmvpn_drop"])); d != "" {
		t.Errorf("drops (-want +got)\n%s", d)
	}
	if b := read(w.inside, 0); b != nil {
		t.Errorf("the tunnel has % x", b[:min(len(b), 96)])
	}
}
