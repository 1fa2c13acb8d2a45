// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// A Kind is what a frame on an underlay wire is, of what may be there.
type Kind string

// What may be on an underlay wire.
const (
	KindIKE       Kind = "IKE"
	KindESP       Kind = "ESP"
	KindESPinUDP  Kind = "ESP in UDP"
	KindKeepalive Kind = "NAT keepalive"
	KindService   Kind = "of a service outside"
	KindICMP      Kind = "ICMP about one of these"
	KindARP       Kind = "ARP"
	KindND        Kind = "neighbour discovery"
	KindBogus     Kind = "made up by the test"
)

const (
	protocolICMP   = 1
	protocolUDP    = 17
	protocolESP    = 50
	protocolICMPv6 = 58

	portIKE, portNATT = 500, 4500

	ikeHeader = 28 // RFC 7296, section 3.1
	espLeast  = 8 + 8 + 4 + 16
)

// A judge says what frames are, by their octets alone. It learns which ports a NAT
// stands for: who has spoken with port 4500 may speak with another such one.
type judge struct {
	inside   []netip.Prefix // overlay and LANs: never an outer address
	hosts    map[[4]byte]bool
	hosts6   map[[16]byte]bool
	mapped   map[netip.AddrPort]bool
	services []uint16
}

// errPorts says that neither port is known for IPsec's, so far.
var errPorts = errors.New("ports of nobody's IPsec")

// errInside tells of an address.
func errInside(a netip.Addr) error {
	return fmt.Errorf("%v is of the overlay or of a LAN, and in an outer header", a)
}

// frame judges an Ethernet frame.
func (j *judge) frame(data []byte) (Kind, error) {
	const ethernet = 14
	if len(data) < ethernet {
		return "", fmt.Errorf("a frame of %d octets", len(data))
	}
	body := data[ethernet:]
	switch kind := binary.BigEndian.Uint16(data[12:]); kind {
	case 0x0800:
		return j.ipv4(body, false)
	case 0x0806:
		return j.arp(body)
	case 0x86dd:
		return j.ipv6(body, false)
	default:
		return "", fmt.Errorf("a frame of type %#04x", kind)
	}
}

// arp looks at the addresses that are asked for (RFC 826).
func (j *judge) arp(body []byte) (Kind, error) {
	const sender, target, end = 14, 24, 28
	if len(body) < end {
		return "", fmt.Errorf("ARP of %d octets", len(body))
	}
	for _, at := range []int{sender, target} {
		if a := netip.AddrFrom4([4]byte(body[at : at+4])); j.isInside(a) {
			return "", errInside(a)
		}
	}
	return KindARP, nil
}

// neighbours admits what kernels say for themselves: ND (RFC 4861) and MLD (RFC 3810), but of
// nobody in the overlay.
func (j *judge) neighbours(ip []byte) (Kind, error) {
	const header, hopByHop = 40, 0
	if len(ip) < header+9 {
		return "", fmt.Errorf("IPv6 of %d octets", len(ip))
	}
	next, body := ip[6], ip[header:]
	if next == hopByHop {
		skip := 8 + 8*int(body[1])
		next = body[0]
		if body = body[min(skip, len(body)):]; len(body) == 0 {
			return "", fmt.Errorf("IPv6 without a body")
		}
	}
	const firstMLD, solicitation, advertisement, lastND, reportMLDv2 = 130, 135, 136, 137, 143
	if t := body[0]; next == protocolICMPv6 && (t == solicitation || t == advertisement) && len(body) >= 24 {
		if a := netip.AddrFrom16([16]byte(body[8:24])); j.isInside(a) {
			return "", errInside(a)
		}
	}
	if t := body[0]; next == protocolICMPv6 && (t >= firstMLD && t <= lastND || t == reportMLDv2) {
		return KindND, nil
	}
	return "", fmt.Errorf("IPv6, protocol %d", next)
}

// ipv6 judges an IPv6 packet, as ipv4 does.
func (j *judge) ipv6(ip []byte, quoted bool) (Kind, error) {
	const header, hopByHop = 40, 0
	if len(ip) < header {
		return "", fmt.Errorf("IPv6 of %d octets", len(ip))
	}
	source, destination := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	for _, a := range []netip.Addr{source, destination} {
		if j.isInside(a) {
			return "", errInside(a)
		}
	}
	protocol, body := ip[6], ip[header:]
	if total := header + int(binary.BigEndian.Uint16(ip[4:])); !quoted && total > header && total < len(ip) {
		body = ip[header:total]
	}
	what := fmt.Sprintf("from %v to %v", source, destination)
	const errors = 128 // the ICMPv6 types below
	switch {
	case protocol == protocolUDP && !quoted && len(body) >= 8 && body[6] == 0 && body[7] == 0:
		return "", fmt.Errorf("UDP without a checksum %s: IPv6 wants one", what) // RFC 8200, section 8.1
	case protocol == protocolUDP:
		return j.udp(netip.AddrPortFrom(source, 0), netip.AddrPortFrom(destination, 0), body, quoted)
	case protocol == protocolESP && quoted:
		return KindESP, nil
	case protocol == protocolESP:
		return KindESP, j.esp(body, what)
	case protocol == protocolICMPv6 && !quoted && len(body) > 8 && body[0] < errors:
		if _, err := j.ipv6(body[8:], true); err != nil {
			return "", fmt.Errorf("ICMPv6 %s about a packet: %w", what, err)
		}
		return KindICMP, nil
	case (protocol == protocolICMPv6 || protocol == hopByHop) && !quoted:
		return j.neighbours(ip)
	}
	return "", fmt.Errorf("IPv6, protocol %d %s", protocol, what)
}

