// SPDX-License-Identifier: Apache-2.0

// Dmvpnd is the daemon: NHRP and the loader of the data plane in one process.
//
//	dmvpnd -c FILE           run
//	dmvpnd --check -c FILE   look at the file and say what is wrong with it
//	dmvpnd guard -c FILE     only stand the unreachable routes under what is protected
//
// The data plane forwards on its own: SIGTERM, or a crash, ends the daemon and
// detaches nothing; what starts next takes everything up again. `dmvpn teardown`
// removes all of it. SIGHUP reads log-level and what [ipsec] names again.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/config"
	"dmvpn/loader/holder"
)

// DefaultFile is the configuration where -c does not name another.
const DefaultFile = "/etc/dmvpn/dmvpn.toml"

func main() { os.Exit(run()) }

// run gives the exit status.
func run() int {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, sentence(err))
		return 1
	}
	return 0
}

// sentence is an error as it stands on standard error. Those of a configuration
// begin with their place, as compilers write them.
func sentence(err error) string {
	if errors.As(err, new(config.Errors)) {
		return err.Error()
	}
	// What was joined while cleaning up after the error comes after it.
	return "dmvpnd: " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

func command() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use:           "dmvpnd -c FILE",
		Short:         "The DMVPN daemon",
		Version:       version(),
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			if check {
				for _, w := range c.Warnings {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w.Error())
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %s\n", file, describe(c))
				return nil
			}
			return serve(c)
		},
	}
	c.PersistentFlags().StringVarP(&file, "config", "c", DefaultFile, "the configuration `FILE`")
	c.Flags().BoolVar(&check, "check", false, "only look at the configuration")
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetHelpCommand(&cobra.Command{Hidden: true})
	c.AddCommand(guard(&file), hold())
	return c
}

// hold is the small process that keeps descriptors while the daemon is away. It
// is the daemon's child and not for people.
func hold() *cobra.Command {
	return &cobra.Command{
		Use:    "hold SOCKET",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			// It ends when it is asked on its socket, not with a terminal.
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
			return holder.Serve(args[0])
		},
	}
}

// addresses are those of a tunnel as one word.
func addresses(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, " and ")
}

func describe(c *config.Config) string {
	var parts []string
	for _, t := range c.Tunnels {
		role := "hub"
		if len(t.NHS) > 0 {
			role = fmt.Sprintf("spoke of %d", len(t.NHS))
		}
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", t.Name, addresses(t.Addresses), role))
	}
	return strings.Join(parts, ", ")
}
