// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"

	"dmvpn/loader/tables"
)

// ESPFilter is dmvpn_filter, which refuses ESP with an SPI that nobody has at the sockets that
// it stands at. The sockets keep it when the Plane is closed.
type ESPFilter struct {
	program *ebpf.Program
	tables  *tables.Tables
}

// ESPFilter gives the filter. It is safe for concurrent use until the Plane is closed.
func (p *Plane) ESPFilter() (*ESPFilter, error) {
	program, err := p.program(programKey{name: progFilter})
	if err != nil {
		return nil, fmt.Errorf("loader: %w", err)
	}
	return &ESPFilter{program, p.Tables}, nil
}

// FD is what a socket attaches.
func (f *ESPFilter) FD() int { return f.program.FD() }

// Refused gives how many datagrams were kept from the UDP socket with a cookie.
func (f *ESPFilter) Refused(cookie uint64) (uint64, error) { return f.tables.Refused(cookie) }
