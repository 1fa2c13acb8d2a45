// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
)

// wantAt is Want where the endpoints are not those of the ends themselves.
func wantAt(e *End, local, remote netip.AddrPort, whom auth.Identity) {
	e.Input(&sa.Connect{Connection: e.Connection().Name, Local: local, Remote: remote, Identity: whom})
}

// second gives both ends another tunnel between them, "u", with or without identities of
// its own.
func second(w *World, identities bool) {
	for _, e := range []*End{w.A, w.B} {
		c := *e.Connection()
		e.Connection().Tag = []byte("1")
		c.Name, c.Tag = "u", []byte("2")
		grouped(&c)
		if identities {
			c.Local = identityOf(strings.ToLower(e.Name) + "2.test")
			c.Peers = nil
		}
		e.Config.Connections = append(e.Config.Connections, &c)
		restart(w, e)
	}
}

func identityOf(text string) auth.Identity {
	i, err := auth.ParseIdentity(text)
	if err != nil {
		panic(err)
	}
	return i
}

// useSecond lets an end want the other by its second tunnel.
func useSecond(from, to *End) {
	from.Input(&sa.Connect{Connection: "u", Local: from.Endpoint(), Remote: to.Endpoint(), Identity: to.Config.Connections[1].Local})
}

// TestCasesTwinsAndPaths are the cases of section 6 in which addresses, tunnels or
// identities are not one to one.
func TestCasesTwinsAndPaths(t *testing.T) {
	alone := Options{Alone: true}
	tunnels := func(w *World) {
		second(w, strings.Contains(w.Way, "identities"))
		w.A.Want(w.B)
		useSecond(w.B, w.A)
		w.Deliver("A INIT→", "B INIT→", "A INIT←", "B INIT←", "A AUTH→", "B AUTH→", "A AUTH←", "B AUTH←")
		w.EndIKE(2)
		w.EndDowns(2, -1)
		for _, e := range []*End{w.A, w.B} {
			w.True(e.Ups == 2 && e.Downs == 0 && len(e.Failures) == 0, "%s was told %d times up", e.Name, e.Ups)
		}
		w.Never("A D→", "B D→", "A C→", "B C→")
	}
	Run(t,
		Case{Name: "twin-nat-one-way", Options: alone, Run: func(w *World) {
			nat := w.NAT("203.0.113.1", w.B)
			w.A.Input(&sa.Connect{Connection: "t", Local: w.A.Endpoint(), Remote: netip.AddrPortFrom(nat.Outside, 500), Identity: w.B.Identity()})
			w.Wait(3 * time.Second)
			w.B.Want(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→", "A AUTH←")
			begun(w)
			w.True(w.B.IKE().Initiator && w.B.IKE().Peer.NATLocal, "East's is the one, and it knows of its NAT")
			w.Count("A INIT→", 1)
			w.True(w.A.Machine.Counters().Attempts == 0, "West's attempt has ended")
		}},
		Case{Name: "a want ends what it led to, wherever that is, and nobody else's", Options: alone, Run: func(w *World) {
			nat := w.NAT("203.0.113.1", w.B)
			hint := netip.AddrPortFrom(nat.Outside, 501) // not where B comes from
			w.A.Input(&sa.Connect{Connection: "t", Local: w.A.Endpoint(), Remote: hint, Identity: w.B.Identity()})
			w.B.Connect(w.A)
			w.Deliver("B INIT→", "A INIT←", "B AUTH→", "A AUTH←")
			begun(w)
			w.MayBreak()
			for _, other := range []auth.Identity{{}, identityOf("c.test")} {
				w.A.Input(&sa.Disconnect{Connection: "t", Remote: hint, Identity: other})
				w.A.Input(&sa.Disconnect{Connection: "t", Remote: w.A.IKE().Peer.Remote, Identity: identityOf("c.test")})
			}
			w.Settle()
			w.Never("A D→")
			w.True(w.A.Downs == 0, "others' wants end nothing")
			w.A.Input(&sa.Disconnect{Connection: "t", Remote: hint, Identity: w.B.Identity()})
			w.Deliver("A D→", "B D←")
			w.EndIKE(0)
		}},
		Case{Name: "twin-both-behind-nat", Options: alone, Ways: both(""), Run: func(w *World) {
			nonces(w)
			began := w.Now
			natA, natB := w.NAT("203.0.113.1", w.A), w.NAT("203.0.113.2", w.B)
			at := func(e *End) netip.AddrPort { return netip.AddrPortFrom(e.Address, 4500) }
			wantAt(w.A, at(w.A), natB.Port(w.B, 4500), w.B.Identity())
			wantAt(w.B, at(w.B), natA.Port(w.A, 4500), w.A.Identity())
			w.Lose("A INIT→")
			w.Lose("B INIT→")
			w.Wait(2 * time.Second)
			w.Deliver("A INIT→", "B INIT→", "A INIT←", "B INIT←", "A AUTH→", "B AUTH→", "A AUTH←", "B AUTH←")
			up := w.Now
			settled(w)
			w.True(up.Sub(began) <= 2*time.Second || !w.Plain(), "one repeat interval is lost")
			w.True(w.A.SA().Encapsulation, "ESP is in UDP")
		}},
		Case{Name: "twin-tunnels-differ", Options: alone, Ways: []string{"two tunnels", "two identities"}, Run: tunnels},
		// In our design a tunnel has IKE SAs of its own: both stay, and nothing hangs. The list
		// lets one IKE SA serve both.
		Case{Name: "crossing-streams-23-conswitch-ike-sa-init-ikev2", Options: alone, Run: tunnels},
		Case{Name: "twin-cloned-identity", Options: Options{Alone: true, Both: grouped}, Loss: true, Run: clones},
		Case{Name: "twin-cloned-identity, a key of its own", Options: alone, Loss: true, Run: clones},
	)
}

// clones lets C come with B's identity.
func clones(w *World) {
	c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{w.B.Connection()}})
	w.B.Connect(w.A)
	w.Settle()
	w.True(w.A.Ups == 1, "the older is up")
	w.MayBreak()
	w.Run(time.Second)
	c.Connect(w.A)
	w.Deliver("C INIT→", "A INIT←", "C AUTH→", "A AUTH←")
	w.Deliver("A I→ ∅", "B I← ∅") // the older is probed, and answers
	w.Deliver("A D→ IKE")         // the second is refused
	w.Settle()
	w.True(w.A.SA().Remote.Addr() == w.B.Address, "the older stays")
	alarms := len(w.A.Alarms)
	w.True(alarms == 1 && strings.Contains(w.A.Alarms[0], c.Address.String()) && strings.Contains(w.A.Alarms[0], w.B.Address.String()), "the alarm names both: %q", w.A.Alarms)
	w.True(w.A.Downs == 0 && len(w.A.Moves) == 0, "nobody was told anything")

	w.B.Kill()
	w.Run(time.Minute)
	c.Connect(w.A)
	w.Run(10 * time.Second)
	w.True(w.A.SA() != nil && w.A.SA().Remote.Addr() == c.Address, "the second takes the place of the older, which is silent")
	w.True(len(w.A.Moves) == 1, "its move was told")

	w.B.Start()
	w.B.Connect(w.A)
	w.Run(10 * time.Second)
	w.True(w.A.SA().Remote.Addr() == c.Address, "not back again within a minute")
	w.True(len(w.A.Alarms) == alarms+1, "that is an alarm: %q", w.A.Alarms)
	w.True(w.A.Downs == 0, "up all the time")
	w.Drain()
}
