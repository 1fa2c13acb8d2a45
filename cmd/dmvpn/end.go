// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader"
)

func stop(t *target) *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "End the daemon; the tunnels stay and forward", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := t.client()
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), patience)
			defer cancel()
			if err := client.Stop(ctx); err != nil {
				return err
			}
			return t.waitForEnd(ctx)
		},
	}
}

func teardown(t *target) *cobra.Command {
	c := &cobra.Command{
		Use:   "teardown",
		Short: "End the daemon and remove its tunnels, programs, pins and routes",
		Long: "Teardown tells the peers, ends the daemon and removes everything of the instance\n" +
			"from the kernel. It works without a daemon too, by what is pinned. Unreachable routes\n" +
			"stay under what was protected, so that it does not go in clear instead: with --release\n" +
			"they go too, now or when everything else is gone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.teardown(cmd.Context()) },
	}
	c.Flags().BoolVar(&t.release, "release", false, "lift the unreachable routes under what was protected: it then follows the routes that are left, in clear")
	c.Flags().StringVar(&t.bpffs, "bpffs", "", "mount point of the BPF file system, where no daemon is there to say (`DIRECTORY`)")
	return c
}

func (t *target) teardown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, teardownPatience)
	defer cancel()
	client := t.client()
	defer client.Close()
	err := client.Teardown(ctx, t.release)
	if err == nil {
		return t.waitForEnd(ctx)
	}
	if !errors.Is(err, control.ErrAway) || t.socket != "" {
		return err
	}
	return t.teardownAlone(err)
}

// teardownAlone removes what a daemon left that does not run.
func (t *target) teardownAlone(away error) error {
	owner, err := instance.ReadOwner(t.paths())
	if err != nil {
		owner = instance.Owner{}
	}
	o := loader.Options{BPFFS: owner.BPFFS, Instance: t.instance}
	if t.bpffs != "" {
		o.BPFFS = t.bpffs
	}
	if o.BPFFS == "" {
		o.BPFFS = config.DefaultBPFFS
	}
	release := t.release && instance.StandsUnreachable(t.paths())
	if !t.leftSomething(o) && !release {
		return fmt.Errorf("there is nothing to take down: no pins at %s/dmvpn/%s, and %w", o.BPFFS, t.instance, away)
	}
	return t.remove(o, release)
}

// remove takes down what is left, with the lock that keeps a daemon from starting meanwhile: it
// would miss the unreachable routes that are lifted under it.
func (t *target) remove(o loader.Options, release bool) error {
	lock, err := instance.Take(t.runDir, t.instance, instance.Owner{PID: os.Getpid(), BPFFS: o.BPFFS})
	if err != nil {
		return err
	}
	err = instance.Teardown(t.paths(), o)
	if err == nil && release {
		err = instance.Release(t.paths())
	}
	if err != nil {
		return errors.Join(err, lock.Unlock())
	}
	return lock.Remove()
}

func (t *target) leftSomething(o loader.Options) bool {
	for _, path := range []string{t.paths().Folder, o.BPFFS + "/dmvpn/" + t.instance} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// waitForEnd waits until the daemon has given its lock back, so that the next
// one can start.
func (t *target) waitForEnd(ctx context.Context) error {
	if t.socket != "" {
		return nil
	}
	for {
		if instance.Free(t.paths()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("dmvpnd has answered, but does not end; look at its log")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
