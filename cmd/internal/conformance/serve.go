// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dmvpn/nhrpd/wire"
)

// server is an NHS that is played for the client under test.
type server struct {
	*station
	routed netip.Prefix // what the client routes to it, invalid if none is named
	silent bool         // registrations of its own address are left to the case
	next   uint32       // of the destinations in routed
	asked  uint32       // of the spokes in it that asked
	client netip.Addr   // its overlay address, once it has registered
	last   *wire.Packet // its latest registration

	answered map[uint32]time.Time // registrations by id, and when last
}

// comeback is how long a client is waited for that has been refused.
const comeback = 3 * time.Minute

// listen takes registrations, and answers them unless a case does.
func (v *server) listen(r *received) {
	p := r.Packet
	if p == nil || p.Type != wire.RegistrationRequest || r.From != v.s.o.Target {
		return
	}
	if ofHost(p) {
		v.client, v.last = p.SourceProtocol, p
	}
	if other, twice := v.s.registered.LoadOrStore(p.RequestID, v.NBMA); twice && other != v.NBMA {
		v.s.shared.Store(&p.RequestID)
	}
	if !v.silent || !ofHost(p) {
		v.send(v.registered(p, 0))
	}
}

// send keeps in mind which registrations are answered.
func (v *server) send(p *wire.Packet) {
	if p.Type == wire.RegistrationReply {
		v.answered[p.RequestID] = time.Now()
	}
	v.station.send(p)
}

// fresh says whether something is a registration that waits for its answer: no repeat that was sent before the
// answer came.
func (v *server) fresh(r *received) bool {
	if !isRegistration(r) {
		return false
	}
	at, answered := v.answered[r.Packet.RequestID]
	return !answered || r.At.Sub(at) > v.s.o.Wait
}

// ofHost says that a registration is of the client's own address: its networks may come in
// another one, with an id of its own.
func ofHost(p *wire.Packet) bool {
	return slices.ContainsFunc(p.CIEs, func(c wire.CIE) bool {
		return (!c.Protocol.IsValid() || c.Protocol == p.SourceProtocol) && c.Prefix(p.SourceProtocol).IsSingleIP()
	})
}

// registered is the reply to a registration, with a code for each entry.
func (v *server) registered(request *wire.Packet, code wire.Code) *wire.Packet {
	p := request.Clone()
	p.Type, p.HopCount = wire.RegistrationReply, wire.HopCount
	p.DestinationProtocol = v.Protocol
	for i := range p.CIEs {
		if p.CIEs[i].Code = code; code != 0 {
			p.CIEs[i].HoldingTime = 0
		}
	}
	if p.Extension(wire.ExtensionResponderAddress) != nil {
		if e, err := p.NewEntries(wire.ExtensionResponderAddress, wire.CIE{HoldingTime: holding, NBMA: v.NBMA, Protocol: v.Protocol}); err == nil {
			p.SetExtension(e)
		}
	}
	return p
}

// runClient runs the cases against a client: each server that it registers with runs one at a
// time, and last one of those after which it does not come back soon.
func (s *suite) runClient(ctx context.Context, done func(Result)) ([]Result, error) {
	cases := s.o.Chosen()
	told := teller{results: make([]Result, len(cases)), there: make([]bool, len(cases)), done: done}
	servers, strangers := s.servers()
	var queue, last []int
	for i, c := range cases {
		if c.last {
			last = append(last, i)
		} else {
			queue = append(queue, i)
		}
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		came    bool
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		from := &queue
		if len(queue) == 0 {
			from = &last
		}
		if len(*from) == 0 || ctx.Err() != nil {
			return 0, false
		}
		i, *from = (*from)[0], (*from)[1:]
		return i, true
	}
	for _, v := range servers {
		running.Go(func() {
			if !v.waits(comeback / 6) {
				return
			}
			mu.Lock()
			came = true
			mu.Unlock()
			for i, ok := take(); ok; i, ok = take() {
				t := &trial{s: s, c: &cases[i], server: v, stations: strangers}
				told.add(i, t.result(t.against(v)))
			}
		})
	}
	running.Wait()
	if !came && ctx.Err() == nil {
		return nil, fmt.Errorf("%v has not registered with %v within %v; is that its NHS, with GRE key %d and this password?",
			s.o.Target, servers[0].NBMA, comeback/6, s.o.Key)
	}
	return told.results, ctx.Err()
}

// against runs a case of a client that is registered, alone if it has to be.
func (t *trial) against(v *server) end {
	defer t.s.turns.take(t.c.alone)()
	if v.silent = false; !v.waits(comeback) {
		return end{Inconclusive, fmt.Sprintf("the client has not registered within %v", comeback)}
	}
	return t.try()
}

// servers are the NHSs at our first addresses, as many as the client has routes to, and
// stations at the others.
func (s *suite) servers() (servers []*server, strangers []*station) {
	number := max(len(s.o.Routed), 1)
	protocol := s.o.Server.Addr()
	for i, a := range s.free {
		st := s.newStation(a)
		st.inbox = s.link.hear(a)
		if i >= number {
			strangers = append(strangers, st)
			continue
		}
		st.Protocol = protocol
		protocol = protocol.Next()
		v := &server{station: st, answered: map[uint32]time.Time{}}
		if len(s.o.Routed) > 0 {
			v.routed = s.o.Routed[i]
		}
		st.heard = v.listen
		servers = append(servers, v)
	}
	return servers, strangers
}

// waits waits for the client to register once more, and answers it.
func (v *server) waits(patience time.Duration) bool {
	v.other = nil
	return v.wait(patience, isRegistration) != nil
}
