// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/render"
)

// nhrpCommand is `dmvpn nhrp …`.
func nhrpCommand(t *target) *cobra.Command {
	c := &cobra.Command{
		Use: "nhrp", Short: "List the NHRP cache; counters", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).NHRP, render.NHRP),
	}
	c.AddCommand(&cobra.Command{
		Use: "counters", Short: "Count NHRP by type, code and reason, and say how full its caches are", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).NHRPCounters, render.NHRPCounters),
	})
	return c
}
