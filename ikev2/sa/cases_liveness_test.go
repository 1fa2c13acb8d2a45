// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// asks lets an end ask after so much silence.
func asks(after time.Duration) func(c *sa.Connection) {
	return func(c *sa.Connection) { c.Liveness = after }
}

// soon is a horizon within which no liveness check of these cases is.
const soon = 20 * time.Second

// gives waits until an end has given its only peer up, and says how long it took; what it sends
// is lost.
func gives(w *World, e *End) time.Duration {
	began := w.Now
	for w.Now.Before(began.Add(10*time.Minute)) && len(e.Infos()) > 0 && !w.Storm() {
		w.Flush()
		w.Wait(time.Second)
	}
	w.Flush()
	return w.Now.Sub(began)
}

// TestCasesLiveness are the rows of section 13.
func TestCasesLiveness(t *testing.T) {
	Run(t,
		dies("ikev2-liveness-01-east-active-clear", 30*time.Second),
		dies("ikev2-liveness-01-east-active-clear, every 2 s", 2*time.Second),
		dies("ikev2-liveness-01-east-active-clear, every 10 s", 10*time.Second),
		dies("ikev2-liveness-01-east-active-clear, every 2 min", 2*time.Minute),
		dies("ikev2-liveness-01-east-active-clear, every hour", time.Hour),
		Case{Name: "ikev2-liveness-03-both-active-clear", Options: Options{Both: liveness}, Run: func(w *World) {
			w.Horizon = soon
			w.Wait(30 * time.Second)
			w.Deliver("A I→ ∅", "B I→ ∅", "A I← ∅", "B I← ∅")
			w.Run(10 * time.Minute)
			w.True(len(w.All("A I→"))+len(w.All("B I→")) >= 15, "they go on") // who is asked need not ask
			w.End(1)
		}},
		Case{Name: "ikev2-liveness-03-both-active-clear, -04, one side much faster", Options: Options{A: asks(25 * time.Second), B: asks(time.Minute)}, Run: func(w *World) {
			w.Horizon = soon
			w.Run(10 * time.Minute)
			w.True(len(w.All("A I→")) >= 20, "A asks")
			w.Never("B I→") // it hears of A all the time
			w.End(1)
		}},
		Case{Name: "ikev2-liveness-11-silent", Options: Options{A: liveness}, Ways: []string{"both ways", "only in", "only out"}, Run: func(w *World) {
			w.Horizon = soon
			for range 60 {
				w.Run(10 * time.Second)
				if w.Storm() {
					continue
				}
				if w.Way != "only in" {
					w.True(w.A.Ping() == nil, "A sends")
				}
				if w.Way != "only out" {
					w.True(w.B.Ping() == nil, "B sends")
				}
			}
			if w.Way == "only out" {
				w.True(len(w.All("A I→")) >= 15, "what goes out proves nothing")
			} else {
				w.Never("A I→")
			}
			w.End(1)
		}},
		Case{Name: "ikev2-liveness-12-clear-rw-restart", Loss: true, Options: Options{Alone: true, A: liveness},
			Ways: []string{"its own key", "a group's key", "another kind"}, Run: func(w *World) {
				w.Horizon = soon
				if w.Way != "its own key" {
					for _, e := range []*End{w.A, w.B} {
						e.Reconfigure(grouped)
					}
				}
				if w.Way == "another kind" {
					otherKind(w)
				}
				w.B.Connect(w.A)
				w.Run(10 * time.Second)
				w.B.Kill()
				w.Wait(45 * time.Second)
				w.Expect("A I→ ∅") // it is being asked
				w.Flush()
				w.B.Start()
				w.B.Connect(w.A)
				w.Run(10 * time.Second)
				w.True(w.A.IKE().SPIi == w.B.IKE().SPIi && len(w.A.Infos()) == 1, "the old one is gone: %v", w.A.Infos())
				w.True(w.A.Ups == 1 && w.A.Downs == 0, "up all the time")
				w.Run(5 * time.Minute)
				w.EndIKE(1)
				w.True(w.A.Ups == 1 && w.A.Downs == 0 && len(w.A.Alarms) == 0, "no down, no alarm")
				w.Never("A D→")
				w.Flows()
			}},
		Case{Name: "ikev2-liveness-08", Loss: true, Options: Options{Alone: true, Both: grouped, A: liveness}, Run: func(w *World) {
			w.Horizon = soon
			w.A.Reconfigure(anybody)
			nat := w.NAT("203.0.113.1", w.B)
			policy := *w.B.Connection()
			policy.Local = identityOf("c.test")
			c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
			c.Behind(nat)
			w.B.Connect(w.A)
			c.Connect(w.A)
			w.Run(10 * time.Second)
			if w.Storm() {
				w.B.Kill()
				return
			}
			ofC := w.A.Peer("c.test")
			child := c.SA()
			asked := len(w.All("A I→"))
			ofB := w.A.Peer("b.test").Peer
			w.True(ofB.Remote.Addr() == ofC.Peer.Remote.Addr(), "they have one address")
			w.B.Kill()
			w.A.Input(&sa.Unreachable{Local: ofB.Local, Remote: ofB.Remote})
			w.Count("A I→ ∅", asked+1)
			w.Run(2 * time.Minute)
			w.True(w.A.Peer("b.test").ID == 0 && w.A.Downs == 1, "B is given up")
			w.True(w.A.Peer("c.test").ID == ofC.ID && c.SA() == child && c.Downs == 0, "C is untouched")
			w.True(len(w.All("C I←")) >= 3, "C answers as before")
			w.True(c.Ping() == nil, "C's packets pass")
		}},
		Case{Name: "ikev2-liveness-09-revival", Loss: true, Options: Options{Alone: true, A: liveness}, Run: func(w *World) {
			w.Horizon = soon
			w.A.Want(w.B)
			w.Run(10 * time.Second)
			w.B.Kill()
			w.Run(2 * time.Minute)
			w.True(w.A.Ups == 1 && w.A.Downs == 1, "A was told that B is down")
			w.True(w.A.SA() == nil && len(w.A.Plane.All(Installed, Retired)) == 0, "nothing leaves meanwhile")
			w.Run(20 * time.Minute)
			tries := len(w.A.Failures)
			w.True(tries >= 3 && tries <= 20, "%d tries in 20 minutes", tries)
			w.B.Start()
			w.Run(5 * time.Minute)
			w.True(w.A.Ups == 2 && w.A.Downs == 1 && w.B.Ups == 2, "up again, once")
			w.EndIKE(1)
			w.Flows()
			w.A.Unwant(w.B)
		}},
		Case{Name: "liveness-hints-are-hints", Options: Options{Both: liveness}, Ways: []string{"ICMP", "INVALID_IKE_SPI", "INVALID_SPI", "all of them"}, Run: func(w *World) {
			w.Horizon = soon
			hints := map[string]func(){
				"ICMP":            func() { w.A.Unreachable(w.B) },
				"INVALID_IKE_SPI": func() { lost(w, &wire.Notify{Type: wire.InvalidIKESPI}) },
				"INVALID_SPI":     func() { lost(w, &wire.Notify{Type: wire.InvalidSPI, Data: octets(w.A.SA().Outbound)}) },
			}
			hint := hints[w.Way]
			if hint == nil {
				hint = func() {
					hints["ICMP"]()
					hints["INVALID_IKE_SPI"]()
					hints["INVALID_SPI"]()
				}
			}
			ike, child := w.A.IKE().ID, w.A.SA()
			for range 120 {
				if w.Storm() {
					break
				}
				hint()
				hint()
				w.Run(time.Second)
			}
			n := len(w.All("A I→"))
			w.True(n >= 5 && n <= 14, "%d probes in two minutes", n)
			w.True(w.A.IKE().ID == ike, "nobody dies of it")
			w.Stays(child)
			w.End(1)
			w.Never("A D→", "B D→", "A C→")
		}},
		Case{Name: "liveness-hints-are-hints, and the peer is gone", Options: Options{A: liveness}, Loss: true, Run: func(w *World) {
			w.B.Kill()
			w.A.Unreachable(w.B)
			w.Expect("A I→ ∅")
			began := w.Now
			for w.Now.Before(began.Add(59*time.Second)) && !w.Storm() {
				w.Flush()
				w.A.Unreachable(w.B)
				w.Wait(time.Second)
			}
			w.True(w.A.Downs == 0, "no hint makes it die sooner")
			took := gives(w, w.A) + 59*time.Second
			w.True(took < 90*time.Second && w.A.Downs == 1, "nor later: after %s", took)
		}},
		Case{Name: "liveness-with-request-outstanding", Options: Options{A: liveness}, Loss: true, Ways: []string{"answered late", "the peer is gone"}, Run: func(w *World) {
			w.Horizon = soon
			w.A.Rekey(w.A.SA())
			if w.Way == "the peer is gone" {
				w.B.Kill()
				took := gives(w, w.A)
				w.True(took >= time.Minute && took < 90*time.Second, "A gives up after %s", took)
				w.True(w.A.Downs == 1 && len(w.A.Infos()) == 0, "one down")
				w.Never("A I→")
				return
			}
			w.Lose("A C→")
			w.Wait(45 * time.Second)
			w.OnlyOnTheWay("A C→")
			w.Never("A I→")
			w.Deliver("A C→", "B C←", "A D→", "B D←")
			w.End(1)
		}},
		Case{Name: "liveness-one-way", Options: Options{Both: liveness}, Loss: true, Ways: []string{"A's packets are lost", "IKE works and ESP does not"}, Run: func(w *World) {
			w.Horizon = soon
			if w.Way == "IKE works and ESP does not" {
				// IKE has no complaint. What the data plane took in, which NHRP looks at, is not
				// stamped by it.
				w.Run(10 * time.Minute)
				if w.Storm() {
					return
				}
				w.End(1)
				w.True(w.A.Downs == 0 && w.B.Downs == 0, "nobody is told of a down")
				w.True(w.A.SA().Received.IsZero() && w.B.SA().Received.IsZero(), "no packet came")
				w.True(len(w.All("A I→"))+len(w.All("B I→")) > 10, "IKE works")
				return
			}
			w.MayBreak()
			w.Deafen("A I→", "A I←", "A C→", "A D→", "A D←")
			w.A.Rekey(w.A.SA())
			for n := 0; n < 59 && !w.Storm(); n++ {
				w.Run(time.Second)
				if w.B.Ping() != nil {
					break
				}
			}
			w.True(w.A.Downs == 0 && w.B.Downs == 0, "nobody is dead yet")
			for n := 0; n < 240 && w.B.SA() != nil && !w.Storm(); n++ {
				w.Run(time.Second)
				_ = w.B.Ping()
			}
			w.True(w.B.Downs == 1, "B, which hears nothing, gives A up")
			w.True(w.A.Downs == 0, "A heard B's packets until now")
			w.Run(4 * time.Minute)
			w.EndIKE(0)
			w.True(w.A.Downs == 1, "A, whose request is never answered, gives B up at last")
		}},
	)
}

