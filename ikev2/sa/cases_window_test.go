// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"math"
	"slices"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// story is what two ends say to each other from the beginning to the end.
var story = []struct {
	do       func(w *World)
	messages []string
}{
	{func(w *World) { w.A.Connect(w.B) }, []string{"A INIT→", "B INIT←", "A AUTH→", "B AUTH←"}},
	{func(w *World) { w.A.Rekey(w.A.SA()) }, []string{"A C→", "B C←", "A D→", "B D←"}},
	{func(w *World) { w.B.Rekey(w.B.SA()) }, []string{"B C→", "A C←", "B D→", "A D←"}},
	{func(w *World) { w.A.RekeyIKE() }, []string{"A C→", "B C←", "A D→", "B D←"}},
	{func(w *World) { w.B.RekeyIKE() }, []string{"B C→", "A C←", "B D→", "A D←"}},
	{func(w *World) { hintOf(w.A, w.B) }, []string{"A I→", "B I←"}},
	{func(w *World) { w.B.DeleteIKE() }, []string{"B D→", "A D←"}},
}

// hintOf makes an end ask whether the other one lives.
func hintOf(e, other *End) {
	e.Input(&sa.Unreachable{Local: e.Endpoint(), Remote: other.Endpoint()})
}

// once fails unless no work was done twice.
func once(w *World) {
	w.T.Helper()
	w.EndIKE(0)
	for _, e := range []*End{w.A, w.B} {
		w.True(e.Ups == 1 && e.Downs == 1, "%s was told %d times up and %d times down", e.Name, e.Ups, e.Downs)
	}
	w.Never("A I← INVALID_MESSAGE_ID", "B I← INVALID_MESSAGE_ID", "A I→ INVALID_MESSAGE_ID", "B I→ INVALID_MESSAGE_ID")
}

// TestCasesRepeats are those rows of section 8 that repeat messages.
func TestCasesRepeats(t *testing.T) {
	alone := Options{Alone: true}
	Run(t,
		Case{Name: "retransmit-backoff", Loss: true, Ways: []string{"liveness check", "IKE_SA_INIT"}, Run: func(w *World) {
			pattern := "A I→"
			if w.Way == "IKE_SA_INIT" {
				w.A.Kill()
				w.A.Start()
				w.B.Kill()
				w.A.Connect(w.B)
				pattern = "A INIT→"
			} else {
				w.Deafen("A I→")
				w.MayBreak()
				hintOf(w.A, w.B)
			}
			first := w.All(pattern)
			var pauses []time.Duration
			last := w.Now
			for n := 0; n < 20 && w.A.Machine.Counters().PeersDead == 0 && !w.Storm(); n++ {
				w.Flush()
				w.Tick()
				pauses = append(pauses, w.Now.Sub(last))
				last = w.Now
			}
			w.True(slices.IsSorted(pauses) && len(pauses) >= 11 && len(pauses) <= 13, "the pauses grow, a dozen: %v", pauses)
			var all time.Duration
			for _, p := range pauses {
				all += p
			}
			w.True(all > 2*time.Minute && all < 5*time.Minute, "it takes minutes: %s", all)
			w.True(len(w.All(pattern)) == len(first), "the same octets each time")
			if w.Way == "liveness check" {
				w.True(w.A.Downs == 1 && w.A.SA() == nil, "one down")
				w.B.Kill()
			} else {
				w.True(len(w.A.Failures) == 1, "one failure")
			}
		}},
		Case{Name: "ikev2-22-retransmit", Options: alone, Loss: true, Run: func(w *World) {
			w.B.Kill()
			w.A.Want(w.B)
			for n := 0; n < 12 && !w.Storm(); n++ {
				before := len(w.A.Failures)
				for len(w.A.Failures) == before {
					w.Flush()
					w.Tick()
				}
				pause := w.A.Failures[n].Retry.Sub(w.Now)
				least := min(2*time.Second<<n, 64*time.Second)
				w.True(pause >= least && pause < least*5/4, "pause %d is %s", n+1, pause)
				w.True(w.A.Machine.Counters().Attempts == 0 && len(w.A.Infos()) == 0, "nothing is left between")
			}
			w.A.Unwant(w.B)
			w.Drain()
			inits := len(w.All("A INIT→"))
			w.Wait(time.Hour)
			w.Count("A INIT→", inits)
		}},
		Case{Name: "ikev2-impair-01-replay-duplicates, ikev2-43-init-retransmit", Options: alone, Run: func(w *World) {
			for _, s := range story {
				s.do(w)
				for _, p := range s.messages {
					all := w.All(p)
					w.Deliver(p)
					for _, m := range all[max(len(all)-1, 0):] {
						w.Copy(m, m.From.Endpoint())
					}
					w.True(w.B.Machine.Counters().HalfOpen <= 1, "one half-open SA")
				}
			}
			once(w)
		}},
		Case{Name: "ikev2-impair-02-replay-forward", Options: alone, Run: func(w *World) {
			var old []*Message
			for _, s := range story {
				s.do(w)
				for _, p := range s.messages {
					all := w.All(p)
					if w.Storm() || len(all) == 0 {
						w.Deliver(p)
						continue
					}
					release := w.Hold(p)
					for i, m := range old {
						before := w.OnTheWay()
						if to := map[*End]*End{w.A: w.B, w.B: w.A}[m.From]; infoOf(to, m.SPIi).ID == 0 {
							continue // its IKE SA has gone
						}
						w.Copy(m, m.From.Endpoint())
						last := !slices.ContainsFunc(old[i+1:], func(o *Message) bool {
							return o.From == m.From && !o.Response && o.SPIi == m.SPIi && o.Initiator == m.Initiator
						})
						w.True(w.OnTheWay() == before || last && !m.Response, "only the last request is answered again, not %s", m)
					}
					w.Flush()
					release()
					old = append(old, all[len(all)-1])
				}
			}
			once(w)
		}},
		Case{Name: "ikev2-59-alias-retransmit", Options: alone, Run: func(w *World) {
			// Our crypto has ended when the machine takes the next input: what is repeated
			// meanwhile comes right behind.
			w.A.Connect(w.B)
			for _, p := range []string{"A INIT→", "B INIT←", "A AUTH→", "B AUTH←"} {
				w.Deliver(p)
				for _, m := range w.All(p) {
					for range 3 {
						w.Copy(m, m.From.Endpoint())
					}
				}
			}
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			for _, m := range w.All("A C→") {
				for range 3 {
					w.Copy(m, m.From.Endpoint())
				}
			}
			w.Deliver("B C←")
			w.True(len(w.B.Plane.All(Installed, Retired)) == 2, "one Child SA and the old")
			begun(w)
		}},
	)
}

