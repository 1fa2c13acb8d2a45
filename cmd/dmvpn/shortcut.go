// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/render"
)

// shortcutCommand is `dmvpn shortcut …`.
func shortcutCommand(t *target) *cobra.Command {
	c := &cobra.Command{
		Use: "shortcut", Aliases: []string{"shortcuts"}, Short: "List the direct paths; clear", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).Shortcuts, render.Shortcuts),
	}
	c.AddCommand(t.clear())
	return c
}

// clear is `dmvpn shortcut clear`.
func (t *target) clear() *cobra.Command {
	var tunnel string
	c := &cobra.Command{
		Use:   "clear [PREFIX|ADDRESS ...]",
		Short: "End the direct paths to what is named, or all: they are made anew when packets want them",
		Long: "Clear ends the shortcuts that have addresses of a PREFIX, or the ADDRESS, and the negative\n" +
			"entries in it; without any, all of the instance or the tunnel. Packets go by the hub, and are\n" +
			"told the direct way anew. Registrations, servers and maps stay. Where nothing is of one that\n" +
			"is named, nothing is ended, and that is an error.",
		ValidArgsFunction: t.completeShortcuts,
		RunE: func(cmd *cobra.Command, args []string) error {
			var within []netip.Prefix
			for _, a := range args {
				p, err := control.ParsePrefix(a)
				if err != nil {
					return err
				}
				within = append(within, p)
			}
			return show(t, func(c *control.Client, ctx context.Context) (control.Cleared, error) {
				return c.ClearShortcuts(ctx, tunnel, within)
			}, render.Cleared)(cmd, nil)
		},
	}
	c.Flags().StringVar(&tunnel, "tunnel", "", "those of the tunnel `NAME` alone")
	return c
}

// completeShortcuts offers the prefixes that there are.
func (t *target) completeShortcuts(cmd *cobra.Command, _ []string, _ string) (list []cobra.Completion, _ cobra.ShellCompDirective) {
	client := t.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), patience)
	defer cancel()
	shortcuts, err := client.Shortcuts(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for _, s := range shortcuts {
		list = append(list, s.Prefix.String())
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
