// SPDX-License-Identifier: Apache-2.0

package world

import (
	"flag"
	"fmt"
	"hash/fnv"
	"slices"
	"testing"

	"dmvpn/ikev2/sa"
)

// Case is one row of the list.
type Case struct {
	Name string
	// Lowest are the rows of the nonce table that it is run with; nil: once.
	Lowest []int
	// Ways are further variants that its text tells apart by World.Way; nil: one.
	Ways []string
	// Loss is its subject: it is not run with each message lost once (a ¹ in the list).
	Loss bool
	Options
	Run func(w *World)
}

// run is one way to run a case.
type run struct {
	seed     uint64
	began    string // who made the first IKE SA
	way      string
	lowest   int
	reimport bool // before every step
	twice    bool // each message
	lose     int  // the message with this number, from 1
	loss     int  // percent, of a storm
}

// storms are the losses of the runs under random loss, in percent.
var storms = []int{0, 10, 25, 40}

var seeds = flag.Int("storms", 1, "storms of each strength that each variant of a case goes through")

// Run runs cases, each with all of its variants: both roles, the rows of the nonce
// table, and each of these as it is, with export and import before every step (the
// same must come out, octet by octet), with each message twice, with each message
// lost once, and under random loss, duplication and reordering.
func Run(t *testing.T, cases ...Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			for _, began := range c.roles() {
				for _, way := range c.ways() {
					for _, lowest := range c.lowest() {
						c.variants(t, run{seed: 1, began: began, way: way, lowest: lowest})
					}
				}
			}
		})
	}
}

// roles are who may make the first IKE SA. Alone leaves that to the case.
func (c Case) roles() []string {
	if c.Alone && !c.Either {
		return []string{"A"}
	}
	return []string{"A", "B"}
}

func (c Case) ways() []string {
	if c.Ways == nil {
		return []string{""}
	}
	return c.Ways
}

func (c Case) lowest() []int {
	if c.Lowest == nil {
		return []int{0}
	}
	return c.Lowest
}

func (r run) String() string {
	s := r.began + " began"
	if r.way != "" {
		s += ", " + r.way
	}
	if r.lowest != 0 {
		s += fmt.Sprintf(", nonce %d", r.lowest)
	}
	return s
}

// variants runs one variant of a case in all the ways that the invariants want.
func (c Case) variants(t *testing.T, r run) {
	t.Run(r.String(), func(t *testing.T) {
		var lines []string
		var messages int
		if !t.Run("plain", func(t *testing.T) {
			w := c.once(t, r)
			lines, messages = w.lines, w.delivered
		}) {
			return // the rest would only fail in the same way
		}
		same := func(r run) func(t *testing.T) {
			return func(t *testing.T) {
				if w := c.once(t, r); !slices.Equal(w.lines, lines) {
					t.Errorf("other actions than before:%s", difference(lines, w.lines))
				}
			}
		}
		t.Run("again", same(r))
		imported := r
		imported.reimport = true
		t.Run("imported", same(imported))
		twice := r
		twice.twice = true
		t.Run("twice", func(t *testing.T) { c.once(t, twice) })
		for n := 1; n <= messages && !c.Loss; n++ {
			lossy := r
			lossy.lose = n
			t.Run(fmt.Sprintf("message %d lost", n), func(t *testing.T) { c.once(t, lossy) })
		}
		if testing.Short() {
			return
		}
		for i := range *seeds * len(storms) {
			stormy := r
			stormy.loss, stormy.reimport = max(storms[i%len(storms)], 1), i%2 == 1
			name := fmt.Sprintf("storm %d, %d%%", i, storms[i%len(storms)])
			stormy.seed = seedOf(c.Name, r.String(), name)
			t.Run(name, func(t *testing.T) { c.once(t, stormy) })
		}
	})
}

// seedOf makes a seed of names, so that no two runs see the same storm.
func seedOf(names ...string) uint64 {
	h := fnv.New64a()
	for _, n := range names {
		h.Write([]byte(n))
	}
	return h.Sum64()
}

func difference(a, b []string) string {
	for i := range a {
		if i >= len(b) {
			return fmt.Sprintf("\n%s\nis missing", a[i])
		}
		if a[i] != b[i] {
			return fmt.Sprintf("\n%s\nis now\n%s", a[i], b[i])
		}
	}
	return "\n" + b[len(a)]
}

// once runs the case one time, in a World of its own, and ends with a drain and the
// end of everything.
func (c Case) once(t *testing.T, r run) *World {
	w := newWorld(t, c.Options, r)
	w.begin()
	c.Run(w)
	w.Drain()
	delivered := w.delivered
	w.finish()
	w.delivered = delivered
	return w
}

// finish ends all SAs. Then nothing may be left: no SPI, no timer, and no answer but
// to strangers (I8).
func (w *World) finish() {
	w.log("—— the end")
	w.mayBreak, w.rules, w.began, w.Horizon = true, nil, false, horizon
	for _, e := range w.Ends {
		for _, c := range e.wants {
			e.Input(&sa.Disconnect{Connection: c.Connection, Remote: c.Remote, Identity: c.Identity})
		}
		w.Settle()
	}
	for n := 0; n < 4; n++ {
		w.drain()
		for _, e := range w.Ends {
			for _, i := range e.Infos() {
				if i.State == "established" {
					e.Input(&sa.Terminate{ID: i.ID})
				}
			}
		}
	}
	w.drain()
	w.empty("after everything was deleted")
	for _, m := range slices.Clone(w.sent) {
		if letters[m.Exchange] != "INIT" {
			w.hand(m)
			w.wire = nil
		}
	}
	w.empty("I8: after copies of old messages")
}

func (w *World) empty(when string) {
	for _, e := range w.Ends {
		if e.Machine == nil {
			continue
		}
		if all := e.Plane.All(Reserved, Installed, Retired); len(all) > 0 {
			w.fail("%s %s has %v", when, e.Name, all)
		}
		if n := len(e.Infos()); n > 0 {
			w.fail("%s %s has %d IKE SAs: %v", when, e.Name, n, w.view(e))
		}
		if len(e.up) > 0 {
			w.fail("%s %s has peers that are up: %v", when, e.Name, e.up)
		}
		if due := e.Machine.Next(); !due.IsZero() {
			w.fail("%s %s has a timer at %v", when, e.Name, due.Sub(w.Now))
		}
	}
}