// TestCasesWindow are the rows of section 8 about the window and message ids.
func TestCasesWindow(t *testing.T) {
	Run(t,
		Case{Name: "window-queue", Run: func(w *World) {
			child := w.A.SA()
			w.A.Rekey(child)
			w.A.RekeyIKE()
			hintOf(w.A, w.B)
			w.A.Input(&sa.UnknownSPI{Local: w.A.Endpoint(), Remote: w.B.Endpoint(), SPI: 0x1234567})
			w.A.DeleteIKE()
			w.OnlyOnTheWay("A C→ REKEY_SA")
			w.Deliver("A C→ REKEY_SA", "B C←")
			w.OnlyOnTheWay("A D→ ESP")
			w.Deliver("A D→ ESP", "B D←")
			w.OnlyOnTheWay("A D→ IKE") // it goes before the rekey and the rest, which are for nothing now
			w.End(0)
			w.Never("A C→ IKE")
		}},
		Case{Name: "window-queue, in order", Run: func(w *World) {
			w.A.Rekey(w.A.SA())
			w.A.Input(&sa.UnknownSPI{Local: w.A.Endpoint(), Remote: w.B.Endpoint(), SPI: 0x1234567})
			w.A.RekeyIKE()
			w.OnlyOnTheWay("A C→ REKEY_SA")
			w.Deliver("A C→ REKEY_SA", "B C←", "A D→ ESP", "B D←", "A I→ INVALID_SPI", "B I←", "A C→ IKE", "B C←", "A D→ IKE", "B D←")
			w.End(1)
			w.EndIKE(1)
		}},
		Case{Name: "window-cross", Run: func(w *World) {
			hintOf(w.A, w.B)
			w.B.Rekey(w.B.SA())
			w.Deliver("B C→", "A I→", "A C←", "B I←", "B D→", "A D←")
			w.End(1)
		}},
		Case{Name: "window-larger-peer", Options: Options{Alone: true}, Ways: []string{"8, then 2", "0", "3 octets"}, Run: func(w *World) {
			size := func(n byte) *wire.Notify { return &wire.Notify{Type: wire.SetWindowSize, Data: []byte{0, 0, 0, n}} }
			add := func(n *wire.Notify) func(m *Message) {
				return func(m *Message) { m.Payloads = append(m.Payloads, n) }
			}
			first := map[string]*wire.Notify{"8, then 2": size(8), "0": size(0), "3 octets": {Type: wire.SetWindowSize, Data: []byte{0, 0, 8}}}[w.Way]
			w.On("B AUTH←", add(first))
			w.On("B I→", add(size(2)))
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
			hintOf(w.B, w.A)
			w.Deliver("B I→", "A I←")
			w.A.Rekey(w.A.SA())
			w.A.RekeyIKE()
			w.OnlyOnTheWay("A C→ REKEY_SA") // we still send one
			begun(w)
		}},
		Case{Name: "window-larger-peer, a request before its turn", Run: func(w *World) { early(w, 1) }},
		Case{Name: "message-id-far", Ways: []string{"2", "2³¹"}, Run: func(w *World) {
			far := uint32(2)
			if w.Way == "2³¹" {
				far = 1 << 31
			}
			early(w, far)
			w.Never("A I← INVALID_MESSAGE_ID", "A I→ INVALID_MESSAGE_ID")
		}},
		Case{Name: "message-id-wrap", Ways: []string{"ours, rekeyed before", "the peer's, rekeyed before", "the end"}, Loss: true, Run: func(w *World) {
			id := w.A.IKE()
			peer := infoOf(w.B, id.SPIi)
			const half = 1 << 31
			if w.Way != "the end" {
				out := uint32(half - 1)
				w.A.Machine.SetMessageIDs(id.ID, out, 5)
				w.B.Machine.SetMessageIDs(peer.ID, 5, out)
				if w.Way == "the peer's, rekeyed before" {
					w.A.Machine.SetMessageIDs(id.ID, 5, out)
					w.B.Machine.SetMessageIDs(peer.ID, out, 5)
				}
				w.ForgetWindows()
				hintOf(w.A, w.B)
				w.Settle()
				hintOf(w.B, w.A)
				w.Settle()
				w.End(1)
				w.True(w.A.IKE().SPIi != id.SPIi, "the IKE SA is rekeyed")
				return
			}
			w.MayBreak()
			w.A.Machine.SetMessageIDs(id.ID, math.MaxUint32, 5)
			w.B.Machine.SetMessageIDs(peer.ID, 5, math.MaxUint32)
			w.ForgetWindows()
			hintOf(w.A, w.B)
			w.Run(time.Minute)
			w.True(infoOf(w.A, id.SPIi).ID == 0, "it is closed")
			for _, m := range w.All("A I→") {
				w.True(m.MessageID != 0, "its ids never begin again")
			}
			w.B.Kill()
		}},
		Case{Name: "message-id-response-mismatch", Ways: []string{"id", "exchange", "flag", "nobody asked"}, Run: func(w *World) {
			hintOf(w.A, w.B)
			w.Deliver("A I→")
			bend := map[string]func(m *Message){
				"id":       func(m *Message) { m.MessageID++ },
				"exchange": func(m *Message) { m.Exchange = wire.CreateChildSA },
				"flag":     func(m *Message) { m.Initiator = !m.Initiator },
			}[w.Way]
			if w.Way == "nobody asked" {
				w.Deliver("B I←")
				for _, m := range w.All("B I←") {
					before := string(exported(w.A, w))
					w.Copy(m, w.B.Endpoint())
					w.True(string(exported(w.A, w)) == before, "no trace of it")
				}
				w.End(1)
				return
			}
			before := exported(w.A, w)
			w.Bend("B I←", bend)
			w.True(slices.Equal(exported(w.A, w), before) || !w.Plain(), "no trace of it")
			w.Calm()
			for _, m := range w.All("B I←") {
				w.Copy(m, w.B.Endpoint())
			}
			w.True(w.A.IKE().Queued == 0, "the true one is taken")
			w.End(1)
		}},
	)
}

