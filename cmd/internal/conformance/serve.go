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
	client netip.Addr   // its overlay address, once it has registered
	last   *wire.Packet // its latest registration
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
	if !v.silent || !ofHost(p) {
		v.send(v.registered(p, 0))
	}
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
				how := end{Inconclusive, fmt.Sprintf("the client has not registered within %v", comeback)}
				if v.silent = false; v.waits(comeback) {
					how = t.try()
				}
				told.add(i, t.result(how))
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
		v := &server{station: st}
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

func isRegistration(r *received) bool {
	return r.Packet != nil && r.Packet.Type == wire.RegistrationRequest && ofHost(r.Packet)
}

func isRequest(destination netip.Addr) func(*received) bool {
	return func(r *received) bool {
		return r.Packet != nil && r.Packet.Type == wire.ResolutionRequest && r.Packet.DestinationProtocol == destination
	}
}

// unanswered gives the client's next registration, and leaves it to the case.
func (t *trial) unanswered() *wire.Packet {
	t.server.silent, t.server.other = true, nil
	r := t.server.wait(2*time.Minute, isRegistration)
	if r == nil {
		t.skip("the client does not renew its registration within 2 minutes: its holding time is too long for this")
	}
	return r.Packet
}

// destination is an address that the client routes to the server, and has not been told of.
func (t *trial) destination() netip.Addr {
	v := t.server
	if !v.routed.IsValid() {
		t.skip("nothing is named that the client routes to the server (--routed)")
	}
	v.next++
	return nth(v.routed, v.next, v.routed.Addr().BitLen())
}

// own is an address that is the client's, or behind it.
func (t *trial) own() netip.Addr {
	if t.s.o.Behind.IsValid() {
		return nth(t.s.o.Behind, 10, t.s.o.Behind.Addr().BitLen())
	}
	return t.server.client
}

// indication is a Traffic Indication for a packet from the client's site.
func (t *trial) indication(st *station, source, destination netip.Addr) *wire.Packet {
	p := st.plain(wire.TrafficIndication, source)
	p.RequestID = 0
	p.Contents = datagram(source, destination, protocolUDP, []byte("round"))
	return p
}

// question tells the client of a shorter way to a destination, and gives the Resolution
// Request that comes of it; nil if none does.
func (t *trial) question(destination netip.Addr) *wire.Packet {
	for range 6 {
		t.server.send(t.indication(t.server.station, t.own(), destination))
		if r := t.server.wait(time.Second, isRequest(destination)); r != nil {
			return r.Packet
		}
	}
	return nil
}

// asked is question for cases that take one.
func (t *trial) asked(destination netip.Addr) *wire.Packet {
	p := t.question(destination)
	if p == nil {
		t.skip("told of a shorter way, it does not ask: shortcut is off, or the packet is not its own")
	}
	return p
}

// none fails if a Resolution Request for the destination comes.
func (t *trial) none(destination netip.Addr, what string) {
	if r := t.server.wait(t.s.o.Wait, isRequest(destination)); r != nil {
		t.fail("%s: it asks for %v", what, destination)
	}
}

// refuse is the reply to a Resolution Request that has no answer.
func (v *server) refuse(request *wire.Packet, code wire.Code) *wire.Packet {
	p := v.answers(request, 0)
	p.CIEs = []wire.CIE{{Code: code}}
	return p
}

// stranger is one of our stations that is not the client's server.
func (t *trial) stranger() *station {
	if len(t.stations) == 0 {
		t.skip("it takes an address in --local beyond those of --routed")
	}
	return t.stations[0]
}

// spoke is a request of another spoke for what is the client's, as the server passes it on.
func (t *trial) spoke(destination netip.Addr) *wire.Packet {
	p := t.server.resolution(destination)
	p.SourceNBMA, p.SourceProtocol = t.s.elsewhere(), t.s.nobody()
	p.HopCount--
	return p
}

// pauses gives the times between the packets of a kind that the client sends, the first of
// which is there already.
func (t *trial) pauses(first time.Time, like func(*received) bool, n int, patience time.Duration) []time.Duration {
	var list []time.Duration
	for len(list) < n {
		r := t.server.wait(patience, like)
		if r == nil {
			break
		}
		list = append(list, r.At.Sub(first))
		first = r.At
	}
	return list
}

// grows says whether pauses get longer: what else may end the one or other does not matter.
func grows(list []time.Duration) bool {
	return list[len(list)-1] > list[0]*17/10
}
