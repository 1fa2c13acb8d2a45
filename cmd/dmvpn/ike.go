// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/render"
)

// ikeCommand is `dmvpn ike …`. A peer is named by its identity, its address or a
// number of the list.
func ikeCommand(t *target) *cobra.Command {
	c := &cobra.Command{
		Use: "ike", Short: "List the IKE SAs and their Child SAs; rekey, terminate, trace", Args: cobra.NoArgs,
		RunE: show(t, (*control.Client).IKE, render.IKE),
	}
	c.AddCommand(
		t.order("rekey PEER", "Make the keys of the IKE SA with a peer anew", "is being rekeyed", "are being rekeyed", (*control.Client).IKERekey),
		t.order("terminate PEER", "Delete the IKE SAs with a peer; what the configuration wants comes again", "is being deleted", "are being deleted", (*control.Client).IKETerminate),
		t.trace(),
	)
	return c
}

// order makes a command that has something done to a peer's SAs.
func (t *target) order(use, short, one, several string, do func(*control.Client, context.Context, string, bool) (control.IKEDone, error)) *cobra.Command {
	var child bool
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := t.client()
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			done, err := do(client, ctx, args[0], child)
			if err != nil {
				return err
			}
			if t.json {
				return printJSON(cmd.OutOrStdout(), done)
			}
			what, verb := "IKE SA", one
			if child {
				what = "Child SA"
			}
			if done.SAs != 1 {
				what, verb = what+"s", several
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d %s of %s %s\n", done.SAs, what, args[0], verb)
			return err
		},
	}
	c.Flags().BoolVar(&child, "child", false, "the Child SAs, not the IKE SA")
	return c
}

// trace is `dmvpn ike trace`.
func (t *target) trace() *cobra.Command {
	var last bool
	c := &cobra.Command{
		Use: "trace [PEER]", Short: "Show the IKE messages with a peer, or all, decoded: those that are kept, then those that come",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := t.client()
			defer client.Close()
			peer := ""
			if len(args) > 0 {
				peer = args[0]
			}
			return client.IKETrace(cmd.Context(), peer, !last, t.line(cmd.OutOrStdout()))
		},
	}
	c.Flags().BoolVar(&last, "last", false, "end after those that are kept")
	return c
}

// line writes one message of the trace.
func (t *target) line(w io.Writer) func(control.IKELine) error {
	if t.json {
		e := json.NewEncoder(w)
		return func(l control.IKELine) error { return e.Encode(l) }
	}
	return func(l control.IKELine) error { return render.IKELine(w, time.Local, l) }
}