func (j *judge) isInside(a netip.Addr) bool {
	for _, p := range j.inside {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ipv4 judges an IP packet; quoted: in an ICMP message, cut.
func (j *judge) ipv4(ip []byte, quoted bool) (Kind, error) {
	const least = 20
	if len(ip) < least || len(ip) < headerLength(ip) {
		return "", fmt.Errorf("IP of %d octets", len(ip))
	}
	source, destination := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	for _, a := range []netip.Addr{source, destination} {
		if j.isInside(a) {
			return "", errInside(a)
		}
	}
	if fragment := binary.BigEndian.Uint16(ip[6:]) & 0x3fff; fragment != 0 && !quoted {
		return "", fmt.Errorf("a fragment from %v to %v: nothing here is larger than its wire", source, destination)
	}
	protocol, body := ip[9], ip[headerLength(ip):]
	if total := int(binary.BigEndian.Uint16(ip[2:])); !quoted && total >= headerLength(ip) && total < len(ip) {
		body = ip[headerLength(ip):total] // Ethernet's padding is none of it
	}
	what := fmt.Sprintf("from %v to %v", source, destination)
	switch {
	case protocol == protocolUDP:
		return j.udp(netip.AddrPortFrom(source, 0), netip.AddrPortFrom(destination, 0), body, quoted)
	case protocol == protocolESP && quoted:
		return KindESP, nil
	case protocol == protocolESP:
		return KindESP, j.esp(body, what)
	case protocol == protocolICMP && !quoted:
		return j.icmp(body, what)
	}
	return "", fmt.Errorf("protocol %d %s", protocol, what)
}

func headerLength(ip []byte) int { return int(ip[0]&0xf) * 4 }

// icmp admits errors about what may be here: a daemon's ports are closed, a path is too
// narrow.
func (j *judge) icmp(body []byte, what string) (Kind, error) {
	const unreachable, exceeded, quote = 3, 11, 8
	if len(body) < quote || body[0] != unreachable && body[0] != exceeded {
		return "", fmt.Errorf("ICMP %s", what)
	}
	if _, err := j.ipv4(body[quote:], true); err != nil {
		return "", fmt.Errorf("ICMP %s about a packet: %w", what, err)
	}
	return KindICMP, nil
}

// udp judges a datagram, which a device that segments may have left several in one.
func (j *judge) udp(from, to netip.AddrPort, body []byte, quoted bool) (Kind, error) {
	const header = 8
	if len(body) < header {
		return "", fmt.Errorf("UDP from %v to %v of %d octets", from.Addr(), to.Addr(), len(body))
	}
	from = netip.AddrPortFrom(from.Addr(), binary.BigEndian.Uint16(body))
	to = netip.AddrPortFrom(to.Addr(), binary.BigEndian.Uint16(body[2:]))
	what := fmt.Sprintf("UDP from %v to %v", from, to)
	payload := body[header:]
	if from.Port() == portIKE || to.Port() == portIKE {
		if quoted {
			return KindIKE, nil
		}
		return KindIKE, ike(payload, what)
	}
	if slices.Contains(j.services, from.Port()) || slices.Contains(j.services, to.Port()) {
		return KindService, nil
	}
	switch known := j.mapped[from] || j.mapped[to]; {
	case from.Port() == portNATT:
		j.mapped[to] = true
	case to.Port() == portNATT:
		j.mapped[from] = true
	case !known:
		return "", fmt.Errorf("%s: %w", what, errPorts)
	}
	switch {
	case quoted:
		return KindESPinUDP, nil
	case len(payload) == 1 && payload[0] == 0xff: // RFC 3948, section 2.3
		return KindKeepalive, nil
	case len(payload) >= 4 && binary.BigEndian.Uint32(payload) == 0: // the non-ESP marker, section 2.2
		return KindIKE, ike(payload[4:], what)
	}
	return KindESPinUDP, j.esp(payload, what)
}

// ike looks at an IKE header: version 2, and the length that it states.
func ike(message []byte, what string) error {
	const version, length = 17, 24
	if len(message) < ikeHeader || message[version] != 0x20 || int(binary.BigEndian.Uint32(message[length:])) != len(message) {
		return fmt.Errorf("%s: not IKE: % x", what, message[:min(ikeHeader, len(message))])
	}
	return nil
}

// esp looks at what can be seen of ESP, and that no packet of the overlay's stands in
// what should be sealed.
func (j *judge) esp(packet []byte, what string) error {
	const reserved = 255 // SPIs, RFC 4303, section 2.1
	if len(packet) < espLeast || binary.BigEndian.Uint32(packet) <= reserved {
		return fmt.Errorf("%s: not ESP: % x", what, packet[:min(espLeast, len(packet))])
	}
	for at := 0; at+8 <= len(packet); at++ {
		if packet[at] == 10 && j.hosts[[4]byte(packet[at:])] && j.hosts[[4]byte(packet[at+4:])] {
			return fmt.Errorf("%s: an IP header in clear within: % x", what, packet[at:at+8])
		}
		if packet[at] == 0xfd && at+32 <= len(packet) && j.hosts6[[16]byte(packet[at:])] && j.hosts6[[16]byte(packet[at+16:])] {
			return fmt.Errorf("%s: an IPv6 header in clear within: % x", what, packet[at:at+32])
		}
	}
	return nil
}
