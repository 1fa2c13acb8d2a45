// SPDX-License-Identifier: Apache-2.0

package world

import (
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Options are how a World is made.
type Options struct {
	// IKE and ESP are the proposals of both ends.
	IKE, ESP string
	// Both, A and B change the policies, in this order.
	Both, A, B func(c *sa.Connection)
	// Limits are those of both machines.
	Limits sa.Limits
	// Alone leaves out the connection that a case otherwise begins with.
	Alone bool
	// Either says that a case that is Alone connects Began to Waited by itself.
	Either bool
}

// far is a lifetime that no run lasts.
const far = 1000 * time.Hour

// New makes a World of A and B.
func New(t *testing.T, o Options) *World { return newWorld(t, o, run{seed: 1, began: "A"}) }

func newWorld(t *testing.T, o Options, r run) *World {
	cryptotest.SetGlobalRandom(t, r.seed) // ML-KEM draws its own
	w := &World{
		T: t, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), run: r, Way: r.way, Horizon: horizon,
		keys: map[spis][]*crypto.Keys{}, used: map[uint32]bool{}, flows: map[flow]*window{}, answers: map[[32]byte]*Message{},
		nonces: map[string][]byte{}, vectors: map[string][]byte{}, outbound: map[string]uint32{}, random: dice{state: r.seed},
	}
	if o.IKE == "" {
		o.IKE = "aes128gcm16-prfsha256-x25519"
	}
	if o.ESP == "" {
		o.ESP = "aes128gcm16-x25519"
	}
	policy := func(name, other string, change func(*sa.Connection)) *sa.Connection {
		c := &sa.Connection{
			Name: "t", Local: identity(name), Mode: sa.Transport, Peers: []auth.Pattern{pattern(other)},
			SharedKeys: auth.SharedKeys{{Peer: pattern(other), Key: crypto.Secret("between a and b")}},
			IKE:        proposals(wire.ProtocolIKE, o.IKE), ESP: proposals(wire.ProtocolESP, o.ESP),
			Lifetimes: sa.Lifetimes{IKESoft: far, ChildSoft: far, Jitter: time.Second},
			Liveness:  -1, Keepalive: -1, FragmentSize: 60000,
		}
		if r.loss > 0 {
			c.Liveness = 30 * time.Second // only so an end learns that the other has given up
		}
		for _, f := range []func(*sa.Connection){o.Both, change} {
			if f != nil {
				f(c)
			}
		}
		c.SetDefaults()
		return c
	}
	w.A = w.Add("A", "198.51.100.1", sa.Config{Connections: []*sa.Connection{policy("a.test", "b.test", o.A)}, Limits: o.Limits})
	w.B = w.Add("B", "198.51.100.2", sa.Config{Connections: []*sa.Connection{policy("b.test", "a.test", o.B)}, Limits: o.Limits})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + strings.Join(w.lines, "\n"))
		}
	})
	if !o.Alone {
		w.Began().Connect(w.Waited())
		w.Settle()
		if w.A.SA() == nil || w.B.SA() == nil {
			w.stop("the connection that the case begins with was not made")
		}
	}
	return w
}

func identity(text string) auth.Identity {
	i, err := auth.ParseIdentity(text)
	if err != nil {
		panic(err)
	}
	return i
}

func pattern(text string) auth.Pattern {
	p, err := auth.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func proposals(protocol wire.ProtocolID, text string) []proposal.Proposal {
	p, err := proposal.Parse(protocol, text)
	if err != nil {
		panic(err)
	}
	return p
}

// IKE gives a policy other proposals for the IKE SA, ESP for Child SAs.
func IKE(text string) func(*sa.Connection) {
	return func(c *sa.Connection) { c.IKE = proposals(wire.ProtocolIKE, text) }
}

// ESP gives a policy other proposals for Child SAs.
func ESP(text string) func(*sa.Connection) {
	return func(c *sa.Connection) { c.ESP = proposals(wire.ProtocolESP, text) }
}
