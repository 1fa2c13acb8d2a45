// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"net/netip"
	"testing"

	"github.com/rs/zerolog"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// TestAFloodOfRequestsLeavesTheQueueOfRegistrations, and the other way round: each has places
// of its own.
func TestAFloodOfRequestsLeavesTheQueueOfRegistrations(t *testing.T) {
	packet := func(kind wire.Type) engine.Packet {
		data := make([]byte, 20)
		data[17] = byte(kind)
		return engine.Packet{Data: data}
	}
	for _, c := range []struct{ flood, other wire.Type }{
		{wire.ResolutionRequest, wire.RegistrationRequest}, {wire.ResolutionReply, wire.PurgeRequest}, {wire.RegistrationRequest, wire.ResolutionRequest},
	} {
		n := (&wires{nodes: map[netip.Addr]*node{}}).node("hub", "192.0.2.1", engine.Config{})
		s := New(Config{Random: func() uint64 { return 1 }, DataPlane: n, Router: n, Sender: n, Resolver: n, State: n, Log: zerolog.Nop()})
		taken := 0
		for range 2 * packetQueue {
			if s.Deliver(packet(c.flood)) {
				taken++
			}
		}
		if taken != packetQueue || !s.Deliver(packet(c.other)) {
			t.Errorf("%v: %d were taken, and then no %v", c.flood, taken, c.other)
		}
		if n := s.Counters().QueueDropped; n != packetQueue {
			t.Errorf("%v: %d are counted as dropped", c.flood, n)
		}
	}
}

// TestRegistrationsGoBeforeRequestsThatWait, but not for ever.
func TestRegistrationsGoBeforeRequestsThatWait(t *testing.T) {
	n := (&wires{nodes: map[netip.Addr]*node{}}).node("hub", "192.0.2.1", engine.Config{})
	s := New(Config{Random: func() uint64 { return 1 }, DataPlane: n, Router: n, Sender: n, Resolver: n, State: n, Log: zerolog.Nop()})
	member := make([]byte, 20)
	member[17] = byte(wire.RegistrationRequest)
	for range 100 {
		s.Deliver(engine.Packet{Data: member})
	}
	s.membersFirst(t.Context(), membersTurn)
	if left := len(s.members); left != 100-membersTurn {
		t.Errorf("%d of 100 wait after one turn", left)
	}
}
