// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"dmvpn/cmd/internal/lab"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// packet is an Ethernet frame with IPv4.
func packet(protocol byte, from, to string, body []byte) []byte {
	ip := make([]byte, 20, 20+len(body))
	ip[0], ip[8], ip[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
	copy(ip[12:], addr(from).AsSlice())
	copy(ip[16:], addr(to).AsSlice())
	return slices.Concat(make([]byte, 12), []byte{8, 0}, ip, body)
}

func datagram(from, to string, payload []byte) []byte {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	udp := make([]byte, 8)
	binary.BigEndian.PutUint16(udp, a.Port())
	binary.BigEndian.PutUint16(udp[2:], b.Port())
	return packet(protocolUDP, a.Addr().String(), b.Addr().String(), slices.Concat(udp, payload))
}

// sealedAs is ESP with an SPI, a sequence number, that as IV, and something sealed.
func sealedAs(spi, sequence uint32, inside []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, spi)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(sequence))
	return slices.Concat(b, inside, bytes.Repeat([]byte{0xa5}, 64))
}

func ikeMessage() []byte {
	b := make([]byte, 60)
	b[17], b[27] = 0x20, 60
	return b
}

func TestWhatMayBeOutside(t *testing.T) {
	const spoke, hub, nat = "198.18.1.1", "192.0.2.1", "198.19.1.1"
	inner := packet(protocolICMP, "10.10.1.10", "10.10.2.10", make([]byte, 30))[14:]
	gre := slices.Concat([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, inner)
	fragment := packet(protocolUDP, spoke, hub, make([]byte, 100))
	fragment[14+6] = 0x20
	arp := func(sender, target string) []byte {
		b := make([]byte, 14+28)
		b[12], b[13] = 8, 6
		copy(b[14+14:], addr(sender).AsSlice())
		copy(b[14+24:], addr(target).AsSlice())
		return b
	}
	ipv6 := func(next byte, body ...byte) []byte {
		b := make([]byte, 14+40, 14+80)
		b[12], b[13], b[14], b[14+6] = 0x86, 0xdd, 0x60, next
		return append(append(b, body...), make([]byte, 16)...)
	}
	unreachable := func(about []byte) []byte { return append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about[14:]...) }
	esp := sealedAs(0x1000, 1, nil)
	const spoke6, hub6 = "2001:db8:1::1", "2001:db8::1"
	over6 := func(from, to string, next byte, body []byte) []byte {
		b := ipv6(next)[:14+40]
		binary.BigEndian.PutUint16(b[14+4:], uint16(len(body)))
		copy(b[14+8:], addr(from).AsSlice())
		copy(b[14+24:], addr(to).AsSlice())
		return append(b, body...)
	}
	datagram6 := func(from, to uint16, payload []byte) []byte {
		udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
		return over6(spoke6, hub6, protocolUDP, slices.Concat(udp, []byte{0, 0, 0, 1}, payload)) // some checksum
	}
	tooBig6 := func(about []byte) []byte {
		return over6(hub6, spoke6, protocolICMPv6, append([]byte{2, 0, 0, 0, 0, 0, 5, 20}, about[14:]...))
	}
	solicit := func(target string) []byte {
		return over6(spoke6, "ff02::1", protocolICMPv6, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, addr(target).AsSlice()...))
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  Kind
		wrong string // what the error says
	}{
		{"IKE", datagram(spoke+":500", hub+":500", ikeMessage()), KindIKE, ""},
		{"IKE on 4500", datagram(spoke+":4500", hub+":4500", append(make([]byte, 4), ikeMessage()...)), KindIKE, ""},
		{"ESP in UDP", datagram(spoke+":4500", hub+":4500", esp), KindESPinUDP, ""},
		{"ESP in UDP from a NAT's port", datagram(nat+":11323", hub+":4500", esp), KindESPinUDP, ""},
		{"and on to another NAT's", datagram("198.19.2.1:777", nat+":11323", esp), KindESPinUDP, ""},
		{"ESP", packet(protocolESP, spoke, hub, esp), KindESP, ""},
		{"a keepalive", datagram(spoke+":4500", hub+":4500", []byte{0xff}), KindKeepalive, ""},
		{"ARP", arp(spoke, "198.18.1.254"), KindARP, ""},
		{"a router solicitation", ipv6(protocolICMPv6, 133), KindND, ""},
		{"an MLD report", ipv6(0, protocolICMPv6, 0, 5, 2, 0, 0, 1, 0, 143), KindND, ""},
		{"a closed port of IKE's", packet(protocolICMP, hub, spoke, unreachable(datagram(spoke+":500", hub+":500", ikeMessage()))), KindICMP, ""},

		{"IKE over IPv6", datagram6(500, 500, ikeMessage()), KindIKE, ""},
		{"ESP in UDP over IPv6", datagram6(4500, 4500, esp), KindESPinUDP, ""},
		{"ESP over IPv6", over6(spoke6, hub6, protocolESP, esp), KindESP, ""},
		{"a path of IPv6 that is too narrow", tooBig6(datagram6(4500, 4500, esp)), KindICMP, ""},
		{"a neighbour solicitation", solicit("2001:db8::fe"), KindND, ""},

		{"GRE in clear over IPv6", over6(spoke6, hub6, 47, gre), "", "protocol 47 from 2001:db8:1::1 to 2001:db8::1"},
		{"IPv4 in IPv6", over6(spoke6, hub6, 4, inner), "", "protocol 4"},
		{"a fragment of IPv6", over6(spoke6, hub6, 44, make([]byte, 100)), "", "protocol 44"},
		{"from a tunnel address of IPv6", over6("fd00::11", hub6, protocolESP, esp), "", "fd00::11 is of the overlay"},
		{"a neighbour solicitation for a LAN address", solicit("fd10:0:1::10"), "", "fd10:0:1::10 is of the overlay"},
		{"a packet in clear in ESP over IPv6", datagram6(4500, 4500, sealedAs(0x1000, 2, gre)), "", "in clear within"},
		{"ICMPv6 about GRE in clear", tooBig6(over6(spoke6, hub6, 47, gre)), "", "protocol 47"},
		{"GRE in clear", packet(47, spoke, hub, gre), "", "protocol 47 from 198.18.1.1 to 192.0.2.1"},
		{"from a tunnel address", datagram("10.0.0.11:4500", hub+":4500", esp), "", "10.0.0.11 is of the overlay"},
		{"to a LAN address", packet(protocolICMP, spoke, "10.10.2.10", make([]byte, 8)), "", "10.10.2.10 is of the overlay"},
		{"ARP for a LAN address", arp(spoke, "10.10.1.10"), "", "10.10.1.10 is of the overlay"},
		{"a ping", packet(protocolICMP, spoke, hub, make([]byte, 16)), "", "ICMP from"},
		{"ICMP about GRE in clear", packet(protocolICMP, hub, spoke, unreachable(packet(47, spoke, hub, gre))), "", "protocol 47"},
		{"UDP to a port of nobody's", datagram(spoke+":4000", hub+":4001", esp), "", "nobody's IPsec"},
		{"GRE in UDP", datagram(spoke+":4500", hub+":4500", gre), "", "in clear within"},
		{"a packet in clear in ESP", datagram(spoke+":4500", hub+":4500", sealedAs(0x1000, 2, gre)), "", "in clear within"},
		{"a packet in clear in raw ESP", packet(protocolESP, spoke, hub, sealedAs(0x1000, 3, gre)), "", "in clear within"},
		{"something else on IKE's port", datagram(spoke+":500", hub+":500", gre), "", "not IKE"},
		{"IKE of another length", datagram(spoke+":500", hub+":500", append(ikeMessage(), gre...)), "", "not IKE"},
		{"an SPI that is reserved", datagram(spoke+":4500", hub+":4500", sealedAs(255, 1, nil)), "", "not ESP"},
		{"a fragment", fragment, "", "fragment"},
		{"IPv6 with UDP", ipv6(protocolUDP, 0, 0, 0, 0, 0, 0, 0, 1), "", "nobody's IPsec"},
		{"UDP over IPv6 without a checksum", over6(spoke6, hub6, protocolUDP, append([]byte{0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0}, esp...)), "", "without a checksum"},
		{"an echo request over IPv6", ipv6(protocolICMPv6, 128), "", "IPv6"},
		{"another type of frame", append(make([]byte, 12), 0x88, 0x47, 1, 2, 3), "", "0x8847"},
		{"half a frame", make([]byte, 13), "", "13 octets"},
	} {
		j := (&Cloud{Spokes: make([]*lab.Node, 3)}).judge()
		j.mapped[netip.MustParseAddrPort(nat+":11323")] = true
		got, err := j.frame(c.frame)
		if c.wrong == "" && (err != nil || got != c.want) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if c.wrong != "" && !handedUp(t, c.frame) {
			t.Errorf("%s: the kernel leaves it out", c.name)
		}
	}
}

