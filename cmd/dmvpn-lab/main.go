// SPDX-License-Identifier: Apache-2.0

// Command dmvpn-lab builds a DMVPN out of network namespaces on this machine:
// an Internet, a hub and spokes, to be told about (demo) or explored (up, exec,
// down). It needs root, and touches nothing but the namespaces it makes. Its
// conformance suite tries a system elsewhere, from where it stands.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

func main() {
	err := command().Execute()
	select {
	case <-lab.Interrupted():
		select {} // the signal's own goroutine cleans up and ends the process
	default:
	}
	var status *exec.ExitError
	var failed failures
	switch {
	case err == nil:
	case errors.As(err, &failed):
		fmt.Fprintln(os.Stderr, "dmvpn-lab:", err)
		os.Exit(failed.status)
	case errors.Is(err, errTold):
		os.Exit(1)
	case errors.As(err, &status):
		os.Exit(status.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "dmvpn-lab:", err)
		os.Exit(1)
	}
}

// flags are the flags of all commands.
type flags struct {
	name     string
	programs string
	spokes   int
	clear    bool
	svg      string
}

func command() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:           "dmvpn-lab",
		Short:         "A DMVPN on one machine, in network namespaces",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&f.name, "name", "dmvpn", "name of the lab; labs of different names live side by side")
	root.PersistentFlags().StringVar(&f.programs, "programs", "", "folder of dmvpnd and dmvpn (default: the one of dmvpn-lab)")
	root.AddCommand(demoCommand(f), upCommand(f), downCommand(f), execCommand(f), serveCommand(f), conformanceCommand())
	return root
}

// programs finds dmvpnd and dmvpn.
func (f *flags) find() (cloud.Programs, error) {
	dir := f.programs
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return cloud.Programs{}, err
		}
		dir = filepath.Dir(self)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cloud.Programs{}, err
	}
	p := cloud.Programs{Dmvpnd: filepath.Join(dir, "dmvpnd"), Dmvpn: filepath.Join(dir, "dmvpn")}
	for _, path := range []string{p.Dmvpnd, p.Dmvpn} {
		if _, err := os.Stat(path); err != nil {
			return p, fmt.Errorf("%w: build it with make build, or name its folder with --programs", err)
		}
	}
	return p, nil
}

// picture is where the demo draws to.
func (f *flags) picture() string {
	if f.svg != "" {
		return f.svg
	}
	self, err := os.Executable()
	if err != nil {
		return "demo.svg"
	}
	return filepath.Join(filepath.Dir(self), "demo.svg")
}
