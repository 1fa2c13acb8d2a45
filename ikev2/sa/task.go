// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"encoding/gob"

	"dmvpn/ikev2/wire"
)

// task is something that we want of a peer: one exchange, or several in a row.
// Its exported fields are its state.
type task interface {
	// build makes the next request. Without one the task is over: what it was for has
	// gone, or waits for a time of its own.
	build(m *Machine, s *ikeSA) *request
	// process takes the response to the last request that build made, and says whether
	// another one follows.
	process(m *Machine, s *ikeSA, h wire.Header, response []wire.Payload) (more bool)
	// abandon is called instead of process when there will be no response: the IKE SA is
	// gone.
	abandon(m *Machine, s *ikeSA)
	String() string
}

// request is what a task sends.
type request struct {
	exchange wire.ExchangeType
	payloads []wire.Payload
	repeats  int // 0: maxRepeats
}

func init() {
	for _, t := range []task{&initiate{}, &createChild{}, &deleteChild{}, &rekeyIKE{}, &deleteIKE{}, &inform{}, &routability{}} {
		gob.Register(t)
	}
}

// enqueue puts a task at the end of the queue; the next round starts it.
func (s *ikeSA) enqueue(t task) { s.Queue = append(s.Queue, t) }

// enqueueFirst puts a task in front: a deletion goes before rekeys that wait.
func (s *ikeSA) enqueueFirst(t task) { s.Queue = append([]task{t}, s.Queue...) }

// tasks gives all, the running one first.
func (s *ikeSA) tasks() []task {
	if s.Running == nil {
		return s.Queue
	}
	return append([]task{s.Running}, s.Queue...)
}

// pump starts tasks until one waits for its response or none is left.
func (m *Machine) pump(s *ikeSA) {
	for s.Running == nil && len(s.Queue) > 0 && s.Stage != closed {
		t := s.Queue[0]
		if s.Stage == replaced && !isClosing(t) {
			return // they move to the SA that replaced this
		}
		s.Queue = s.Queue[1:]
		m.advance(s, t)
	}
}

// advance sends the task's next request.
func (m *Machine) advance(s *ikeSA, t task) {
	s.Running = t
	r := t.build(m, s)
	if r == nil {
		if s.Running == t && !s.Out.Pending {
			s.Running = nil
		}
		return
	}
	m.send(s, r)
}

func isClosing(t task) bool {
	_, ok := t.(*deleteIKE)
	return ok
}

// abandonAll ends what the SA still wanted.
func (m *Machine) abandonAll(s *ikeSA) {
	all := s.tasks()
	s.Running, s.Queue = nil, nil
	for _, t := range all {
		t.abandon(m, s)
	}
}
