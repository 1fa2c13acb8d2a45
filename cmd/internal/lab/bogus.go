// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// A Bogus is a way to make a packet that a peer sent into one that must be dropped.
type Bogus struct {
	Name   string
	Reason string // what the receiver counts it for
	Early  bool   // a program can tell by the packet alone, without keys
	// Frame gives the nth of them, out of a frame of ESP in UDP in IPv4.
	Frame func(genuine []byte, n uint32) []byte
}

// bogusTTL marks them: nobody else sends with it.
const bogusTTL = 177

// IsBogus says whether an IPv4 frame is one that a Bogus made.
func IsBogus(frame []byte) bool { return len(frame) >= atUDP && frame[atIP+8] == bogusTTL }

// Where things are in such a frame.
const (
	atIP  = 14
	atUDP = atIP + 20
	atESP = atUDP + 8
)

// Bogi are the ways that there are.
var Bogi = []Bogus{
	{"unknown SPI", "unknown-spi", true, func(genuine []byte, n uint32) []byte {
		b := resend(genuine)
		binary.BigEndian.PutUint32(b[atESP:], 1<<31|(binary.BigEndian.Uint32(b[atESP:])^0x5a5a5a5a)+n)
		return b
	}},
	{"cut off within the ESP header", "truncated", true, func(genuine []byte, n uint32) []byte {
		b := resend(genuine[:atESP+6])
		b[atESP] ^= 0x5a
		return b
	}},
	{"cut off within the text", "truncated", false, func(genuine []byte, _ uint32) []byte {
		return resend(genuine[:atESP+8+8+15])
	}},
	{"replayed", "replay", false, func(genuine []byte, _ uint32) []byte { return resend(genuine) }},
	{"damaged", "integrity", false, func(genuine []byte, n uint32) []byte {
		b := resend(genuine)
		// A number that is still to come: else it would be refused for that.
		binary.BigEndian.PutUint32(b[atESP+4:], binary.BigEndian.Uint32(b[atESP+4:])+1<<24+n)
		b[len(b)-1] ^= 1
		return b
	}},
}

// ESPOf gives the ESP of a Bogus, without headers.
func ESPOf(frame []byte) []byte { return frame[atESP:] }

// WithoutUDP gives the ESP of a Bogus as it would come by itself, IP protocol 50.
func WithoutUDP(frame []byte) []byte {
	b := append(bytes.Clone(frame[:atUDP]), frame[atESP:]...)
	b[atIP+9] = 50
	head(b)
	return b
}

// IsESP says whether a frame is one datagram of IPv4 with ESP in UDP, sent to an address.
func IsESP(frame []byte, to netip.Addr) bool {
	return IsESPInUDP(frame) && len(frame) > atESP+8 && binary.BigEndian.Uint16(frame[12:]) == 0x0800 &&
		to == netip.AddrFrom4([4]byte(frame[atIP+16:atUDP])) && int(binary.BigEndian.Uint16(frame[atUDP+4:])) == len(frame)-atUDP
}

// resend gives a copy with the lengths of what there is, and without a UDP checksum.
func resend(frame []byte) []byte {
	b := bytes.Clone(frame)
	binary.BigEndian.PutUint16(b[atUDP+4:], uint16(len(b)-atUDP))
	clear(b[atUDP+6 : atESP])
	b[atIP+8] = bogusTTL
	head(b)
	return b
}

// head writes the length and the checksum of the IP header.
func head(b []byte) {
	binary.BigEndian.PutUint16(b[atIP+2:], uint16(len(b)-atIP))
	clear(b[atIP+10 : atIP+12])
	binary.BigEndian.PutUint16(b[atIP+10:], ^Sum(b[atIP:atUDP], 0))
}
