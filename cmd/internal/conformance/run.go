// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// runServer runs the cases, several at once. When the target stops answering, what ran at that
// time is run again one by one: who stops it twice when alone has failed.
func (s *suite) runServer(ctx context.Context, done func(Result)) ([]Result, error) {
	cases := s.o.Chosen()
	told := teller{results: make([]Result, len(cases)), there: make([]bool, len(cases)), done: done}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		again   []int
		failed  error
		slots   = make(chan struct{}, s.o.AtOnce)
	)
	for i := range cases {
		slots <- struct{}{}
		if failed = s.awake(ctx); failed != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			if r, stopped := s.once(&cases[i]); !stopped {
				told.add(i, r)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			again = append(again, i)
		})
	}
	running.Wait()
	for _, i := range again {
		r, stopped := Result{}, true
		for try := 0; try < 2 && stopped && failed == nil; try++ {
			if failed = s.awake(ctx); failed == nil {
				r, stopped = s.once(&cases[i])
			}
		}
		if stopped && failed == nil {
			r.Verdict, r.Detail = Fail, "the target stops answering, twice of two times"
		}
		if failed == nil {
			told.add(i, r)
		}
	}
	return told.results, failed
}

// once runs a case, and says whether the target stopped answering meanwhile.
func (s *suite) once(c *Case) (r Result, stopped bool) {
	before := s.stops.Load()
	r = s.runCase(c)
	return r, s.stops.Load() != before
}

// awake waits until a target that stopped answering does so again: somebody may start it anew.
func (s *suite) awake(ctx context.Context) error {
	const patience = time.Minute
	if s.control.answers.Load() {
		return ctx.Err()
	}
	for began := time.Now(); ; {
		err := s.control.roundTrip()
		switch {
		case err == nil || ctx.Err() != nil:
			return ctx.Err()
		case time.Since(began) > patience:
			return fmt.Errorf("%w, and does not come back", err)
		}
	}
}

// control is a station whose registration is answered as long as the target does its work:
// what it is asked after something else has seen that before.
type control struct {
	st      *station
	turns   *turns
	answers atomic.Bool
}

func (s *suite) newControl(nbma netip.Addr) *control {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &control{st: s.newStation(nbma), turns: newTurns()}
}

var errStopped = errors.New("does not answer a plain registration any more")

// roundTrip registers once more, and waits for the answer.
func (c *control) roundTrip() error {
	defer c.turns.take(true)()
	p := c.st.registration()
	replies, stop := c.st.s.link.expect(p.RequestID)
	defer stop()
	for began := time.Now(); ; {
		c.st.send(p)
		select {
		case <-replies:
			c.answers.Store(true)
			return nil
		case <-time.After(time.Second):
		}
		if time.Since(began) > patience {
			if c.answers.Swap(false) {
				c.st.s.stops.Add(1)
			}
			return fmt.Errorf("%v %w", c.st.s.o.Target, errStopped)
		}
	}
}
