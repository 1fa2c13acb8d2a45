// SPDX-License-Identifier: Apache-2.0

package render

import (
	"io"
	"time"

	"dmvpn/cmd/internal/control"
)

// NHRPCounters writes GET /v1/nhrp/counters.
func NHRPCounters(w io.Writer, _ time.Time, tunnels []control.NHRPCounters) error {
	for i, c := range tunnels {
		if i > 0 {
			if err := lines(w, []string{""}); err != nil {
				return err
			}
		}
		t := newTable(c.Tunnel, ">RECEIVED", ">SENT", ">BEYOND THE RATE")
		for _, x := range c.Types {
			t.add(x.Type, count(x.Received), count(x.Sent), count(x.Dropped))
		}
		if err := t.write(w, c.Tunnel+": no NHRP packet was seen"); err != nil {
			return err
		}
		dropped := map[string]uint64{"too many waited": c.Unread}
		for reason, n := range c.Dropped {
			dropped[reason] = n
		}
		for _, part := range []struct {
			title string
			all   map[string]uint64
		}{{"REFUSALS AND ERRORS", c.Codes}, {"NOT PROCESSED", dropped}, {"EVENTS", c.Events}} {
			if err := counters(w, part.title, part.all); err != nil {
				return err
			}
		}
		if err := lines(w, []string{""}); err != nil {
			return err
		}
		caches := newTable("CACHE", ">USED", ">MOST")
		for _, x := range c.Caches {
			caches.add(x.Name, count(uint64(x.Used)), count(uint64(x.Most)))
		}
		if err := caches.write(w, "no cache"); err != nil {
			return err
		}
	}
	return nil
}
