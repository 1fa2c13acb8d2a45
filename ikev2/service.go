// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
)

// Implementation constants.
const (
	knownQueue  = 4096    // messages of IKE SAs that there are, waiting
	newQueue    = 1024    // messages of no IKE SA that there is, waiting
	hintQueue   = 256     // hints, waiting
	queueOctets = 8 << 20 // of all messages that wait
	fairTurn    = 8       // every so many turns those do not stand behind the others
	resolveTime = 5 * time.Second
)

// ErrStopped says that the service's loop has ended.
var ErrStopped = errors.New("ike: the service has stopped")

// Config is what a Service is made of. Resolver is needed where a Want has a name;
// everything else always is.
type Config struct {
	// Machine's Random, Instance, Known and Trace are the Service's to fill in.
	Machine  sa.Config
	Sender   Sender
	Handler  Handler
	Resolver Resolver
	Log      zerolog.Logger
}

// A Service runs one machine: all of a daemon's IKE. Its methods are safe for
// concurrent use.
type Service struct {
	config   Config
	log      zerolog.Logger
	machine  *sa.Machine
	recorder *recorder
	reports  limiter            // of the loop
	wants    wants              // of the loop
	planned  map[*want]struct{} // of the loop: those with a time at which something is to be done

	spis         ownSPIs           // of the IKE SAs that there are
	known, fresh chan *sa.Datagram // dropped when they come too fast
	hints        chan sa.Input     // the same
	control      inputs            // in order, none is lost
	calls        chan func(time.Time)
	done         chan struct{}
	waiting      atomic.Int64 // octets of the messages in known and fresh
	resolving    sync.WaitGroup
	counters     counters
}

// New makes a service; Run runs it. Datagrams and inputs may be given to it before.
func New(c Config) *Service {
	s := &Service{
		config: c, log: c.Log, recorder: newRecorder(), reports: newLimiter(), wants: wants{}, planned: map[*want]struct{}{},
		known: make(chan *sa.Datagram, knownQueue), fresh: make(chan *sa.Datagram, newQueue), hints: make(chan sa.Input, hintQueue),
		control: inputs{wake: make(chan struct{}, 1)}, calls: make(chan func(time.Time)), done: make(chan struct{}),
	}
	m := c.Machine
	m.Random = rand.Reader
	_, _ = rand.Read(m.Instance[:]) // it never fails: crypto/rand ends the program instead
	m.Known = s.spis.set
	m.Trace = func(remote netip.Addr) bool { return s.recorder.wants(time.Now(), remote) }
	s.machine = sa.New(time.Now(), m)
	return s
}

// Run is the loop. When ctx ends it deletes all IKE SAs and tells the peers, without
// waiting for their answers, and returns when every goroutine of it has ended.
func (s *Service) Run(ctx context.Context) {
	defer s.recorder.end()
	defer s.control.end()
	defer close(s.done)
	defer s.resolving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for turn := 0; ; turn++ {
		s.arm(timer)
		if turn%fairTurn != 0 && s.urgent(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
			s.handle(ctx, time.Now(), &sa.Shutdown{})
			return
		case <-s.control.wake:
			s.obey(ctx)
		case call := <-s.calls:
			call(time.Now())
		case d := <-s.known:
			s.receive(ctx, d)
		case d := <-s.fresh:
			s.receive(ctx, d)
		case in := <-s.hints:
			s.handle(ctx, time.Now(), in)
		case <-timer.C:
			s.wake(ctx, time.Now())
		}
	}
}

// urgent takes one thing that goes before messages of no IKE SA that there is, which
// anybody can send in any number; false: there is none.
func (s *Service) urgent(ctx context.Context) bool {
	select {
	case <-s.control.wake:
		s.obey(ctx)
	case call := <-s.calls:
		call(time.Now())
	case d := <-s.known:
		s.receive(ctx, d)
	default:
		return false
	}
	return ctx.Err() == nil // else the loop has to see it
}

func (s *Service) receive(ctx context.Context, d *sa.Datagram) {
	s.waiting.Add(-int64(len(d.Data)))
	s.handle(ctx, time.Now(), d)
}

// obey does what stands in the control queue.
func (s *Service) obey(ctx context.Context) {
	for _, do := range s.control.take() {
		do(ctx, time.Now())
	}
}

// arm sets the timer to the earlier deadline of the machine's and the wants'.
func (s *Service) arm(timer *time.Timer) {
	next := s.machine.Next()
	if at := s.nextWant(); next.IsZero() || !at.IsZero() && at.Before(next) {
		next = at
	}
	if next.IsZero() {
		timer.Stop()
		return
	}
	timer.Reset(max(0, time.Until(next)))
}

// wake does what the timer was armed for.
func (s *Service) wake(ctx context.Context, now time.Time) {
	s.pursue(ctx, now)
	s.handle(ctx, now, &sa.Elapsed{})
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
