// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// Timers of the demo; in earnest they are two hours and five minutes.
const (
	demoHolding = 60 * time.Second
	demoIdle    = 6 * time.Second
)

// The whole story takes less than this, or fails.
const demoPatience = 90 * time.Second

// errTold says that the failure has been told already.
var errTold = errors.New("told")

func demoCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Tell the story of a shortcut, with every step checked, then clean up",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout(), f) },
	}
}

// A story is the demo on its way.
type story struct {
	*cloud.Cloud
	*teller
	nhrp    *lab.Capture  // NHRP on spoke1's wire
	traffic *lab.Stream   // numbered UDP from host1 to host2
	slow    time.Duration // round trip by way of the hub
}

// demo tells the story. What goes wrong is told with the daemons' logs.
func demo(ctx context.Context, out io.Writer, f *flags) error {
	programs, err := f.find()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	s := &story{teller: newTeller(out)}
	s.title("DMVPN: a hub, three spokes, and the way that gets shorter")
	if s.Cloud, err = cloud.New(cloud.Options{
		Name: f.name, Programs: programs, Spokes: 3, HubDelay: hubDelay, SpokeDelay: spokeDelay,
		Settings: func(node string, set *cloud.Settings) {
			set.Tunnels[0].HoldingTime, set.Tunnels[0].Idle = demoHolding, demoIdle
		},
	}); err != nil {
		return err
	}
	err = s.tell(ctx)
	select {
	case <-lab.Interrupted():
		return err
	default:
	}
	if err != nil {
		s.logs()
	}
	if closed := s.Close(); closed != nil {
		s.fails("The lab could not be removed", closed)
		return errTold
	}
	if err != nil {
		return errTold
	}
	s.say("All of it held, in %.0f seconds. Explore it yourself: dmvpn-lab up.", time.Since(s.began).Seconds())
	return nil
}

// tell goes from step to step; the first that does not hold ends the story.
func (s *story) tell(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"The picture", s.wires},
		{"Every spoke registers at the hub", s.registration},
		{"The first packets go by the hub", s.byHub},
		{"The hub tells of a shorter way, and the spoke resolves it", s.resolution},
		{"Now the packets go directly", s.direct},
		{"What hub and spoke say of it", s.shown},
		{"What the kernel has of it", s.kernel},
		{"The daemons die, and the packets go on", s.crash},
		{"A shortcut that nobody uses expires", s.expiry},
		{"The way leads by the hub again", s.back},
		{"Nothing is left", s.nothingLeft},
	} {
		s.chapter(step.name)
		if err := step.do(ctx); err != nil {
			select {
			case <-lab.Interrupted():
			default:
				s.fails(step.name+": this does not hold", err)
			}
			return err
		}
	}
	return nil
}

// logs shows how the daemons' logs end.
func (s *story) logs() {
	const lines = 40
	for _, node := range []string{"hub", "spoke1", "spoke2"} {
		if text := s.Log(node, lines); text != "" {
			s.line("")
			s.line(fmt.Sprintf("The log of %s ends:", node))
			s.show(text)
		}
	}
}
