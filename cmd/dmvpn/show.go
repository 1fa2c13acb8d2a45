// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/render"
)

// shows is `dmvpn show …`, for fingers that have learned it on routers.
func shows(t *target) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "The displays that routers have: show dmvpn, show ip nhrp, show ipv6 nhrp, show crypto ikev2 sa",
		RunE:  needsCommand,
	}
	dmvpn := &cobra.Command{
		Use: "dmvpn", Short: "List the peers of each tunnel as routers do", Args: cobra.NoArgs,
		RunE: show(t, dmvpnOf, render.ShowDMVPN),
	}
	c.AddCommand(dmvpn, showNHRP(t, "ip", false), showNHRP(t, "ipv6", true), showCrypto(t))
	return c
}

// showNHRP is `show ip nhrp` and `show ipv6 nhrp`.
func showNHRP(t *target, family string, six bool) *cobra.Command {
	ip := &cobra.Command{Use: family, Short: "show " + family + " nhrp", RunE: needsCommand}
	ip.AddCommand(&cobra.Command{
		Use: "nhrp", Short: "List the NHRP cache as routers do", Args: cobra.NoArgs,
		RunE: show(t, func(c *control.Client, ctx context.Context) ([]control.Entry, error) {
			entries, err := c.NHRP(ctx)
			return render.OfFamily(entries, six), err
		}, render.ShowIPNHRP),
	})
	return ip
}

// showCrypto is `show crypto ikev2 sa [detailed]`.
func showCrypto(t *target) *cobra.Command {
	crypto := &cobra.Command{Use: "crypto", Short: "show crypto ikev2 sa", RunE: needsCommand}
	ikev2 := &cobra.Command{Use: "ikev2", Short: "show crypto ikev2 sa", RunE: needsCommand}
	sa := &cobra.Command{
		Use: "sa", Short: "List the IKE SAs as routers do", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).IKE, render.ShowCryptoIKEv2SA(false)),
	}
	sa.AddCommand(&cobra.Command{
		Use: "detailed", Short: "The same, with all that there is", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).IKE, render.ShowCryptoIKEv2SA(true)),
	})
	ikev2.AddCommand(sa)
	crypto.AddCommand(ikev2)
	return crypto
}

// needsCommand is the run of a command that only groups others.
func needsCommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if len(args) > 0 {
		return fmt.Errorf("%s has no %q: it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
	}
	return fmt.Errorf("%s needs one more word: %s", cmd.CommandPath(), strings.Join(names, ", "))
}

// dmvpnOf asks for what `show dmvpn` is made of.
func dmvpnOf(c *control.Client, ctx context.Context) (render.DMVPN, error) {
	var d render.DMVPN
	s, err := c.Status(ctx)
	if err != nil {
		return d, err
	}
	d.Tunnels = s.Tunnels
	if d.Peers, err = c.Peers(ctx); err != nil {
		return d, err
	}
	if d.Servers, err = c.NHS(ctx); err != nil {
		return d, err
	}
	d.Entries, err = c.NHRP(ctx)
	return d, err
}
