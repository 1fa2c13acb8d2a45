// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// fuzzLimits are small enough to be reached.
var fuzzLimits = engine.Limits{Bindings: 12, BindingsPerPeer: 4, Cached: 6, Pending: 3}

// The times of a fuzzed cloud: every holding time that a packet may have is over
// after forever.
const (
	fuzzHolding = 5 * time.Minute
	forever     = 0xFFFF*time.Second + 10*time.Minute
)

// FuzzMachine lets a script loose on a hub and two spokes that talk with each
// other: their packets are mangled on the way, come again, late, from elsewhere
// and rewritten, packets captured from others come in between; addresses and
// routes change, daemons die. Nothing panics; the machines' limits hold and
// their tables fit together after each step; no packet causes a storm. When it is
// over, the cloud comes back by itself, or, cut off, forgets everything.
func FuzzMachine(f *testing.F) {
	for _, s := range seedScripts {
		f.Add(s)
	}
	captured := captures(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		x := newFuzzed(t, captured, script)
		for !x.over() {
			x.step()
			x.check()
		}
		x.end()
	})
}

// fuzzed is a cloud under a script.
type fuzzed struct {
	*script
	t        *testing.T
	c        *nhrptest.Cloud
	captured [][]byte
	packets  [][]byte // that the machines sent
	probes   int      // of them
	mangle   []mutation
	mangled  int // packets that will be
	stimuli  int // inputs from outside
	long     int // steps that take minutes
	reimport bool
	// unsecured are addresses with which there is no SA.
	unsecured map[netip.Addr]bool
	log       []string
}

func newFuzzed(t *testing.T, captured [][]byte, b []byte) *fuzzed {
	x := &fuzzed{t: t, captured: captured, script: &script{b: b}, unsecured: map[netip.Addr]bool{}}
	how := x.octet()
	x.reimport = how&1 != 0
	x.c = nhrptest.NewCloud(uint64(how), x.reimport, func(hub, s1, s2 *engine.Config) {
		for _, c := range []*engine.Config{hub, s1, s2} {
			c.HoldingTime, c.Limits = fuzzHolding, fuzzLimits
			if how&2 != 0 {
				c.Authentication = "test1234"
			}
			c.Unique = how&4 != 0
			if how&32 != 0 {
				c.Probe, c.ProbeIdle = 200*time.Millisecond, 30*time.Second
			}
		}
		if how&8 != 0 {
			s1.NHS[0].NBMA = "hub.example"
		}
		if how&16 != 0 {
			s2.NHS[0].Protocol = netip.Addr{}
		}
	})
	x.c.Silent = true
	if how&128 != 0 { // IKE says who each of them is
		for i, n := range x.c.Nodes {
			n.Identity, n.Config.Authenticated = []string{"hub", "s1", "s2"}[i], true
			n.Start(n.Kill())
		}
	}
	if how&64 != 0 {
		for _, n := range x.c.Nodes {
			n.Secured = func(e engine.Endpoint) bool { return !x.unsecured[e.NBMA] }
			n.Start(n.Kill())
		}
	}
	x.c.Names["hub.example"] = []netip.Addr{x.c.H.NBMA}
	x.c.Mangle = x.onTheWay
	x.c.Run(time.Second)
	return x
}

// onTheWay keeps what is sent for later, and mutates what the script says.
func (x *fuzzed) onTheWay(data []byte) []byte {
	x.packets = append(x.packets, data)
	if p, err := wire.Decode(data); err == nil && p.Type.Probe() {
		x.probes++
	}
	if x.mangled == 0 {
		return data
	}
	x.mangled--
	return mutate(data, x.mangle)
}

// check fails where a machine is not as it should be, or its data plane is not
// as it said.
func (x *fuzzed) check() {
	x.t.Helper()
	for _, n := range x.c.Nodes {
		if n.Machine == nil {
			continue
		}
		if err := errors.Join(n.Machine.Broken(), told(n, n.Machine.Snapshot(x.c.Now))); err != nil {
			x.fail("%s: %.1000v\n%.3000s", n.Name, err, n.Machine.Export())
		}
		// With these limits nothing comes near it.
		if size := len(n.Machine.Export()); size > 1<<17 {
			x.fail("%s exports %d octets", n.Name, size)
		}
	}
	// Each machine has its own timers; beyond them, it answers.
	elapsed := int(x.c.Now.Sub(nhrptest.Start) / time.Second)
	if most := 64*(x.stimuli+1) + 3*elapsed; len(x.packets)-x.probes > most {
		x.fail("%d packets were sent after %d inputs and %d s", len(x.packets)-x.probes, x.stimuli, elapsed)
	}
	// Each machine tries a path six times in 3.4 s at the most, and has 8 of them.
	if most := 64*(x.stimuli+1) + 3*2*8*2*elapsed; x.probes > most {
		x.fail("%d probes were sent after %d inputs and %d s", x.probes, x.stimuli, elapsed)
	}
}

// told compares the data plane with what its machine knows.
func told(n *nhrptest.Node, s engine.Snapshot) error {
	accepted := map[engine.Endpoint]bool{}
	for _, e := range s.Accepted {
		accepted[e.Key()] = true
	}
	var errs []error
	if !maps.Equal(accepted, n.Accepted) {
		errs = append(errs, fmt.Errorf("the data plane accepts %v, the machine %v", n.Accepted, accepted))
	}
	if n.Fallback != s.Fallback {
		errs = append(errs, fmt.Errorf("the data plane falls back to %v, the machine to %v", n.Fallback, s.Fallback))
	}
	for p, hop := range n.Installed {
		if _, ok := n.Bound[hop]; !ok {
			errs = append(errs, fmt.Errorf("the data plane has a route to %v via %v, who is not bound", p, hop))
		}
	}
	return errors.Join(errs...)
}

func (x *fuzzed) fail(format string, args ...any) {
	x.t.Helper()
	for _, line := range x.log {
		x.t.Log(line)
	}
	x.t.Fatalf(format, args...)
}

// end heals what the script broke, and looks what becomes of the cloud.
func (x *fuzzed) end() {
	x.mangled, x.c.Reimport = 0, false
	x.heal()
	if x.steps%4 == 0 {
		x.c.Cut = func(a, b netip.Addr) bool { return true }
		x.c.Run(forever)
		x.check()
		for _, n := range x.c.Nodes {
			if left := n.Machine.Entries(); left > 0 {
				x.fail("%s: cut off for %v it still has %d entries: %.2000s", n.Name, forever, left, n.Machine.Export())
			}
		}
		return
	}
	there, back := x.c.Ping(100)
	for _, wait := range []time.Duration{5 * fuzzHolding, 5 * fuzzHolding, forever} {
		if there.Dropped == "" && back.Dropped == "" {
			return
		}
		x.c.Run(wait)
		x.check()
		there, back = x.c.Ping(100)
	}
	if there.Dropped != "" || back.Dropped != "" {
		for _, n := range x.c.Nodes {
			x.log = append(x.log, fmt.Sprintf("%s: %.3000s", n.Name, n.Machine.Export()))
		}
		x.fail("%v after all is well again: %v, %v", forever, there, back)
	}
}
