// SPDX-License-Identifier: Apache-2.0

// Package loader puts the data plane into the kernel and keeps it there: it
// loads the programs, pins maps and links, attaches to devices, and replaces
// running programs without a gap. What it pins goes on forwarding when the
// daemon is away.
package loader

import (
	"errors"
	"net/netip"

	"dmvpn/loader/tables"
)

// Options says where an instance lives.
type Options struct {
	BPFFS    string // mount point of a bpffs; "": /sys/fs/bpf
	Instance string // "": default
	Clsact   bool   // attach by clsact even where the kernel has TCX (6.6)
}

// Plane is the data plane of an instance.
type Plane struct {
	Tables *tables.Tables
}

// Open loads the programs and takes over the maps pinned at
// <bpffs>/dmvpn/<instance>/dmvpn_*, or makes them. Pins that another version
// made with other layouts are refused.
func Open(o Options) (*Plane, error) { return nil, errors.New("loader: not built") }

// AttachTunnel attaches dmvpn_encap to the egress of the tunnel device; a
// program of ours that runs there is replaced in one step.
func (p *Plane) AttachTunnel(ifindex int) error { return errors.New("loader: not built") }

// AttachUnderlay attaches dmvpn_decap to the ingress of the underlay device,
// once however many tunnels share it; replaced as by AttachTunnel.
func (p *Plane) AttachUnderlay(ifindex int) error { return errors.New("loader: not built") }

// ReleaseUnderlay detaches from the underlay device if no tunnel of the tables
// uses it any more.
func (p *Plane) ReleaseUnderlay(ifindex int) error { return errors.New("loader: not built") }

// EventKind says what a program reports.
type EventKind uint32

// The kinds of bpf/include/structs.h.
const (
	EventRedirect    EventKind = 1 // came in by the tunnel and leaves by it
	EventMiss        EventKind = 2 // the next hop has no peer
	EventUnknownNBMA EventKind = 3 // data from an unregistered NBMA address
)

// Event is one report of a program.
type Event struct {
	Kind    EventKind
	Tunnel  int           // index of the device
	Peer    tables.PeerID // whom the packet goes to; 0 none
	Address netip.Addr    // overlay next hop; of EventUnknownNBMA the outer source
	Packet  []byte        // the beginning of the inner packet; the receiver's
}

// ReadEvent waits for the next report of a program. After Close it gives
// os.ErrClosed. One goroutine at a time.
func (p *Plane) ReadEvent() (Event, error) { return Event{}, errors.New("loader: not built") }

// Close gives back the descriptors; what is attached and pinned stays and runs.
func (p *Plane) Close() error { return nil }

// Teardown removes everything of the instance from the kernel: programs,
// filters, pins, tunnel devices with their addresses and routes. What is not
// there is no error.
func Teardown(o Options) error { return errors.New("loader: not built") }
