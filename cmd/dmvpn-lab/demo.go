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

// The whole story takes less than this, or fails; and one wait in it less than that.
const (
	demoPatience = 110 * time.Second
	stepPatience = 20 * time.Second
)

// errTold says that the failure has been told already.
var errTold = errors.New("told")

func demoCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the story of a shortcut, with every step checked, then clean up",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout(), f) },
	}
	c.Flags().StringVar(&f.svg, "svg", "", "file for the picture of what stands at the end (default: demo.svg in the folder of dmvpn-lab)")
	return c
}

// A story is the demo on its way.
type story struct {
	*cloud.Cloud
	*teller
	outside *cloud.Outside       // every underlay wire
	traffic map[pair]*lab.Stream // numbered UDP between hosts
	slow    time.Duration        // round trip by way of the hub
	had     map[pair]bool        // spokes that have had a shortcut, the lower number first
	svg     string               // where the picture goes
}

// demo tells the story. What goes wrong is told with the daemons' logs.
func demo(ctx context.Context, out io.Writer, f *flags) error {
	programs, err := f.find()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	s := &story{teller: newTeller(out), traffic: map[pair]*lab.Stream{}, had: map[pair]bool{}, svg: f.picture()}
	s.title("DMVPN: a hub, three spokes, and the way that gets shorter")
	f.spokes = 3
	o := f.options(programs)
	o.Settings = func(node string, set *cloud.Settings) {
		set.Tunnels[0].HoldingTime, set.Tunnels[0].Idle = demoHolding, demoIdle
	}
	if s.Cloud, err = cloud.New(o); err != nil {
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
	s.say("All of it held, in %.0f seconds. The picture: %s. Explore it yourself: dmvpn-lab up.", time.Since(s.began).Seconds(), s.svg)
	return nil
}

// tell goes from step to step; the first that does not hold ends the story.
func (s *story) tell(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"The picture", s.wires},
		{"IKE and ESP come up at the hub, and the spokes register", s.registration},
		{"The first packets go by the hub", s.byHub},
		{"The hub tells of a shorter way, and the spokes agree on keys", s.resolution},
		{"Now the packets go directly, into the NAT and out of it", s.direct},
		{"Two behind the same NAT meet inside", s.inside},
		{"A shortcut that nobody uses goes, with its SAs", s.expiry},
		{"The hub's daemon is killed, and the shortcuts go on", s.hubKilled},
		{"A spoke's daemon is killed, and is back", s.spokeKilled},
		{"What hub and spoke say of it", s.shown},
		{"What was on the wires", s.proof},
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
	for _, node := range []string{"hub", "spoke1", "spoke2", "spoke3"} {
		if text := s.Log(node, lines); text != "" {
			s.line("")
			s.line(fmt.Sprintf("The log of %s ends:", node))
			s.show(text)
		}
	}
}
