// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"io"
	"slices"
	"time"

	"dmvpn/ikev2/wire"
)

// Machine is all of IKE. Make one with New or Import.
type Machine struct {
	config      Config
	connections map[string]*Connection
	epoch       time.Time
	now         instant
	clock       time.Time // what the caller's clock showed last
	out         []Action
	after       []func() // once the response has been sealed
	load        load
	index       index
	peak        int      // of IKE SAs since the maps were made; see shrink
	touched     []*ikeSA // their tasks go on when the input has been handled
	changed     []*peer
	timers      timerHeap
	counters    Counters

	state
}

// state is what Export writes: plain data, found by its keys.
type state struct {
	LastID   uint64              // of IKE SAs, peers and wants
	SAs      map[wire.SPI]*ikeSA // by our own SPI
	Peers    map[uint64]*peer
	Wants    []*want  // in the order of their numbers
	Waiting  []uint64 // numbers of those that wait for the end of another attempt, the oldest first
	Cookies  cookies
	Refused  quota // unprotected answers to errors, by address
	Strays   quota // INVALID_SPI in clear, by endpoint and by address
	Failures failures
	Recent   map[[32]byte]wire.SPI // a peer's SAs by the digest of its IKE_SA_INIT request
}

// New makes a machine without any SA. Connections must have their defaults.
func New(now time.Time, c Config) *Machine {
	m := &Machine{config: c, connections: map[string]*Connection{}, epoch: now.Add(-1), index: newIndex()} // instant 0 is none
	m.config.Limits.SetDefaults()
	for _, x := range c.Connections {
		m.connections[x.Name] = x
	}
	m.state = state{SAs: map[wire.SPI]*ikeSA{}, Peers: map[uint64]*peer{}, Recent: map[[32]byte]wire.SPI{}}
	return m
}

// Handle takes one input at a time that is not before that of the call before it,
// and gives what is to be done. The actions are the caller's.
func (m *Machine) Handle(now time.Time, in Input) []Action {
	m.tick(now)
	switch in := in.(type) {
	case *Datagram:
		m.datagram(in)
	case *Connect:
		m.connect(in)
	case *Disconnect:
		m.disconnect(in)
	case *Terminate:
		m.terminate(in)
	case *Rekey:
		m.rekey(in)
	case *Expired:
		m.expired(in)
	case *Arrived:
		m.arrived(in)
	case *UnknownSPI:
		m.unknownSPI(in)
	case *Unreachable:
		m.unreachable(in)
	case *Readdressed:
		m.readdressed(in)
	case *Elapsed:
	case *Shutdown:
		m.shutdown()
	}
	m.settleDown()
	m.runTimers()
	m.settleDown()
	m.shrink()
	out := m.out
	m.out = nil
	return out
}

// tick moves the machine's clock. It never goes back.
func (m *Machine) tick(now time.Time) {
	m.clock, m.now = now, max(m.now, instant(now.Sub(m.epoch)), 1)
}

// do adds an action.
func (m *Machine) do(a Action) { m.out = append(m.out, a) }

// then does something once the response that is being made has been sealed.
func (m *Machine) then(do func()) { m.after = append(m.after, do) }

func (m *Machine) runAfter() {
	for len(m.after) > 0 {
		do := m.after[0]
		m.after = m.after[1:]
		do()
	}
}

// draw gives n random octets.
func (m *Machine) draw(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(m.config.Random, b); err != nil {
		panic("ike: no randomness: " + err.Error()) // Config says that it never fails
	}
	return b
}

// all gives the IKE SAs in the order in which they were made, so that equal inputs
// give equal actions.
func (m *Machine) all() []*ikeSA {
	all := make([]*ikeSA, 0, len(m.SAs))
	for _, s := range m.SAs {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *ikeSA) int { return int(a.ID) - int(b.ID) })
	return all
}
