// SPDX-License-Identifier: Apache-2.0

// Package underlay holds the sockets that send and receive outer packets: the
// raw GRE socket of the slow path.
package underlay

import (
	"errors"
	"net/netip"
	"os"
)

// ErrTooBig says that an outer packet is above the path's MTU.
var ErrTooBig = errors.New("underlay: packet is above the path's MTU")

// Config says where outer packets leave.
type Config struct {
	Local  netip.Addr // outer source, and destination of what is received
	Device string     // bound to it; "": not bound
	Mark   uint32
	Adopt  *os.File // the socket that a holder kept; nil: one is opened
}

// Header is of GRE what this version uses, RFC 2784 and RFC 2890.
type Header struct {
	Protocol uint16 // EtherType of the payload; 0x2001 is NHRP
	Key      uint32 // meaningful with HasKey
	HasKey   bool
}

// Packet is one GRE packet that arrived.
type Packet struct {
	Header
	Source, Destination netip.Addr // outer
	TOS                 uint8      // outer, with the ECN bits
	Payload             []byte     // into the buffer of Read
}

// Conn is a raw GRE socket. Send may be called together with Read and itself;
// Read by one goroutine at a time.
type Conn struct{}

// Open opens the socket or takes over the adopted one, and binds it to the
// local address, device and mark. It needs CAP_NET_RAW.
func Open(c Config) (*Conn, error) { return nil, errors.New("underlay: not built") }

// File gives a duplicate of the descriptor for a holder.
func (c *Conn) File() (*os.File, error) { return nil, errors.New("underlay: not built") }

// Read waits for the next packet; buf should have 65536 octets. Outer fragments
// are put together by the kernel, outer IP options, GRE checksum and sequence
// number are stepped over. A *Malformed error is about one packet: read on.
// Every other ends the Conn; after Close it is os.ErrClosed.
func (c *Conn) Read(buf []byte) (Packet, error) { return Packet{}, errors.New("underlay: not built") }

// Send sends the payload in GRE with TTL 64, DF set and the TOS octet. It wraps
// ErrTooBig where the packet is above the path's MTU.
func (c *Conn) Send(to netip.Addr, h Header, tos uint8, payload []byte) error {
	return errors.New("underlay: not built")
}

// Close ends a Read that waits.
func (c *Conn) Close() error { return nil }
