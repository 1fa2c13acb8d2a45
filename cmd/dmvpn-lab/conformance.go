// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/conformance"
)

// trying are the flags of the conformance suite as they were typed.
type trying struct {
	list, json               bool
	role, target, server     string
	local, routed            []string
	clients, networks, hides string
	run                      string
	o                        conformance.Options
}

// mostStatus is the exit status of so many failures and more; 125 and 126 mean others.
const mostStatus = 100

func conformanceCommand() *cobra.Command {
	x := &trying{}
	c := &cobra.Command{
		Use:   "conformance",
		Short: "Hold an NHRP server or client, whoever made it, against RFC 2332",
		Long: `Hold an NHRP server or client, whoever made it, against RFC 2332.

It plays stations at addresses of this host, sends GRE packets by hand, and judges
what comes back; the target sees spokes that register, ask, purge and send nonsense.
The exit status is the number of rows that failed, 100 for more than that, 101 if the
target could not be tried. docs/nhrp-conformance.md has the rows.`,
		Example: `  dmvpn-lab conformance --target 192.0.2.1 --server-address 10.0.0.1/24 --key 42 --local 198.51.100.7
  dmvpn-lab conformance --role nhc --target 198.51.100.11 --server-address 10.0.0.1/24 --local 192.0.2.1 --routed 10.20.0.0/16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.conform(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := c.Flags()
	f.BoolVar(&x.list, "list", false, "name the cases, one a line, and end")
	f.BoolVarP(&x.json, "json", "j", false, "results as JSON")
	f.StringVar(&x.role, "role", "nhs", "what the target is: nhs or nhc")
	f.StringVar(&x.target, "target", "", "NBMA address of the target")
	f.StringVar(&x.server, "server-address", "", "overlay address of the NHS, with the length of the overlay's prefix")
	f.Int64Var(&x.o.Key, "key", -1, "GRE key (-1: none)")
	f.StringVar(&x.o.Auth, "auth", "", "NHRP authentication, Cisco's")
	f.StringSliceVar(&x.local, "local", nil, "NBMA addresses of this host to play stations at, or prefixes of such")
	f.StringVar(&x.clients, "clients", "", "part of the overlay that the stations take addresses of (default: its upper half)")
	f.StringVar(&x.networks, "networks", "", "what the stations have behind them (default: 100.64.0.0/10 or 2001:db8:c000::/36)")
	f.StringVar(&x.hides, "behind", "", "a network behind the target")
	f.StringSliceVar(&x.routed, "routed", nil, "of a client: what it routes to the NHS, one for each address of --local")
	f.DurationVar(&x.o.Wait, "wait", time.Second, "how long to wait for what should not come")
	f.IntVar(&x.o.AtOnce, "at-once", 8, "cases at once, as far as addresses go")
	f.StringVar(&x.run, "run", "", "only the rows that match the regular expression")
	return c
}

// options reads what was typed.
func (x *trying) options() (conformance.Options, error) {
	o := x.o
	o.Role = conformance.Role(x.role)
	var err error
	if o.Run, err = regexp.Compile(x.run); err != nil {
		return o, fmt.Errorf("--run: %w", err)
	}
	if x.target != "" {
		if o.Target, err = netip.ParseAddr(x.target); err != nil {
			return o, fmt.Errorf("--target: %w", err)
		}
	}
	for _, p := range []struct {
		flag, text string
		to         *netip.Prefix
	}{
		{"server-address", x.server, &o.Server}, {"clients", x.clients, &o.Clients}, {"networks", x.networks, &o.Networks},
		{"behind", x.hides, &o.Behind},
	} {
		if p.text != "" {
			if *p.to, err = netip.ParsePrefix(p.text); err != nil {
				return o, fmt.Errorf("--%s: %w", p.flag, err)
			}
		}
	}
	if o.Local, err = prefixesOf("local", x.local); err != nil {
		return o, err
	}
	o.Routed, err = prefixesOf("routed", x.routed)
	return o, err
}

// prefixesOf reads prefixes, and addresses as such of one.
func prefixesOf(flag string, list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if !strings.Contains(text, "/") {
			var a netip.Addr
			a, err = netip.ParseAddr(text)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func (x *trying) conform(ctx context.Context, out io.Writer) error {
	if x.list {
		conformance.List(out)
		return nil
	}
	o, err := x.options()
	if err != nil {
		return failures{101, err}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tell := func(r conformance.Result) { conformance.WriteLine(out, r) }
	if x.json {
		tell = nil
	} else {
		conformance.WriteHead(out)
	}
	results, err := conformance.Run(ctx, o, tell)
	if err != nil {
		return failures{101, err}
	}
	if x.json {
		err = conformance.WriteJSON(out, results)
	} else {
		_, err = fmt.Fprintln(out, conformance.Summary(results))
	}
	if err != nil {
		return err
	}
	if n := conformance.Count(results)[conformance.Fail]; n > 0 {
		return failures{min(n, mostStatus), nil}
	}
	return nil
}

// failures is an exit status, with what to say before.
type failures struct {
	status int
	err    error
}

func (f failures) Error() string {
	if f.err != nil {
		return f.err.Error()
	}
	return fmt.Sprintf("%d rows failed", f.status)
}
