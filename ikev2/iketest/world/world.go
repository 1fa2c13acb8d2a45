// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
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

	run     run
	wire    []*Message // on their way, the oldest first
	rules   []rule
	keys    map[spis][]*crypto.Keys
	used    map[uint32]bool // SPIs of Child SAs
	flows   map[flow]*window
	resumed bool // their ids are not known
	answers map[[32]byte]*Message
	nonces  map[string][]byte // by sender and arrow
	sent    []*Message        // each once, since begin
	handed  []*Message        // as often as they were delivered
	awaited func(m *Message) bool
	random  dice
	lines   []string
	failed  bool

	mayBreak  bool // a peer may be without outbound SA while it is up
	strangers bool // an end talks to what is no End
	delivered int  // messages, since begin
	began     bool
	healed    bool
	gone      bool // what this run lost is never repeated: its sender has nothing to say any more
}

// Options are how a World is made.
type Options struct {
	// IKE and ESP are the proposals of both ends.
	IKE, ESP string
	// Both, A and B change the policies, in this order.
	Both, A, B func(c *sa.Connection)
	// Limits are those of both machines.
	Limits sa.Limits
	// Alone leaves out the connection that a case otherwise begins with.
	Alone bool
	// Either says that a case that is Alone connects Began to Waited by itself.
	Either bool
}

// far is a lifetime that no run lasts.
const far = 1000 * time.Hour

// New makes a World of A and B.
func New(t *testing.T, o Options) *World { return newWorld(t, o, run{seed: 1, began: "A"}) }

func newWorld(t *testing.T, o Options, r run) *World {
	cryptotest.SetGlobalRandom(t, r.seed) // ML-KEM draws its own
	w := &World{
		T: t, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), run: r, Way: r.way, Horizon: horizon,
		keys: map[spis][]*crypto.Keys{}, used: map[uint32]bool{}, flows: map[flow]*window{}, answers: map[[32]byte]*Message{},
		nonces: map[string][]byte{}, random: dice{state: r.seed},
	}
	if o.IKE == "" {
		o.IKE = "aes128gcm16-prfsha256-x25519"
	}
	if o.ESP == "" {
		o.ESP = "aes128gcm16-x25519"
	}
	policy := func(name, other string, change func(*sa.Connection)) *sa.Connection {
		c := &sa.Connection{
			Name: "t", Local: identity(name), Mode: sa.Transport, Peers: []auth.Pattern{pattern(other)},
			SharedKeys: auth.SharedKeys{{Peer: pattern(other), Key: crypto.Secret("between a and b")}},
			IKE:        proposals(wire.ProtocolIKE, o.IKE), ESP: proposals(wire.ProtocolESP, o.ESP),
			Lifetimes: sa.Lifetimes{IKESoft: far, ChildSoft: far, Jitter: time.Second},
			Liveness:  -1, Keepalive: -1, FragmentSize: 60000,
		}
		if r.loss > 0 {
			c.Liveness = 30 * time.Second // only so an end learns that the other has given up
		}
		for _, f := range []func(*sa.Connection){o.Both, change} {
			if f != nil {
				f(c)
			}
		}
		c.SetDefaults()
		return c
	}
	w.A = w.Add("A", "198.51.100.1", sa.Config{Connections: []*sa.Connection{policy("a.test", "b.test", o.A)}, Limits: o.Limits})
	w.B = w.Add("B", "198.51.100.2", sa.Config{Connections: []*sa.Connection{policy("b.test", "a.test", o.B)}, Limits: o.Limits})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + strings.Join(w.lines, "\n"))
		}
	})
	if !o.Alone {
		w.Began().Connect(w.Waited())
		w.Settle()
		if w.A.SA() == nil || w.B.SA() == nil {
			w.stop("the connection that the case begins with was not made")
		}
	}
	return w
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

func identity(text string) auth.Identity {
	i, err := auth.ParseIdentity(text)
	if err != nil {
		panic(err)
	}
	return i
}

func pattern(text string) auth.Pattern {
	p, err := auth.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func proposals(protocol wire.ProtocolID, text string) []proposal.Proposal {
	p, err := proposal.Parse(protocol, text)
	if err != nil {
		panic(err)
	}
	return p
}

// IKE gives a policy other proposals for the IKE SA, ESP for Child SAs.
func IKE(text string) func(*sa.Connection) {
	return func(c *sa.Connection) { c.IKE = proposals(wire.ProtocolIKE, text) }
}

// ESP gives a policy other proposals for Child SAs.
func ESP(text string) func(*sa.Connection) {
	return func(c *sa.Connection) { c.ESP = proposals(wire.ProtocolESP, text) }
}
