// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// datagrams is what the sockets that are read in batches have in common.
type datagrams struct {
	name       string // of the kind, for errors
	file       *os.File
	descriptor syscall.RawConn
	local      netip.AddrPort
	device     string
	mark       uint32
	family     *family
	raw        bool // without UDP: endpoints have port 0
	sort       func([]byte) (Kind, []byte)

	filter Filter // nil: none
	cookie uint64 // of the socket, if there is a filter

	lossesMu sync.Mutex
	losses   uint32 // packets that a full buffer has lost, as they were last asked for

	queued   atomic.Bool // something may be in the error queue
	counters counters
}

// counters are counted by any goroutine.
type counters struct {
	ike, esp, keepalives, garbage, truncated, sent, tooBig, failed atomic.Uint64
}

// Local gives what the socket is bound to; the address may be the unspecified one.
func (d *datagrams) Local() netip.AddrPort { return d.local }

// File gives the socket for a holder to duplicate. It stays the connection's.
func (d *datagrams) File() *os.File { return d.file }

// SetReadDeadline makes ReadBatch return at a time, also one that waits already,
// with an error that wraps os.ErrDeadlineExceeded; the zero time takes it back.
func (d *datagrams) SetReadDeadline(t time.Time) error { return d.file.SetReadDeadline(t) }

// Close ends a ReadBatch that waits.
func (d *datagrams) Close() error { return d.file.Close() }