// handedUp runs the program of OutsideFast.
func handedUp(t *testing.T, frame []byte) bool {
	t.Helper()
	vm, err := bpf.NewVM(doubtful())
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func TestTheKernelHandsUpWhatIsInDoubt(t *testing.T) {
	const spoke, hub = "198.18.1.1:4500", "192.0.2.1:4500"
	inner := packet(protocolICMP, "10.10.1.10", "10.10.2.10", make([]byte, 200))[14:]
	udp := func(payload []byte) []byte { return datagram(spoke, hub, payload) }
	raw := func(payload []byte) []byte { return packet(protocolESP, "198.18.1.1", "192.0.2.1", payload) }
	sealed := func(sequence uint32) []byte { return sealedAs(0x1000, sequence, bytes.Repeat([]byte{0x5a}, 99)) }
	for _, c := range []struct {
		name  string
		frame []byte
		up    bool
	}{
		{"ESP in UDP", udp(sealed(1)), false},
		{"ESP", raw(sealed(1)), false},
		{"ESP to a NAT's port", datagram(hub, "198.19.1.1:777", sealed(2)), false},
		{"and from it", datagram("198.19.1.1:777", hub, sealed(3)), false},
		{"between NATs' ports", datagram("198.19.1.1:777", "198.19.2.1:778", sealed(3)), true},
		{"one in 64", udp(sealed(128)), true},
		{"one in 64, raw", raw(sealed(64)), true},
		{"short ESP", udp(sealedAs(0x1000, 1, nil)), true},
		{"a packet in clear in UDP", udp(inner), true},
		{"GRE in UDP", udp(slices.Concat([]byte{0, 0, 8, 0}, inner)), true},
		{"GRE with a key in UDP", udp(slices.Concat([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, inner)), true},
		{"a packet in clear in ESP", raw(sealedAs(0x1000, 1, inner)), true},
		{"GRE in clear in ESP", raw(sealedAs(0x1000, 1, slices.Concat([]byte{0, 0, 8, 0}, inner))), true},
		{"the same in tunnel mode", udp(sealedAs(0x1000, 1, slices.Concat(make([]byte, 20), []byte{0x20, 0, 8, 0, 0, 0, 0, 42}, inner))), true},
		{"looks like addresses of the overlay", udp(sealedAs(0x1000, 1, bytes.Repeat([]byte{10}, 99))), true},
	} {
		if got := handedUp(t, c.frame); got != c.up {
			t.Errorf("%s: handed up: %v", c.name, got)
		}
	}
}

func TestAnIVIsThereOnce(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 1000)
	in := func(port string, packets ...[]byte) []byte {
		return datagram("198.18.1.1:4500", "192.0.2.1:"+port, slices.Concat(packets...))
	}
	one, two, three := sealedAs(0x1000, 1, long), sealedAs(0x1000, 2, long), sealedAs(0x1000, 3, nil)
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   int // IVs
		twice  bool
	}{
		{"each once", [][]byte{in("4500", one), in("4500", two)}, 2, false},
		{"twice", [][]byte{in("4500", one), in("4500", one)}, 1, true},
		{"another SPI", [][]byte{in("4500", one), in("4500", sealedAs(0x1001, 1, long))}, 2, false},
		{"another receiver", [][]byte{in("4500", one), in("4501", one)}, 2, false},
		{"several in one, the last is shorter", [][]byte{in("4500", one, two, three)}, 3, false},
		{"twice in one", [][]byte{in("4500", one, two, one)}, 2, true},
		{"again in the next", [][]byte{in("4500", one, two), in("4500", two)}, 2, true},
		{"raw", [][]byte{packet(protocolESP, "198.18.1.1", "192.0.2.1", one), packet(protocolESP, "198.18.1.1", "192.0.2.1", one)}, 1, true},
	} {
		s := ivs{}
		var err error
		for _, f := range c.frames {
			if e := s.note(f); e != nil {
				err = e
			}
		}
		if s.total() != c.want || (err != nil) != c.twice {
			t.Errorf("%s: %d IVs, %v", c.name, s.total(), err)
		}
	}
}

