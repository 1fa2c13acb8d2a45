// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

func TestWhoIsTheSamePeer(t *testing.T) {
	at := func(nbma string, port uint16, identity string) engine.Endpoint {
		return engine.Endpoint{NBMA: addr(nbma), Port: port, Identity: identity}
	}
	const here, there = "203.0.113.66", "203.0.113.67"
	for _, c := range []struct {
		name     string
		a, b     engine.Endpoint
		same     bool
		together bool // in a table
	}{
		{"one identity, wherever it is", at(here, 4501, "s3"), at(there, 1, "s3"), true, true},
		{"two identities behind one port", at(here, 4501, "s3"), at(here, 4501, "s4"), false, false},
		{"no identity at the same place", at(here, 4501, ""), at(here, 4501, ""), true, true},
		{"no identity at another port", at(here, 4501, ""), at(here, 4502, ""), false, false},
		{"no identity at another address", at(here, 0, ""), at(there, 0, ""), false, false},
		{"one without at the same place", at(here, 0, ""), at(here, 0, "hub"), true, false},
		{"one without at another place", at(here, 0, ""), at(here, 4501, "hub"), false, false},
	} {
		for _, pair := range [][2]engine.Endpoint{{c.a, c.b}, {c.b, c.a}} {
			want(t, c.name, pair[0].Is(pair[1]), c.same)
			want(t, c.name+", keys", pair[0].Key() == pair[1].Key(), c.together)
		}
	}
}

// A client that IKE knows is the same one when a NAT gives it another port, or it moves.
func TestAnAuthenticatedClientIsFollowed(t *testing.T) {
	rows(t, []row{
		{"its prefixes go with it, and nobody is dismissed", func(t *testing.T) {
			const inside, outside = "172.16.2.22", "203.0.113.66"
			b := hub(t)
			from := func(nbma string, port uint16) {
				for _, entries := range [][]wire.CIE{nil, {network("10.20.3.0/24")}} {
					r := registration("10.0.0.13", inside, entries...)
					data, err := r.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					b.n.Input(engine.Packet{From: engine.Endpoint{NBMA: addr(nbma), Port: port, Identity: "s3"}, Data: data})
				}
			}
			s3 := engine.Endpoint{Identity: "s3"}
			for _, at := range []engine.Endpoint{{NBMA: addr(outside), Port: 4501}, {NBMA: addr(outside), Port: 4502}, {NBMA: addr("203.0.113.67")}} {
				from(at.NBMA.String(), at.Port)
				want(t, "bound", b.n.Bound[addr("10.0.0.13")].Place(), at)
				want(t, "the prefix", b.n.Installed[prefix("10.20.3.0/24")], addr("10.0.0.13"))
				for _, x := range b.snapshot().Bindings {
					if x.Protocol == addr("10.0.0.13") {
						want(t, "binding of "+x.Prefix.String(), x.To.Place(), at)
					}
				}
				b.run(2 * time.Minute)
				want(t, "accepted", b.n.Accepted[s3], true)
			}
			want(t, "endpoints", len(b.n.Accepted), 3)
		}},
	})
}
