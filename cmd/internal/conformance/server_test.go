// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// warped is our machine as a server, behind somebody who bends what comes and what leaves: a server that is right
// but for what is bent. Its state is its own goroutine's.
type warped struct {
	conn, other conn // other is of an address that is not the server's
	world       *nhrptest.World
	node        *nhrptest.Node
	began       time.Time
	bend
	state map[any]any // of the bend
}

// bend is what a server does wrong; nil: nothing.
type bend struct {
	comes  func(s *warped, from netip.Addr, b []byte) []byte            // octets that came; nil: they are lost
	hears  func(s *warped, from *netip.Addr, p *wire.Packet) bool       // the same, where they can be read; false: it is lost
	leaves func(s *warped, to netip.Addr, p *wire.Packet) bool          // false: it is not sent
	data   func(s *warped, from, to netip.Addr, b []byte) (passed bool) // in the overlay, which is forwarded
	sends  func(s *warped) conn
	keys   bool // takes every GRE key
}

const serverSecret = "test1234"

func newWarped(nbma netip.Addr, own, network netip.Prefix, b bend) *warped {
	s := &warped{world: nhrptest.New(1), began: time.Now(), bend: b, state: map[any]any{}}
	s.world.Silent, s.world.Seen = true, func(_ *nhrptest.Node, to engine.Endpoint, p *wire.Packet) { s.send(to.NBMA, p.Clone()) }
	config := engine.Config{Tunnel: "dmvpn0", Address: own, Networks: []netip.Prefix{network}, MTU: 1400, Redirect: true, Authentication: serverSecret}
	s.node = s.world.Add("H", nbma.String(), config)
	return s
}

// serve is the server until its socket is closed.
func (s *warped) serve() {
	packets := make(chan received, 4096)
	go func() {
		defer close(packets)
		b := make([]byte, 1<<16)
		for {
			n, from, err := s.conn.ReadFromIP(b)
			if err != nil {
				return
			}
			source, _ := netip.AddrFromSlice(from.IP)
			r := received{From: source.Unmap()}
			octets := slices.Clone(b[:n])
			if r.parse(octets, -1) || s.keys && r.parse(octets, 0) {
				packets <- r
			}
		}
	}()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case r, more := <-packets:
			if !more {
				return
			}
			s.catchUp()
			s.take(&r)
		case <-ticks.C:
			s.catchUp()
		}
	}
}

// catchUp brings the machine's time to ours.
func (s *warped) catchUp() { s.world.Run(time.Since(s.began) - s.world.Now.Sub(nhrptest.Start)) }

func (s *warped) take(r *received) {
	if r.Protocol != wire.GREProtocol {
		s.forward(r)
		return
	}
	b, from := r.Payload, r.From
	if s.comes != nil && len(b) >= offID+4 {
		if b = s.comes(s, from, b); b == nil {
			return
		}
	}
	if p, err := wire.Decode(b); err == nil && s.hears != nil {
		p = p.Clone()
		if !s.hears(s, &from, p) {
			return
		}
		if changed, err := p.Marshal(); err == nil {
			b = changed
		}
	}
	s.node.Input(engine.Packet{From: engine.Endpoint{NBMA: from}, Data: b})
}

// forward is the data plane.
func (s *warped) forward(r *received) {
	_, to := ends(r.Payload)
	next, ok := s.node.Toward(to)
	if !ok || !s.node.Accepted[engine.Endpoint{NBMA: r.From}] {
		return
	}
	if s.data != nil && !s.data(s, r.From, next.NBMA, r.Payload) {
		return
	}
	s.octets(next.NBMA, r.Protocol, r.Payload)
	s.node.Input(engine.Redirect{Data: r.Payload})
}

// send sends what the machine says, bent.
func (s *warped) send(to netip.Addr, p *wire.Packet) {
	if s.leaves == nil || s.leaves(s, to, p) {
		s.say(to, p)
	}
}

// say sends a packet as it is.
func (s *warped) say(to netip.Addr, p *wire.Packet) {
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	s.octets(to, wire.GREProtocol, b)
}

