// SPDX-License-Identifier: Apache-2.0

// Dmvpn asks the daemon, and takes a tunnel down. Without a command it shows
// the summary; `dmvpn help` lists the commands.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/instance"
	"dmvpn/cmd/internal/render"
)

func main() { os.Exit(run()) }

// run gives the exit status.
func run() int {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "dmvpn: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// patience is how long the daemon may take to answer; taking everything down
// takes longer.
const (
	patience         = 12 * time.Second
	teardownPatience = 45 * time.Second
)

// target is the daemon that is asked.
type target struct {
	runDir, instance, socket, bpffs string
	json, release                   bool
}

func (t *target) paths() instance.Paths { return instance.PathsOf(t.runDir, t.instance) }

func (t *target) client() *control.Client {
	if t.socket != "" {
		return control.NewClient(t.socket)
	}
	return control.NewClient(t.paths().Socket)
}

func command() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "dmvpn",
		Short: "Ask the DMVPN daemon",
		Long: "Dmvpn shows what the daemon of this machine does. Without a command it shows the\n" +
			"summary. With -j a command prints the JSON of the control API.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          show(&t, (*control.Client).Status, render.Summary),
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !config.InstanceName(t.instance) {
				return fmt.Errorf("--instance %q cannot be a name: write 1 to 32 letters, digits, '-' or '_'", t.instance)
			}
			return nil
		},
	}
	flags := c.PersistentFlags()
	flags.StringVar(&t.instance, "instance", config.DefaultInstance, "the daemon's instance `NAME`")
	flags.StringVar(&t.runDir, "run-dir", config.DefaultRunDir, "the daemon's run `DIRECTORY`")
	flags.StringVar(&t.socket, "socket", "", "the control socket's `PATH`, instead of instance and run-dir")
	flags.BoolVarP(&t.json, "json", "j", false, "print JSON")
	_ = c.MarkPersistentFlagDirname("run-dir") // the flag is there
	list := func(use, short string, run func(*cobra.Command, []string) error, aliases ...string) {
		c.AddCommand(&cobra.Command{Use: use, Aliases: aliases, Short: short, Args: cobra.NoArgs, RunE: run})
	}
	list("peer", "List the peers, with their traffic", show(&t, (*control.Client).Peers, render.Peers), "peers")
	c.AddCommand(nhrpCommand(&t))
	list("nhs", "List the next hop servers", show(&t, (*control.Client).NHS, render.NHS))
	c.AddCommand(shortcutCommand(&t))
	list("multicast", "List who gets multicast, with its limits and counters", show(&t, (*control.Client).Multicast, render.Multicast))
	list("stats", "Show the counters, and what was dropped", t.stats)
	list("drops", "List what was dropped, by peer and reason", show(&t, (*control.Client).Drops,
		func(w io.Writer, _ time.Time, d []control.Drop) error { return render.Drops(w, d) }))
	c.AddCommand(ikeCommand(&t), shows(&t), stop(&t), teardown(&t))
	return c
}

// show makes a command of one request and its display.
func show[T any](t *target, ask func(*control.Client, context.Context) (T, error), display func(io.Writer, time.Time, T) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		client := t.client()
		defer client.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		answer, err := ask(client, ctx)
		if err != nil {
			return err
		}
		if t.json {
			return printJSON(cmd.OutOrStdout(), answer)
		}
		return display(cmd.OutOrStdout(), time.Now(), answer)
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// stats asks twice: what was dropped belongs beside what was not.
func (t *target) stats(cmd *cobra.Command, args []string) error {
	if t.json {
		return show(t, (*control.Client).Stats, nil)(cmd, args)
	}
	return show(t, func(c *control.Client, ctx context.Context) (control.Stats, error) { return c.Stats(ctx) },
		func(w io.Writer, now time.Time, s control.Stats) error {
			client := t.client()
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			drops, err := client.Drops(ctx)
			if err != nil {
				return err
			}
			return render.Stats(w, now, s, drops)
		})(cmd, args)
}
