// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"time"

	"dmvpn/nhrpd/wire"
)

func isRegistration(r *received) bool {
	return r.Packet != nil && r.Packet.Type == wire.RegistrationRequest && ofHost(r.Packet)
}

func isRequest(destination netip.Addr) func(*received) bool {
	return func(r *received) bool {
		return r.Packet != nil && r.Packet.Type == wire.ResolutionRequest && r.Packet.DestinationProtocol == destination
	}
}

// unanswered gives the client's next registration, and leaves it to the case.
func (t *trial) unanswered() *wire.Packet { return t.left().Packet }

// left is unanswered with when it came.
func (t *trial) left() *received {
	v := t.server
	v.silent, v.other = true, nil
	r := v.wait(2*time.Minute, v.fresh)
	if r == nil {
		t.skip("the client does not renew its registration within 2 minutes: its holding time is too long for this")
	}
	v.other = nil // repeats of what was answered
	return r
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

// indication is a Traffic Indication for a packet from the client's site. It has an even number
// of octets: some are wrong about the checksum of others, which is not what is tried here.
func (t *trial) indication(st *station, source, destination netip.Addr) *wire.Packet {
	p := st.plain(wire.TrafficIndication, source)
	p.RequestID = 0
	p.Contents = datagram(source, destination, protocolUDP, []byte("around"))
	return p
}

// question tells the client of a shorter way to a destination, and gives the Resolution
// Request that comes of it; nil if none does.
func (t *trial) question(destination netip.Addr) *wire.Packet {
	if r := t.heardOf(destination); r != nil {
		return r.Packet
	}
	return nil
}

// heardOf is question with when it came.
func (t *trial) heardOf(destination netip.Addr) *received {
	for range 6 {
		t.server.send(t.indication(t.server.station, t.own(), destination))
		if r := t.server.wait(time.Second, isRequest(destination)); r != nil {
			return r
		}
	}
	return nil
}

// repeats skips the case of a client that does not repeat what it asks for.
func (t *trial) repeats() {
	d := t.destination()
	t.asked(d)
	if t.server.wait(12*time.Second, isRequest(d)) == nil {
		t.skip("it does not repeat its requests")
	}
}

const noQuestion = "told of a shorter way, it does not ask: shortcut is off, or the packet is not its own"

// asked is question for cases that take one.
func (t *trial) asked(destination netip.Addr) *wire.Packet {
	p := t.question(destination)
	if p == nil {
		t.skip(noQuestion)
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

// spoke is a request of another spoke for what is the client's, as the server passes it on. The
// client routes to that spoke by way of the server, where it is said what it routes there.
func (t *trial) spoke(destination netip.Addr) *wire.Packet {
	p := t.server.resolution(destination)
	p.SourceNBMA, p.SourceProtocol = t.s.elsewhere(), t.s.nobody()
	if r := t.server.routed; r.IsValid() {
		const first, spokes = 128, 100 // behind those that destination gives
		p.SourceProtocol = nth(r, first+t.server.asked%spokes, r.Addr().BitLen())
		t.server.asked++
	}
	if len(t.stations) > 0 { // who answers to there is heard
		p.SourceNBMA = t.stations[0].NBMA
	}
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
