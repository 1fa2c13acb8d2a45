// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
)

// Multicast writes GET /v1/multicast: who gets what each tunnel sends to many.
func Multicast(w io.Writer, _ time.Time, tunnels []control.Multicast) error {
	for i, m := range tunnels {
		var out []string
		if i > 0 {
			out = append(out, "")
		}
		out = append(out, fmt.Sprintf("%s: %s; at most %d copies a second, %d at once", m.Tunnel, strings.Join(m.Mode, ", "), m.Rate, m.Burst),
			fmt.Sprintf("  %d packets in %d copies; dropped: %d beyond the rate, %d for nobody", m.Packets, m.Copies, m.Limited, m.Nobody))
		if err := lines(w, out); err != nil {
			return err
		}
		t := newTable(">PEER", "NBMA", "PROTOCOL", "WHY")
		for _, x := range m.Members {
			id, why := "", x.Why+", not there"
			if x.Peer != 0 {
				id, why = count(uint64(x.Peer)), x.Why
			}
			t.add(id, endpoint(x.NBMA, x.Port), address(x.Protocol), why)
		}
		if err := t.write(w, "  nobody gets any"); err != nil {
			return err
		}
	}
	return nil
}
