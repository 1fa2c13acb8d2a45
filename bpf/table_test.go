// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

// table runs each case by BPF_PROG_TEST_RUN, and again over real devices.
func table(t *testing.T, cases []packetCase, egress bool) { tableIn(t, newWorld(t), cases, egress) }

func tableIn(t *testing.T, w *world, cases []packetCase, egress bool) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.enter(t)
			if c.onlyBy != "wire" {
				want := c.want(egress)
				if c.to == underlay {
					value := w.plainTunnel()
					if c.tunnel != nil {
						c.tunnel(&value)
					}
					want.Mark = value.Mark
				}
				check(t, want, w.run(t, c, egress))
			}
			if c.onlyBy != "run" {
				check(t, c.want(egress), w.send(t, c, egress))
			}
		})
	}
}
