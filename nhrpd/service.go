// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/nhrpd/engine"
)

// Implementation constants.
const (
	inputQueue  = 256  // inputs that wait; the caller of a full one waits too
	packetQueue = 4096 // registrations and purges that wait, and as many others; further ones are dropped
	membersTurn = 8    // of registrations and purges that go before one other
	saveDelay   = 200 * time.Millisecond
	resolveTime = 5 * time.Second
	failedDelay = 5 * time.Second // until a save that failed is tried again
	// Grace is how long a peer of the run before is kept that nobody has asked for.
	Grace = 2 * time.Minute
	// routesDelay is how long changes of routes are gathered; checkDelay and
	// checkEvery say when routes that someone else removed are put back: soon
	// after a change, and now and then.
	routesDelay = 20 * time.Millisecond
	checkDelay  = time.Second
	checkEvery  = 30 * time.Second
)

// ErrStopped says that the service's loop has ended.
var ErrStopped = errors.New("nhrp: the service has stopped")

// Config is what a Service is made of. Every field but StateName, Allowed and Secured is needed.
type Config struct {
	Engine    engine.Config
	Random    func() uint64
	DataPlane DataPlane
	Router    Router
	Sender    Sender
	Resolver  Resolver
	State     State
	StateName string                                         // that the state is saved by; "": the tunnel's
	Allowed   func(identity string) (engine.Allowance, bool) // as engine.Env has it; may be nil
	Secured   func(engine.Endpoint) bool                     // likewise
	Log       zerolog.Logger
}

// A Service runs one tunnel. Its methods are safe for concurrent use.
type Service struct {
	config  Config
	log     zerolog.Logger
	machine *engine.Machine

	inputs  chan engine.Input // in order, none is lost
	members chan engine.Input // registrations and purges; dropped when they come too fast
	packets chan engine.Input // other packets, redirects, misses; likewise
	routes  chan struct{}     // RoutesChanged, any number of them as one
	calls   chan func(time.Time)
	done    chan struct{}

	resolving sync.WaitGroup
	inLookup  map[string]bool // of the loop
	wanted    wanted          // of the loop
	withdrawn bool            // of the loop: nothing is saved any more
	gone      chan struct{}   // closed when what Withdraw began has ended
	dirty     bool            // of the loop: there is something to save
	saving    bool            // of the loop
	saveAt    time.Time       // of the loop: not before
	saved     chan error      // how the save that is under way ended
	counters  counters
}

type counters struct {
	received, queueDropped, sent, sendFailed, failed, saves atomic.Uint64
}

// Counters are the service's own, beside those of the machine.
type Counters struct {
	Received     uint64 // NHRP packets, redirects and misses handed in
	QueueDropped uint64 // of them, dropped because the loop did not keep up
	Sent         uint64 // NHRP packets
	SendFailed   uint64
	Failed       uint64 // actions that the data plane or the kernel refused
	Saves        uint64 // of the state
}

// New makes a service and takes up what an earlier one saved: the machine knows
// it when New returns. State that cannot be read is logged and left behind.
func New(c Config) *Service {
	if c.StateName == "" {
		c.StateName = c.Engine.Tunnel
	}
	s := &Service{
		config: c,
		log:    c.Log.With().Str("tunnel", c.Engine.Tunnel).Logger(),
		inputs: make(chan engine.Input, inputQueue), packets: make(chan engine.Input, packetQueue), members: make(chan engine.Input, packetQueue),
		routes: make(chan struct{}, 1), calls: make(chan func(time.Time)), done: make(chan struct{}), gone: make(chan struct{}),
		saved: make(chan error, 1), inLookup: map[string]bool{}, wanted: newWanted(),
	}
	s.machine = engine.New(c.Engine, engine.Env{Routes: c.Router, Traffic: c.DataPlane.Traffic, Random: c.Random, Allowed: c.Allowed, Secured: c.Secured})
	return s
}

// Run is the loop; it returns when ctx ends, with the state saved and every
// goroutine of it ended. local and other are our underlay addresses, of either family,
// invalid if there is none.
func (s *Service) Run(ctx context.Context, local, other netip.Addr) error {
	defer close(s.done)
	defer s.resolving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := time.Now()
	s.restore(now)
	s.handle(ctx, now, engine.LocalNBMA{Address: local, Other: other})
	reconcile, check := time.NewTimer(Grace), time.NewTimer(checkEvery)
	defer reconcile.Stop()
	defer check.Stop()
	timer, routes := time.NewTimer(0), newStoppedTimer()
	defer timer.Stop()
	defer routes.Stop()
	gathering, soon := false, false
	for {
		s.arm(timer)
		select {
		case <-ctx.Done():
			return s.lastSave()
		case err := <-s.saved:
			s.endSave(time.Now(), err)
		case call := <-s.calls:
			call(time.Now())
		case input := <-s.inputs:
			s.handle(ctx, time.Now(), input)
		case input := <-s.members:
			s.handle(ctx, time.Now(), input)
		case input := <-s.packets:
			s.membersFirst(ctx, membersTurn)
			s.handle(ctx, time.Now(), input)
		case <-s.routes:
			if !gathering {
				gathering = true
				routes.Reset(routesDelay)
			}
		case <-routes.C:
			gathering = false
			s.handle(ctx, time.Now(), engine.RoutesChanged{})
			if !soon {
				soon = true
				check.Reset(checkDelay)
			}
		case <-check.C:
			soon = false
			s.keepRoutes(ctx, time.Now())
			check.Reset(checkEvery)
		case <-reconcile.C:
			s.reconcile()
		case <-timer.C:
			s.tick(ctx)
		}
	}
}

func newStoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// arm sets the timer to the machine's next deadline or the next save, the
// earlier of the two.
func (s *Service) arm(timer *time.Timer) {
	next, ok := s.machine.Next()
	if s.dirty && !s.saving && (!ok || s.saveAt.Before(next)) {
		next, ok = s.saveAt, true
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(max(0, time.Until(next)))
}

// tick is wake, after what has arrived: an answer that waits here is none that is missing.
func (s *Service) tick(ctx context.Context) {
	s.membersFirst(ctx, len(s.members))
	for range len(s.packets) {
		s.handle(ctx, time.Now(), <-s.packets)
	}
	s.wake(ctx, time.Now())
}

// membersFirst handles registrations and purges that wait, so many at most: a flood of others
// does not hold them up, nor they the others.
func (s *Service) membersFirst(ctx context.Context, most int) {
	for range most {
		select {
		case input := <-s.members:
			s.handle(ctx, time.Now(), input)
		default:
			return
		}
	}
}

// wake does what the timer was armed for.
func (s *Service) wake(ctx context.Context, now time.Time) {
	if next, ok := s.machine.Next(); ok && !next.After(now) {
		s.handle(ctx, now, engine.Tick{})
	}
	if s.dirty && !s.saving && !s.saveAt.After(now) {
		s.beginSave()
	}
}

// Deliver hands in a Packet, a Redirect or a Miss without waiting: one that
// finds the queue full is dropped, counted and reported as false.
func (s *Service) Deliver(input engine.Input) bool {
	s.counters.received.Add(1)
	queue := s.packets
	if p, ok := input.(engine.Packet); ok && p.Membership() {
		queue = s.members
	}
	select {
	case queue <- input:
		return true
	default:
		s.counters.queueDropped.Add(1)
		return false
	}
}

// SetLocalNBMA says that our underlay addresses are now these, of either family; invalid:
// there is none.
func (s *Service) SetLocalNBMA(a, other netip.Addr) {
	s.put(engine.LocalNBMA{Address: a, Other: other})
}

func (s *Service) put(input engine.Input) {
	select {
	case s.inputs <- input:
	case <-s.done:
	}
}

// RoutesChanged says that the kernel's routes are no longer the same.
func (s *Service) RoutesChanged() {
	select {
	case s.routes <- struct{}{}:
	default:
	}
}

// Snapshot gives what the machine knows.
func (s *Service) Snapshot(ctx context.Context) (engine.Snapshot, error) {
	var snapshot engine.Snapshot
	err := s.call(ctx, func(now time.Time) { snapshot = s.machine.Snapshot(now) })
	return snapshot, err
}

// Clear ends the shortcuts that share addresses with one of these prefixes, and the negative entries
// inside of them; without any, all. It says how many it were, when packets go by the hub.
func (s *Service) Clear(ctx context.Context, within []netip.Prefix) (done engine.Cleared, err error) {
	err = s.call(ctx, func(now time.Time) {
		s.handle(ctx, now, engine.Clear{Within: within})
		done = s.machine.Cleared()
	})
	return done, err
}

// Withdraw tells the peers that we go, for a teardown: the machine purges what
// it registered and answered. It returns when they have replied, or a second after it was
// called, with everything taken back. The state is not saved any more.
func (s *Service) Withdraw(ctx context.Context) error {
	if err := s.call(ctx, func(now time.Time) {
		s.withdrawn = true
		s.handle(ctx, now, engine.Stop{})
	}); err != nil {
		return err
	}
	select {
	case <-s.gone:
		return nil
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call runs f in the loop and waits for it.
func (s *Service) call(ctx context.Context, f func(time.Time)) error {
	ran := make(chan struct{})
	select {
	case s.calls <- func(now time.Time) { f(now); close(ran) }:
		<-ran
		return nil
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counters gives the service's counters.
func (s *Service) Counters() Counters {
	c := &s.counters
	return Counters{
		Received: c.received.Load(), QueueDropped: c.queueDropped.Load(), Sent: c.sent.Load(),
		SendFailed: c.sendFailed.Load(), Failed: c.failed.Load(), Saves: c.saves.Load(),
	}
}
