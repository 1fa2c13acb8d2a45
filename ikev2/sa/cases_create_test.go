// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"net/netip"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// TestCasesCreate are those of section 5 about CREATE_CHILD_SA for a further Child SA.
func TestCasesCreate(t *testing.T) {
	Run(t,
		Case{Name: "child_create/test_duplicate", Ways: []string{"it is there", "it is being made"}, Run: func(w *World) {
			if w.Way == "it is being made" {
				bare(w)
				w.A.Create()
				w.Expect("A C→ ESP")
				w.A.Create()
				w.Deliver("A C→", "B C←")
				w.OnlyOnTheWay()
				w.Count("A C→", 1)
				w.End(1)
				return
			}
			w.A.Create()
			w.OnlyOnTheWay()
			w.End(1)
		}},
		Case{Name: "child_create/test_collision_ike_rekey", Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.B.RekeyIKE()
			w.Deliver("A C→ ESP", "B C→ IKE", "B C← TEMPORARY_FAILURE", "A C← TEMPORARY_FAILURE")
			w.OnlyOnTheWay()
			w.Wait(3 * time.Second)
			w.OnlyOnTheWay()
			w.End(1)
			w.EndIKE(1)
			w.Flows()
		}},
		Case{Name: "child_create/test_multi_ke", Options: withESP(multiKE), Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Deliver("A C→", "B C←", "A F→", "B F←")
			w.True(w.A.Newest() == nil && w.B.Newest() == nil, "nothing is installed yet")
			w.Deliver("A F→")
			w.True(w.A.Newest() == nil, "nothing is installed at A yet")
			w.Deliver("B F←")
			w.End(1)
			w.Flows()
		}},
		Case{Name: "create-both-at-once", Lowest: four, Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.B.Create()
			w.Deliver("A C→", "B C→", "A C←", "B C←")
			stands, redundant := w.Judge()
			kept, _ := w.Made(stands)
			idle, _ := w.Made(redundant)
			w.Flows()
			w.End(2)
			w.Stays(kept)
			w.True(idle.Open() && idle.Other().Open(), "the other is not killed")
			w.A.Expire(idle, false) // it is not rekeyed,
			w.B.Expire(idle, false)
			w.OnlyOnTheWay()
			w.A.Expire(idle, true) // and goes
			w.End(1)
			w.Stays(kept)
		}},
		Case{Name: "crossing-streams-04-ikev2-initiator-child-up-ike-down", Ways: []string{"A wants", "B wants"}, Run: func(w *World) {
			old := w.A.IKE().SPIi
			w.A.DeleteIKE()
			if w.Way == "A wants" {
				w.A.Want(w.B)
			} else {
				w.B.Want(w.A)
			}
			w.True(len(w.All("A C→"))+len(w.All("B C→")) == 0, "nothing is asked on the dying one")
			w.EndDowns(1, -1)
			w.EndIKE(1)
			w.Never("A C→", "B C→")
			w.True(w.A.IKE().SPIi != old, "it has an IKE SA of its own")
			w.Flows()
		}},
		Case{Name: "crossing-streams-21-second-child-crypto-ikev2", Ways: []string{"response first", "request first"}, Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.B.Create()
			w.Deliver("A C→")
			if w.Way == "response first" {
				w.Deliver("B C←", "B C→", "A C←")
			} else {
				w.Deliver("B C→", "B C←", "A C←")
			}
			w.End(2)
			w.Flows()
		}},
		Case{Name: "ikev2-child-00-dh-hang", Options: childless(true), Run: func(w *World) {
			one, two := twoChildren(w)
			w.A.Rekey(one)
			w.A.Rekey(two)
			w.Bend("A C→ REKEY_SA", func(m *Message) {
				offer, ok := wire.Find[*wire.SA](m.Payloads)
				if !ok {
					return // another exchange that a storm has brought here
				}
				for i := range offer.Proposals[0].Transforms {
					if t := &offer.Proposals[0].Transforms[i]; t.Type == wire.Encryption {
						t.KeyLength = 256
					}
				}
			})
			w.Deliver("B C← NO_PROPOSAL_CHOSEN")
			w.True(one.Open(), "the first Child SA notices nothing")
			w.Deliver("A C→ REKEY_SA", "B C← SA", "A D→", "B D←")
			if o := two.Other(); o != nil { // a storm may have ended it already
				w.True(named(last(w.All("A C→ REKEY_SA")), wire.RekeySA) == o.Inbound, "the second runs")
			}
			w.End(2)
			w.Flows()
		}},
		Case{Name: "ikev2-child-00-dh-hang, ikev2-invalid-ke-07", Options: childless(true), Run: func(w *World) {
			one, two := twoChildren(w)
			w.A.Reconfigure(ESP(wantsMine))
			w.B.Reconfigure(ESP(takesOne))
			w.A.Rekey(one)
			w.A.Rekey(two)
			w.Deliver("A C→ REKEY_SA", "B C← INVALID_KE_PAYLOAD", "A C→ REKEY_SA", "B C← SA", "A D→", "B D←")
			w.Deliver("A C→ REKEY_SA", "B C← SA", "A D→", "B D←")
			w.End(2)
			w.Flows()
		}},
		Case{Name: "create-no-additional-sas", Ways: []string{"wanted", "by hand"}, Run: func(w *World) {
			bare(w)
			w.Refuse("A C→ ESP", &wire.Notify{Type: wire.NoAdditionalSAs})
			if w.Way == "wanted" {
				w.A.Want(w.B)
			}
			w.A.Create()
			w.Run(10 * time.Minute)
			w.True(len(w.All("A C→ ESP")) < 5, "A has tried %d times on this IKE SA", len(w.All("A C→ ESP")))
			w.Calm()
		}},
		Case{Name: "create-unknown-notify", Ways: []string{"error in the response", "error beside an SA in the response", "status in the response", "error in the request"}, Run: func(w *World) {
			bare(w)
			strange := &wire.Notify{Type: 8191}
			w.A.Create()
			switch w.Way {
			case "error in the response":
				w.Refuse("A C→ ESP", strange)
				w.Deliver("A C→", "B C←")
				w.Calm()
				w.True(w.A.SA() == nil, "the exchange has failed")
				return
			case "error beside an SA in the response":
				w.Deliver("A C→")
				w.Bend("B C←", func(m *Message) { m.Payloads = append(m.Payloads, strange) })
				w.True(w.A.SA() == nil, "the exchange has failed")
				w.Deliver("A D→ ESP", "B D←") // for B may have it
				return
			case "status in the response":
				w.Deliver("A C→")
				w.Bend("B C←", func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: 49151}) })
			case "error in the request":
				w.Bend("A C→", func(m *Message) { m.Payloads = append(m.Payloads, strange) })
				w.Deliver("B C← SA")
			}
			w.End(1)
			w.EndIKE(1)
		}},
	)
}