// dies is a case in which A dies and only B asks, after so much silence.
func dies(name string, after time.Duration) Case {
	return Case{Name: name, Loss: true, Options: Options{B: asks(after)}, Run: func(w *World) {
		w.A.Kill()
		if w.Storm() && after > time.Minute {
			w.B.Kill() // its drain does not last so long
			return
		}
		w.Wait(after - 100*time.Millisecond)
		w.Never("B I→")
		w.Wait(100 * time.Millisecond)
		w.Expect("B I→ ∅")
		took := gives(w, w.B) + after
		least, most := 2*after, 5*after/2+15*time.Second
		if after == time.Hour { // then the repeats end first
			least, most = after+3*time.Minute, after+4*time.Minute
		}
		w.True(took >= least && took <= most, "B gives up after %s", took)
		w.Count("B I→ ∅", 1) // all the others are the same octets
		w.True(w.B.Sends >= 4, "it was asked %d times", w.B.Sends)
		w.True(len(w.B.Plane.All(Installed, Retired)) == 0 && w.B.Downs == 1, "all is gone, one down")
		w.Never("B D→")
	}}
}

// lost lets A get a message in clear that says that B has lost something.
func lost(w *World, n *wire.Notify) {
	i := w.A.IKE()
	if i.ID == 0 {
		return
	}
	m := wire.Message{Header: wire.Header{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: wire.Informational, Initiator: !i.Initiator, Response: true}, Payloads: []wire.Payload{n}}
	b, err := m.Append(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), b)
}
