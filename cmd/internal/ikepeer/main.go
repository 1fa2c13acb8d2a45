// SPDX-License-Identifier: Apache-2.0

// Ikepeer is IKE alone: the service that dmvpnd runs, with its own configuration,
// for tests against other implementations. It is not installed.
//
//	ikepeer -c FILE [flags]            run until SIGTERM or SIGINT; the peers are told
//	ikepeer connect --socket PATH HOST connect to a peer, once; status 1 and why where it fails
//
// FILE is TOML with the table [ipsec] and its [[ipsec.secret]], the same as in
// [tunnel.NAME.ipsec] of dmvpnd. Everything else is a flag:
//
//	--local ADDRESS     bind to it instead of all addresses
//	--device NAME       bind to it too
//	--connect HOST      connect to a peer, and again whenever it is lost; an address, with
//	                    a port perhaps (default 500), or a DNS name; may be repeated
//	--identity IDENTITY who the peers of --connect and connect must be
//	--run-dir DIRECTORY for the crash secret and the control socket (default: a new one
//	                    below the folder for temporary files)
//	--socket PATH       the control socket (default: RUN-DIR/control.sock)
//	--installer KIND    what Child SAs are installed in: xfrm, the kernel's, with policies for
//	                    what they carry; plain, a table that carries nothing; auto (default),
//	                    xfrm where the kernel has ESP
//	--here SELECTOR     what our side carries instead of protocol 47 of our address, such as
//	                    10.1.0.0/24 or 192.0.2.1/32:47; --there SELECTOR: the peer's side; may
//	                    be repeated
//	--passive           never rekey by itself
//	--log-level LEVEL   on standard error (default trace, which has every message, decoded)
//
// It says "ready" in the log when the sockets are open. The control socket has the
// part of dmvpnd's API that is about IKE, so that `dmvpn --socket PATH ike` and
// `ike rekey`, `terminate`, `trace` work, and POST /v1/ike/connect?host=HOST, which
// answers when the peer is up or the attempt has failed.
package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/control"
)

func main() { os.Exit(run()) }

// run gives the exit status.
func run() int {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "ikepeer: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	file, device, identity, runDir, socket, installer, level string
	local                                                    string
	connect, here, there                                     []string
	passive                                                  bool
}

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "ikepeer -c FILE", Short: "IKE alone, for tests", Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return serve(o) },
	}
	f := c.Flags()
	f.StringVarP(&o.file, "config", "c", "", "configuration `FILE`")
	f.StringVar(&o.local, "local", netip.IPv4Unspecified().String(), "local `ADDRESS`")
	f.StringVar(&o.device, "device", "", "device `NAME`")
	f.StringArrayVar(&o.connect, "connect", nil, "`HOST` to be connected to")
	f.StringVar(&o.identity, "identity", "", "`IDENTITY` of those that are connected to")
	f.StringVar(&o.runDir, "run-dir", "", "run `DIRECTORY`")
	f.StringVar(&o.socket, "socket", "", "control socket's `PATH`")
	f.StringVar(&o.installer, "installer", "auto", "xfrm, plain or auto")
	f.StringArrayVar(&o.here, "here", nil, "`SELECTOR` of our side")
	f.StringArrayVar(&o.there, "there", nil, "`SELECTOR` of the peer's side")
	f.BoolVar(&o.passive, "passive", false, "never rekey")
	f.StringVar(&o.level, "log-level", "trace", "`LEVEL` of the log")
	_ = c.MarkFlagRequired("config") // the flag is there
	c.AddCommand(connectCommand())
	return c
}

// connectCommand asks one that runs.
func connectCommand() *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use: "connect --socket PATH HOST", Short: "Connect to a peer, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := control.NewClient(socket)
			defer client.Close()
			return client.Post(cmd.Context(), "ike/connect?host="+args[0])
		},
	}
	c.Flags().StringVar(&socket, "socket", "", "control socket's `PATH`")
	_ = c.MarkFlagRequired("socket") // the flag is there
	return c
}