// TestCasesCreateTerms are those of section 5 about what a Child SA is for.
func TestCasesCreateTerms(t *testing.T) {
	Run(t,
		Case{Name: "create-transport-not-echoed", Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Deliver("A C→")
			w.Bend("B C←", func(m *Message) { m.Without(wire.UseTransportMode) })
			w.Deliver("A D→ ESP", "B D←")
			w.True(w.A.Newest() == nil, "A has installed nothing")
			w.EndIKE(1)
		}},
		Case{Name: "create-transport-not-echoed, tunnel mode asked of us", Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Bend("A C→", func(m *Message) { m.Without(wire.UseTransportMode) })
			w.True(w.B.Newest() == nil, "B has installed nothing")
			w.Deliver("B C← NO_PROPOSAL_CHOSEN")
			w.EndIKE(1)
		}},
		Case{Name: "create-transport-not-echoed, what was not asked is not echoed", Options: tunnelOptions(), Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Deliver("A C→ !USE_TRANSPORT_MODE", "B C← SA !USE_TRANSPORT_MODE")
			w.End(1)
		}},
		Case{Name: "create-ts-narrow-gre", Ways: []string{"any protocol", "whole subnets", "several"}, Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Bend("A C→", func(m *Message) {
				for _, p := range m.Payloads {
					ts, ok := p.(*wire.Selectors)
					if !ok {
						continue
					}
					gre := ts.List[0]
					wide := gre
					wide.Protocol = 0
					switch w.Way {
					case "whole subnets":
						wide.Start, wide.End = netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255")
					case "several": // the pair that a packet was for stands first
						fibre := wire.Selector{Type: 9, Protocol: 1, Other: make([]byte, 24)}
						six := wire.Selector{Type: wire.SelectorIPv6, EndPort: 65535, Start: netip.IPv6Unspecified(), End: netip.MustParseAddr("ffff::")}
						ts.List = []wire.Selector{gre, fibre, six, wide}
						continue
					}
					ts.List = []wire.Selector{wide}
				}
			})
			w.Deliver("B C← SA")
			s := w.A.Newest()
			w.True(s != nil, "A has a Child SA")
			if s != nil {
				w.True(sameSelectors(s.Here, gre(w.A)) && sameSelectors(s.There, gre(w.B)), "it is for %v and %v", s.Here, s.There)
			}
			w.End(1)
			w.Flows()
		}},
		Case{Name: "create-ts-unacceptable", Run: func(w *World) {
			bare(w)
			w.A.Create()
			w.Bend("A C→", func(m *Message) {
				for _, p := range m.Payloads {
					if ts, ok := p.(*wire.Selectors); ok {
						ts.List[0].Protocol = 17
					}
				}
			})
			w.True(w.B.Newest() == nil, "B has installed nothing")
			w.Deliver("B C← TS_UNACCEPTABLE")
			w.EndIKE(1)
		}},
		Case{Name: "create-ts-unacceptable, SINGLE_PAIR_REQUIRED", Options: func() Options {
			o := tunnelOptions()
			two := []wire.Selector{subnet("10.1.0.0"), subnet("10.1.1.0")}
			o.A = func(c *sa.Connection) { c.Here, c.There = two, []wire.Selector{subnet("10.2.0.0")} }
			o.B = func(c *sa.Connection) { c.Here, c.There = []wire.Selector{subnet("10.2.0.0")}, two }
			return o
		}(), Run: func(w *World) {
			bare(w)
			w.Refuse("A C→ ESP", &wire.Notify{Type: wire.SinglePairRequired})
			w.A.Create()
			w.Deliver("A C→", "B C←")
			w.Calm()
			w.Deliver("A C→", "B C← SA")
			if !w.Storm() {
				ts, _ := wire.Find[*wire.Selectors](w.All("A C→")[1].Payloads)
				w.True(len(ts.List) == 1, "A asks for %d pairs", len(ts.List))
			}
			w.End(1)
		}},
		Case{Name: "create-ts-transport-behind-nat", Options: Options{Alone: true, Either: true}, Ways: []string{"A", "B", "both"}, Run: func(w *World) {
			from, to := w.Began(), w.Waited()
			if w.Way != "B" {
				w.NAT("203.0.113.1", w.A).Open = to == w.A
			}
			if w.Way != "A" {
				w.NAT("203.0.113.2", w.B).Open = to == w.B
			}
			from.ConnectTo(to, to.Reached(500))
			w.Run(10 * time.Second)
			w.Begin()
			w.A.Delete(w.A.SA())
			w.Deliver("A D→", "B D←")
			w.Begin()
			w.A.Create() // its selectors have the inside addresses
			w.Deliver("A C→", "B C← SA")
			for _, e := range []*End{w.A, w.B} {
				if s := e.Newest(); s != nil {
					w.True(s.Encapsulation, "%s is in UDP", s)
					w.True(sameSelectors(s.There, host(s.Remote.Addr())), "%s is for %v, the peer is at %s", s, s.There, s.Remote)
				}
			}
			w.End(1)
			w.Flows()
		}},
	)
}

// last is the last of some messages, alone.
func last(all []*Message) []*Message {
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1:]
}

// host selects GRE of one address, gre that of an end.
func host(a netip.Addr) []wire.Selector {
	return []wire.Selector{{Type: wire.SelectorIPv4, Protocol: 47, EndPort: 65535, Start: a, End: a}}
}

func gre(e *End) []wire.Selector { return host(e.Address) }
