// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// ivs are the IVs that one node has sent, by where they went and the SPI: under one key
// none may be there twice (RFC 4106, section 3.1).
type ivs map[sealed]map[uint64]struct{}

type sealed struct {
	to  netip.AddrPort // an SPI is its receiver's; no port for ESP on its own
	spi uint32
}

// note looks at an Ethernet frame with ESP, which a device that segments may have left
// several packets in one.
func (s ivs) note(frame []byte) error {
	const ethernet, udp, natt = 14, 8, 8
	ip := frame[ethernet:]
	const six, headerSix = 6, 40
	body, protocol, address := ip[headerLength(ip):], ip[9], netip.AddrFrom4([4]byte(ip[16:20]))
	if ip[0]>>4 == six {
		body, protocol, address = ip[headerSix:], ip[6], netip.AddrFrom16([16]byte(ip[24:40]))
	}
	to := netip.AddrPortFrom(address, 0)
	if protocol == protocolUDP {
		to = netip.AddrPortFrom(to.Addr(), binary.BigEndian.Uint16(body[2:]))
		body = body[udp:]
	}
	size := segment(body)
	for len(body) >= espLeast {
		key := sealed{to, binary.BigEndian.Uint32(body)}
		iv := binary.BigEndian.Uint64(body[natt:])
		if s[key] == nil {
			s[key] = map[uint64]struct{}{}
		}
		if _, twice := s[key][iv]; twice {
			return fmt.Errorf("ESP to %v, SPI %08x: the IV %016x is there twice", to, key.spi, iv)
		}
		s[key][iv] = struct{}{}
		body = body[min(size, len(body)):]
	}
	return nil
}

// segment is the length of the ESP packets that stand one behind the other in a
// datagram, each with the same SPI and a sequence number near to the first: by chance
// no other octets are so.
func segment(body []byte) int {
	const near = 1 << 10
	spi, sequence := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	for at := espLeast; at+espLeast <= len(body); at++ {
		if binary.BigEndian.Uint32(body[at:]) == spi && binary.BigEndian.Uint32(body[at+4:])-sequence+near < 2*near {
			return at
		}
	}
	return len(body)
}

// total is how many packets were looked at.
func (s ivs) total() (n int) {
	for _, seen := range s {
		n += len(seen)
	}
	return n
}
