// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// The lab with three spokes. Addresses are those of package cloud, delays those
// of up.go.
const drawing = `
                      host0  10.10.0.10
                        │
                 ┌──────┴──────┐
                 │     hub     │  tunnel 10.0.0.1
                 │  192.0.2.1  │
                 └──────┬──────┘
                        │ 20 ms
    ┌───────────────────┴───────────────────┐
    │               internet                │  knows nothing of 10.x
    └──────┬─────────────────────┬──────────┘
           │ 2 ms                │ 2 ms
           │              ┌──────┴───────┐
           │              │  nat1        │  one address for
           │              │  198.19.1.1  │  all behind it
           │              └──┬────────┬──┘
    ┌──────┴─────┐┌──────────┴──┐┌────┴────────┐
    │   spoke1   ││   spoke2    ││   spoke3    │
    │ 198.18.1.1 ││ 192.168.1.2 ││ 192.168.1.3 │
    └──────┬─────┘└──────┬──────┘└────┬────────┘
    tunnel │ 10.0.0.11   │ 10.0.0.12  │ 10.0.0.13
           │             │            │
         host1         host2        host3
       10.10.1.10    10.10.2.10   10.10.3.10
`

// picture draws a lab of so many spokes.
func picture(spokes int, clear bool) string {
	text := drawing
	switch {
	case spokes == 1:
		text += "\n    Here: spoke1 alone, and no NAT.\n"
	case spokes == 2:
		text += "\n    Here: without spoke3.\n"
	case spokes > 3:
		text += fmt.Sprintf("\n    And on to spoke%d, like spoke1.\n", spokes)
	}
	if clear && spokes > 1 {
		text += "\n    Here without the NAT: spoke2 is at 198.18.2.1, and so on.\n"
	}
	return text
}
