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
    └──────┬────────────┬────────────┬──────┘
           │ 2 ms       │ 2 ms       │ 2 ms
    ┌──────┴─────┐┌─────┴──────┐┌────┴───────┐
    │   spoke1   ││   spoke2   ││   spoke3   │
    │ 198.18.1.1 ││ 198.18.2.1 ││ 198.18.3.1 │
    └──────┬─────┘└─────┬──────┘└────┬───────┘
    tunnel │ 10.0.0.11  │ 10.0.0.12  │ 10.0.0.13
           │            │            │
         host1        host2        host3
       10.10.1.10   10.10.2.10   10.10.3.10
`

// picture draws a lab of so many spokes.
func picture(spokes int) string {
	switch {
	case spokes == 1:
		return drawing + "\n    Here: spoke1 alone.\n"
	case spokes == 2:
		return drawing + "\n    Here: without spoke3.\n"
	case spokes > 3:
		return drawing + fmt.Sprintf("\n    And likewise on to spoke%d.\n", spokes)
	}
	return drawing
}
