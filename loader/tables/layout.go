// SPDX-License-Identifier: Apache-2.0

package tables

import "net/netip"

// The structs of bpf/include/structs.h as they stand in the maps. Integers are
// in host order; a test compares names, sizes and offsets with what bpf2go read
// from the compiled programs.

type address [16]byte

type tunnelKey struct {
	Local  address
	Key    uint32
	HasKey uint32
}

type tunnelValue struct {
	Local           address
	IfIndex         uint32
	UnderlayIfIndex uint32
	Key             uint32
	Flags           uint32
	Mark            uint32
	MTU             uint32
	FallbackPeer    uint32
	UnderlayTable   uint32
	Fallback6Peer   uint32
	Broadcast       [4]byte
	Local6          address
}

const (
	flagKey       = 1 << 0
	flagRedirect  = 1 << 1
	flagProtected = 1 << 2
	flagMSSClamp  = 1 << 3
	flagVRF       = 1 << 4

	flagPeerUp = 1 << 0
)

type nbmaKey struct {
	NBMA          address
	TunnelIfIndex uint32
	Port          uint16
	Pad           uint16
}

type nextHopKey struct {
	NextHop       address
	TunnelIfIndex uint32
}

type peerValue struct {
	NBMA          address
	Protocol      address
	TunnelIfIndex uint32
	Flags         uint32
	MTU           uint32
	Port          uint16
	Pad           uint16
}

type statsValue struct {
	RxPackets uint64
	RxBytes   uint64
	RxLastNs  uint64
	TxPackets uint64
	TxBytes   uint64
	TxLastNs  uint64
}

type dropKey struct {
	Peer   uint32
	Reason uint32
}

type dropValue struct {
	Packets uint64
	Bytes   uint64
}

type espLocal struct {
	TunnelIfIndex uint32
	Ways          uint32
}

const (
	espUDP = 1 << 0
	espRaw = 1 << 1
)

// toAddress gives the 16 bytes of the maps: IPv4 as ::ffff:a.b.c.d, an invalid
// address as zeros.
func toAddress(a netip.Addr) address {
	if !a.IsValid() {
		return address{}
	}
	return a.As16()
}

// fromAddress is the inverse of toAddress.
func fromAddress(a address) netip.Addr {
	if a == (address{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}
