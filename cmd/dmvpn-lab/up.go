// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// One way, from a site to the Internet: a hub that is far away shows what a
// shortcut is worth.
const (
	hubDelay   = 20 * time.Millisecond
	spokeDelay = 2 * time.Millisecond
)

const maxSpokes = 50

func upCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Build a lab with its daemons running, and leave it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return up(cmd, f) },
	}
	c.Flags().IntVar(&f.spokes, "spokes", 3, "number of spokes, 1 to 50")
	c.Flags().BoolVar(&f.clear, "clear", false, "packets travel in clear: the tunnels are not protected")
	return c
}

// up starts the process that owns the lab, and waits for its word.
func up(cmd *cobra.Command, f *flags) error {
	if f.spokes < 1 || f.spokes > maxSpokes {
		return fmt.Errorf("--spokes %d: 1 to %d", f.spokes, maxSpokes)
	}
	programs, err := f.find()
	if err != nil {
		return err
	}
	word, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer word.Close()
	owner := exec.Command("/proc/self/exe", "serve", "--name", f.name,
		"--programs", filepath.Dir(programs.Dmvpnd), "--spokes", fmt.Sprint(f.spokes), fmt.Sprint("--clear=", f.clear))
	owner.ExtraFiles = []*os.File{theirs}
	owner.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the terminal
	if err := owner.Start(); err != nil {
		theirs.Close()
		return err
	}
	theirs.Close()
	said, err := io.ReadAll(word)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(said)); text != "ready" {
		_ = owner.Wait()
		return errors.New(text)
	}
	out := cmd.OutOrStdout()
	_, err = fmt.Fprintf(out, "%s\nThe lab %q is up. Try:\n\n%s\n", picture(f.spokes, f.clear), f.name, hints(f.name))
	return err
}

func hints(name string) string {
	self := "dmvpn-lab"
	if name != "dmvpn" {
		self += " --name " + name
	}
	return strings.Join([]string{
		"  " + self + " exec host1 -- ping -c 3 10.10.2.10       by the hub at first, then directly",
		"  " + self + " exec host1 -- traceroute -n 10.10.2.10",
		"  " + self + " exec spoke1 -- dmvpn show dmvpn",
		"  " + self + " exec spoke1 -- dmvpn ike",
		"  " + self + " exec hub -- tcpdump -ni eth0                   IKE and ESP, and nothing else",
		"  " + self + " exec spoke2 -- bash",
		"  " + self + " down",
	}, "\n")
}

func serveCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:    "serve",
		Short:  "Own a lab until told to end; up starts this",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE:   func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), f) },
	}
	c.Flags().IntVar(&f.spokes, "spokes", 3, "number of spokes")
	c.Flags().BoolVar(&f.clear, "clear", false, "no protection")
	return c
}

// serve builds the lab, says so on descriptor 3, and keeps it.
func serve(ctx context.Context, f *flags) error {
	word := os.NewFile(3, "word")
	if word == nil {
		return errors.New("serve is started by dmvpn-lab up")
	}
	syscall.CloseOnExec(3) // what runs in the lab shall not hold it open
	c, err := build(ctx, f)
	if err != nil {
		_, _ = fmt.Fprintln(word, err)
		return errTold
	}
	if _, err := fmt.Fprintln(word, "ready"); err != nil {
		return errors.Join(err, c.Close())
	}
	word.Close()
	select {} // a signal ends it: the lab's guard cleans up
}

func build(ctx context.Context, f *flags) (*cloud.Cloud, error) {
	programs, err := f.find()
	if err != nil {
		return nil, err
	}
	c, err := cloud.New(f.options(programs))
	if err != nil {
		return nil, err
	}
	err = c.StartAll(ctx)
	if err == nil {
		err = c.Until(ctx, 20*time.Second, func() error { return c.AllRegistered(ctx) })
	}
	if err != nil {
		err = fmt.Errorf("%w\n\nthe hub's log ends:\n%s\n\nspoke1's log ends:\n%s", err, c.Log("hub", 20), c.Log("spoke1", 20))
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// options are those of every lab: spokes 2 and 3 are behind the same NAT, which GRE in
// clear does not pass.
func (f *flags) options(programs cloud.Programs) cloud.Options {
	o := cloud.Options{
		Name: f.name, Programs: programs, Spokes: f.spokes, HubDelay: hubDelay, SpokeDelay: spokeDelay, Protected: !f.clear,
	}
	if f.spokes > 1 && !f.clear {
		o.NATs = []cloud.NAT{{Spokes: []int{2, 3}}}
	}
	return o
}

func downCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove a lab with everything that runs in it",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return lab.Remove(f.name) },
	}
}

func execCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:   "exec NODE [--] COMMAND [ARGUMENT...]",
		Short: "Run a command on a node, as if it were a machine of its own",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("exec wants a node and a command, such as: exec spoke1 -- dmvpn show dmvpn")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			command := args[1:]
			if command[0] == "--" && len(command) > 1 {
				command = command[1:]
			}
			return run(f, args[0], command)
		},
	}
	c.Flags().SetInterspersed(false) // flags behind NODE are the command's
	return c
}

// run runs a command on a node of a lab that is up. Our own programs are found
// by their names.
func run(f *flags, node string, args []string) error {
	n, err := lab.Open(f.name, node)
	if err != nil {
		return err
	}
	if programs, err := f.find(); err == nil {
		path := filepath.Dir(programs.Dmvpn) + ":" + os.Getenv("PATH")
		if err := os.Setenv("PATH", path); err != nil {
			return err
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}