// exported is all that an end's machine knows, but for the time.
func exported(e *End, w *World) []byte {
	b, err := e.Machine.Export(w.Now)
	if err != nil {
		w.T.Fatal(err)
	}
	return b
}

// early lets B's request come with an id that is too high, and then with its own.
func early(w *World, by uint32) {
	hintOf(w.B, w.A)
	w.Bend("B I→", func(m *Message) { m.MessageID += by })
	w.Calm()
	w.Never("A I←")
	w.WaitFor("B I→")
	w.Deliver("B I→", "A I←")
	w.End(1)
}

// firstIDs looks at the ids of the first requests behind IKE_AUTH.
func firstIDs(w *World, id string) {
	hintOf(w.A, w.B)
	hintOf(w.B, w.A)
	first, other := "A", "B"
	if !w.A.IKE().Initiator {
		first, other = other, first
	}
	w.Expect(first+" I→ ="+id, other+" I→ =0")
	w.End(1)
}

// TestCasesFirstMessages are the rows of section 8 about what comes before IKE_AUTH.
func TestCasesFirstMessages(t *testing.T) {
	Run(t,
		Case{Name: "message-id-first-auth", Run: func(w *World) { firstIDs(w, "2") }},
		Case{Name: "message-id-first-auth, two rounds of IKE_INTERMEDIATE", Options: Options{IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp256-ke2_ecp384"},
			Run: func(w *World) { firstIDs(w, "4") }},
		Case{Name: "ikev2-07-invalid-xchg", Options: Options{Alone: true}, Ways: []string{"INFORMATIONAL", "CREATE_CHILD_SA", "in clear"}, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			change := func(m *Message) {
				m.Exchange, m.Payloads = wire.Informational, []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}}
				if w.Way == "CREATE_CHILD_SA" {
					m.Exchange = wire.CreateChildSA
				}
			}
			if w.Way == "in clear" {
				for _, m := range w.All("A AUTH→") {
					w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), altered(w, m, func(h *wire.Header, _ []wire.Payload) []wire.Payload {
						h.Exchange = wire.Informational
						return []wire.Payload{&wire.Delete{Protocol: wire.ProtocolIKE}, &wire.Notify{Type: wire.InvalidIKESPI}}
					}))
				}
			} else {
				w.Bend("A AUTH→", change)
				w.Calm()
			}
			w.Never("B I←", "B C←", "B AUTH←", "B D←")
			w.True(w.B.Machine.Counters().HalfOpen == 1, "the half-open SA goes on")
			begun(w)
		}},
	)
}