func (s *warped) octets(to netip.Addr, protocol uint16, b []byte) {
	c := s.conn
	if s.sends != nil {
		c = s.sends(s)
	}
	_, _ = c.WriteToIP(append([]byte{0, 0, byte(protocol >> 8), byte(protocol)}, b...), &net.IPAddr{IP: to.AsSlice()})
}

// own is the server's overlay address.
func (s *warped) own() netip.Addr { return s.node.Own() }

// transit says that a packet is a request that the server passes on.
func (s *warped) transit(p *wire.Packet) bool {
	return p.Type == wire.ResolutionRequest && p.SourceProtocol != s.own()
}

// home is where a client is registered.
func (s *warped) home(client netip.Addr) netip.Addr { return s.node.Bound[client].NBMA }

// count counts what goes by a name.
func (s *warped) count(of any) int {
	n, _ := s.state[of].(int)
	s.state[of] = n + 1
	return n + 1
}

// failure sends an Error Indication of the server's own.
func (s *warped) failure(to netip.Addr, code wire.ErrorCode, contents []byte) {
	s.say(to, &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: wire.HopCount, Type: wire.ErrorIndication,
		SourceNBMA: s.node.NBMA, SourceProtocol: s.own(), DestinationProtocol: s.own(), ErrorCode: code, Contents: contents,
	})
}

// answersItself turns a request in transit into the server's own answer, of the client's entry and more.
func (s *warped) answersItself(p *wire.Packet, more ...wire.CIE) {
	owner, asker := s.home(p.DestinationProtocol), s.home(p.SourceProtocol)
	if !owner.IsValid() || !asker.IsValid() {
		return
	}
	a := p.Clone()
	a.Type, a.HopCount, a.Flags = wire.ResolutionReply, wire.HopCount, p.Flags|wire.FlagAuthoritative
	a.CIEs = append([]wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: 7200, NBMA: owner, Protocol: p.DestinationProtocol}}, more...)
	s.say(asker, a)
}

// yes says that a registration is taken.
func (s *warped) yes(to, client netip.Addr, id uint32) {
	s.say(to, &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: wire.HopCount, Type: wire.RegistrationReply,
		SourceNBMA: to, SourceProtocol: client, DestinationProtocol: s.own(), RequestID: id, CIEs: []wire.CIE{{HoldingTime: holding}},
	})
}

// tell sends a Traffic Indication about a packet, whatever it is.
func (s *warped) tell(to netip.Addr, about []byte) bool {
	source, _ := ends(about)
	p := &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: wire.HopCount, Type: wire.TrafficIndication,
		SourceNBMA: s.node.NBMA, SourceProtocol: s.own(), DestinationProtocol: source, Contents: about,
	}
	s.say(to, p)
	return true
}

// pretend registers a client that has not asked for it.
func (s *warped) pretend(nbma, client netip.Addr) {
	s.forge(nbma, &wire.Packet{Type: wire.RegistrationRequest, SourceProtocol: client, CIEs: []wire.CIE{{PrefixLength: wire.HostPrefix, HoldingTime: holding}}})
}

// forget purges a client that has not asked for it.
func (s *warped) forget(nbma, client netip.Addr) {
	s.forge(nbma, &wire.Packet{
		Type: wire.PurgeRequest, Flags: wire.FlagPurgeNoReply, SourceProtocol: client, CIEs: []wire.CIE{{PrefixLength: wire.HostPrefix, Protocol: client}},
	})
}

// forge lets the machine hear what nobody has sent.
func (s *warped) forge(from netip.Addr, p *wire.Packet) {
	p.AddressFamily, p.ProtocolType, p.HopCount, p.RequestID = wire.FamilyIPv4, wire.ProtocolIPv4, wire.HopCount, 1<<31
	p.SourceNBMA, p.DestinationProtocol = from, s.own()
	a, _ := wire.NewCiscoAuthentication(serverSecret)
	p.SetExtension(a)
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	s.node.Input(engine.Packet{From: engine.Endpoint{NBMA: from}, Data: b})
}
