// SPDX-License-Identifier: Apache-2.0

// Package pump is the slow path in Go: what BPF does not finish. It reads the
// tunnel device's queue (multicast, hairpin GSO, what has no way) and the raw
// GRE socket (NHRP, outer fragments, outer IP options), by the rules that hold
// in BPF, and counts in the same tables.
package pump

import (
	"errors"
	"io"
	"net/netip"

	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// Config is one tunnel.
type Config struct {
	Tunnel        int             // index of the device
	Header        underlay.Header // key of the tunnel; Protocol is not looked at
	MTU           int
	Queue         io.ReadWriteCloser // of the device, with virtio_net_hdr
	Conn          *underlay.Conn     // may be shared with other tunnels
	Tables        *tables.Tables
	MulticastRate int // copies a second that are sent at most; 0: 2000
	// NHRP takes the NHRP packets that arrive; the slice is the callee's. It
	// must not block for long.
	NHRP func(from netip.Addr, packet []byte)
	// Report takes a sentence for the log; nil: nobody.
	Report func(message string)
}

// Pump is the slow path of one tunnel.
type Pump struct{}

// New makes the pump; nothing runs yet.
func New(c Config) *Pump { return nil }

// Run reads the queue until it is closed or its read deadline passes; the
// descriptor stays the caller's. Another pump may then take it over.
func (p *Pump) Run() error { return errors.New("pump: not built") }

// SendNHRP sends an NHRP packet to the NBMA address.
func (p *Pump) SendNHRP(to netip.Addr, packet []byte) error { return errors.New("pump: not built") }

// SetConn changes the socket: the underlay address is another one.
func (p *Pump) SetConn(c *underlay.Conn) {}

// Receiver reads a raw GRE socket for the tunnels that share it.
type Receiver struct{}

// NewReceiver makes the receiver; nothing runs yet.
func NewReceiver(c *underlay.Conn, t *tables.Tables) *Receiver { return nil }

// Add gives the packets of the pump's key to the pump, Remove ends it. Both may
// be called while Run runs.
func (r *Receiver) Add(p *Pump) {}

// Remove undoes Add.
func (r *Receiver) Remove(p *Pump) {}

// Run reads until the socket is closed.
func (r *Receiver) Run() error { return errors.New("pump: not built") }
