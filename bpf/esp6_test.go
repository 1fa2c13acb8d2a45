// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// ESP over IPv6 comes from here.
const strangerSix = "2001:db8:1::99"

func inUDP6(destination string, payload []byte) []byte {
	h := ip6(strangerSix, destination, layers.IPProtocolUDP)
	u := &layers.UDP{SrcPort: 30000, DstPort: 4500}
	_ = u.SetNetworkLayerForChecksum(h)
	return octets(h, u, gopacket.Payload(payload))
}

func raw6(destination string, payload []byte) []byte {
	return octets(ip6(strangerSix, destination, layers.IPProtocolESP), gopacket.Payload(payload))
}

// TestFilterOverIPv6 runs each case by BPF_PROG_TEST_RUN, and again at real sockets: what is
// refused is counted and told of with its IP header, what is taken comes out.
func TestFilterOverIPv6(t *testing.T) {
	w := newWorldOver6(t)
	const other = "2001:db8:1::2" // nothing is judged there
	address6(t, "u0", other+"/64")
	must(t, w.maps["dmvpn_esp"].Put(addr(localSix), DmvpnEspLocal{TunnelIfindex: uint32(w.tunnel), Ways: espUDP | espRaw}))
	open := func(kind, protocol, port int) int {
		fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		must(t, unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, w.real.filter.FD()))
		return fd
	}
	udp, raw := open(unix.SOCK_DGRAM, unix.IPPROTO_UDP, 4500), open(unix.SOCK_RAW, unix.IPPROTO_ESP, 0)
	for _, c := range []packetCase{
		taken("ESP in UDP of an SA", inUDP6(localSix, esp(ourSPI, 100))),
		taken("raw ESP of an SA", raw6(localSix, esp(ourSPI, 100))),
		taken("IKE behind the non-ESP marker", inUDP6(localSix, make([]byte, 32))),
		taken("a keepalive", inUDP6(localSix, []byte{0xff})),
		taken("ESP in UDP to an address where nothing is judged", inUDP6(other, esp(strangeSPI, 100))),
		refused("drop: ESP in UDP of an SPI that nobody has", inUDP6(localSix, esp(strangeSPI, 100))),
		refused("drop: raw ESP of an SPI that nobody has", raw6(localSix, esp(strangeSPI, 100))),
		{name: "drop: ESP in UDP that ends in the sequence number",
			packet: inUDP6(localSix, esp(strangeSPI, 0)[:7]), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED},
		{name: "drop: raw ESP that ends in the sequence number",
			packet: raw6(localSix, esp(strangeSPI, 0)[:7]), to: nowhere, drop: DmvpnDropReasonDROP_TRUNCATED},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.enter(t)
			frame := append(binary.BigEndian.AppendUint16(bytes.Clone(link[:12]), unix.ETH_P_IPV6), c.packet...)
			w.fresh(t, c)
			got := result{To: nowhere}
			verdict, err := w.test.filter.Run(&ebpf.RunOptions{Data: frame, Context: skb{}})
			must(t, err)
			if verdict == takeAll {
				got.To, got.Packet = socket, dump(c.packet)
			}
			w.observe(t, &got)
			check(t, c.want(false), got)

			w.fresh(t, c)
			last := esp(ourSPI, 13)
			for _, p := range [][]byte{c.packet, inUDP6(localSix, last)} {
				must(t, write(w.wire, append(binary.BigEndian.AppendUint16(bytes.Clone(w.linkTo[:12]), unix.ETH_P_IPV6), p...)))
			}
			came := 0
			for {
				b := read(udp, patience)
				if b == nil {
					t.Fatal("the last packet is not there")
				}
				if bytes.Equal(b, last) {
					break
				}
				came++
			}
			if read(raw, 0) != nil {
				came++
			}
			if want := map[place]int{socket: 1}[c.to]; came != want {
				t.Errorf("%d came out of the sockets, want %d", came, want)
			}
			all := w.happenings(t)
			var want []happening
			if c.event != 0 {
				want = []happening{{c.event, 0, addr(strangerSix), dump(c.packet[:min(len(c.packet), 128)])}}
			}
			if d := cmp.Diff(want, all); d != "" {
				t.Errorf("events (-want +got)\n%s", d)
			}
		})
	}
}