// TestOutsideIsSeen: GRE in clear and a LAN's packet on real wires, before and behind a
// NAT, are caught there and nowhere else.
func TestOutsideIsSeen(t *testing.T) {
	c, err := New(Options{Name: fmt.Sprintf("o%d", os.Getpid()), Spokes: 2, NATs: []NAT{{Spokes: []int{2}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range []struct { // what a NAT or an Internet does with it is theirs
		name   string
		do     func() error
		wires  []string
		reason string
	}{
		{"IKE and ESP", func() error {
			return errors.Join(send(c.Spokes[0], "udp4", "192.0.2.1:500", ikeMessage()), send(c.Spokes[1], "udp4", "192.0.2.1:4500", sealedAs(0x1000, 1, nil)))
		}, nil, ""},
		{"GRE in clear", func() error { return send(c.Spokes[0], "ip4:47", "192.0.2.1", []byte{0, 0, 8, 0}) }, []string{"spoke1", "hub"}, "protocol 47"},
		{"GRE in clear behind a NAT", func() error { return send(c.Spokes[1], "ip4:47", "192.0.2.1", []byte{0, 0, 8, 0}) }, []string{"spoke2"}, "protocol 47 from 192.168.1.2"},
		{"a LAN's packet", func() error { return send(c.Hosts[0], "udp4", Host(2).String()+":4500", sealedAs(0x1000, 2, nil)) }, []string{"spoke1"}, "10.10.1.10 is of the overlay"},
		{"a LAN's packet behind a NAT", func() error { return send(c.Hosts[1], "udp4", Host(1).String()+":4500", sealedAs(0x1000, 3, nil)) }, []string{"spoke2", "nat1"}, "10.10.1.10 is of the overlay"},
	} {
		o, err := c.Outside()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		var sight Sight
		var said error
		settled := func() error {
			sight, said = o.Look()
			if len(s.wires) == 0 {
				if sight.Seen[KindIKE] < 2 || sight.Seen[KindESPinUDP] < 3 {
					return fmt.Errorf("%v", sight)
				}
				return nil
			}
			for _, w := range s.wires {
				if said == nil || !strings.Contains(said.Error(), w+": ") || !strings.Contains(said.Error(), s.reason) {
					return fmt.Errorf("%s: said %v", w, said)
				}
			}
			return nil
		}
		if err := c.Until(t.Context(), 20*time.Second, settled); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if said != nil && strings.Count(said.Error(), " frames on the wire") != len(s.wires) {
			t.Errorf("%s: said %v", s.name, said)
		}
		_, _ = o.Close()
	}
}

// send sends one packet from a node.
func send(n *lab.Node, network, to string, payload []byte) error {
	return n.Do(func() error {
		conn, err := net.Dial(network, to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(payload)
		return err
	})
}
