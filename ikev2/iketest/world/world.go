// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
)

// World is machines, the wire between them, and the time.
type World struct {
	T    *testing.T
	A, B *End
	Ends []*End
	Now  time.Time
	// Way is which of the case's Ways this run goes.
	Way string
	// Horizon is what a drain does not wait for: lifetimes, and liveness checks where
	// a row has them. At first that is long.
	Horizon time.Duration

	run      run
	wire     []*Message // on their way, the oldest first
	rules    []rule
	keys     map[spis][]*crypto.Keys
	used     map[uint32]bool // SPIs of Child SAs
	flows    map[flow]*window
	resumed  bool // their ids are not known
	answers  map[[32]byte]*Message
	nonces   map[string][]byte // by sender and arrow
	vectors  map[string][]byte // what was sealed, by key and initialization vector
	outbound map[string]uint32 // inbound SPIs, by the key that the SA sends with
	sent     []*Message        // each once, since begin
	handed   []*Message        // as often as they were delivered
	awaited  func(m *Message) bool
	random   dice
	lines    []string
	failed   bool

	mayBreak  bool // a peer may be without outbound SA while it is up
	strangers bool // an end talks to what is no End
	delivered int  // messages, since begin
	began     bool
	healed    bool
	gone      bool // what this run lost is never repeated: its sender has nothing to say any more
}

// Add puts a further end into the World. Installer, Random and Instance are its own.
func (w *World) Add(name, address string, c sa.Config) *End {
	e := &End{Name: name, Address: netip.MustParseAddr(address), Config: c, world: w, up: map[string]uint64{},
		dice: &dice{state: w.random.next()}, spis: dice{state: w.random.next()}}
	e.Plane = newPlane(e)
	e.Config.Installer, e.Config.Random = e.Plane, e.dice
	e.Config.Instance = [8]byte{0, name[0]}
	w.Ends = append(w.Ends, e)
	e.Machine = sa.New(w.Now, e.Config)
	return e
}

// begin ends the preparation: what is sent, delivered and lost counts from here, and
// the wire holds everything until the case says what to deliver.
func (w *World) begin() {
	w.began, w.delivered = true, 0
	w.Begin()
}

// Begin lets what is sent, and told of peers, count from here. A case that is Alone and
// has made what it begins with calls it.
func (w *World) Begin() {
	w.log("—— the case begins")
	w.sent = nil
	for _, e := range w.Ends {
		e.Ups, e.Downs, e.Sends, e.Failures, e.wasUp = 0, 0, 0, nil, len(e.up) > 0
	}
}

// fresh takes an SPI that no end ever had.
func (w *World) fresh(spi uint32) bool {
	if w.used[spi] {
		return false
	}
	w.used[spi] = true
	return true
}

// Began is the end that makes the first IKE SA, Waited the other one.
func (w *World) Began() *End {
	if w.run.began == "B" {
		return w.B
	}
	return w.A
}

// Waited is the other end than Began.
func (w *World) Waited() *End {
	if w.run.began == "B" {
		return w.A
	}
	return w.B
}

// LastOctet lets all draws of both machines from now on differ in nothing but their last
// octet.
func (w *World) LastOctet() {
	for _, e := range w.Ends {
		e.dice.last = true
	}
}

// Strangers says that what the ends tell each other is bent so far that they will not
// agree: only each of them is looked at.
func (w *World) Strangers() { w.strangers, w.mayBreak = true, true }

// Plain says that nothing is lost in this run but what the case loses.
func (w *World) Plain() bool { return w.run.loss == 0 && w.run.lose == 0 }

// Counts says that the machines' counters go on in this run: an import begins them anew.
func (w *World) Counts() bool { return !w.run.reimport && !w.Storm() }

// Storm says that this run is one under random loss: Deliver lets the wire do as
// it likes, and expectations are not looked at.
func (w *World) Storm() bool { return w.run.loss > 0 }

func (w *World) log(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf("%9.3f ", w.Now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds())+fmt.Sprintf(format, args...))
}

// fail fails the test and goes on.
func (w *World) fail(format string, args ...any) {
	w.T.Helper()
	w.failed = true
	w.log("FAIL "+format, args...)
	w.T.Errorf(format, args...)
}

// stop fails the test and ends it.
func (w *World) stop(format string, args ...any) {
	w.T.Helper()
	w.fail(format, args...)
	w.T.FailNow()
}

// Fatalf fails the case, unless it runs under random loss.
func (w *World) Fatalf(format string, args ...any) {
	w.T.Helper()
	if !w.Storm() {
		w.stop(format, args...)
	}
}
