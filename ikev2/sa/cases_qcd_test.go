// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// tokens lets both ends make tokens, and one of them begin; A wants B.
func tokens(w *World) {
	for _, e := range w.Ends {
		e.Config.CrashSecret = crypto.Secret(e.Name + " has this after a restart too")
		e.Reconfigure(func(*sa.Connection) {})
	}
	w.Began().Connect(w.Waited())
	w.Run(10 * time.Second)
	w.A.Want(w.B)
	w.Run(10 * time.Second)
}

// restarts lets B lose everything.
func restarts(w *World) {
	w.B.Kill()
	w.Wait(5 * time.Second)
	w.B.Start()
}

// reborn fails unless A lost B once and has it again.
func reborn(w *World) {
	w.T.Helper()
	w.Run(10 * time.Second)
	w.True(w.A.Ups == 2 && w.A.Downs == 1 && w.B.Ups >= 1, "up again")
	w.EndIKE(1)
	w.Flows()
	w.A.Unwant(w.B)
}

// inClear is a message about the IKE SA with an end's SPIs that anybody may send.
func inClear(i sa.Info, initiator, response bool, payloads ...wire.Payload) []byte {
	h := wire.Header{SPIi: i.SPIi, SPIr: i.SPIr, Exchange: wire.Informational, Initiator: initiator, Response: response, MessageID: 7}
	return must((&wire.Message{Header: h, Payloads: payloads}).Append(nil))
}

// askForToken lets both ends be asked for the token of an IKE SA by somebody who has seen its SPIs.
func askForToken(w *World, i sa.Info) {
	for _, initiator := range []bool{false, true} {
		w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), inClear(i, initiator, false))
		w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), inClear(i, initiator, false))
	}
}

// tokenOf is the last one in messages that a pattern names.
func tokenOf(w *World, pattern string) (token []byte) {
	for _, m := range w.All(pattern) {
		if n := m.Notify(wire.QuickCrashDetection); n != nil {
			token = n.Data
		}
	}
	return token
}

// TestCasesQuickCrashDetection are about the tokens of RFC 6290.
func TestCasesQuickCrashDetection(t *testing.T) {
	alone := Options{Alone: true, Either: true}
	afterRekey := func(name, ike string) Case {
		o := alone
		o.IKE = ike
		return Case{Name: name, Options: o, Loss: true, Ways: []string{"A", "B", "both"}, Run: func(w *World) {
			tokens(w)
			old := w.A.IKE()
			if w.Way != "B" {
				w.A.RekeyIKE()
			}
			if w.Way != "A" {
				w.B.RekeyIKE()
			}
			w.Run(time.Minute)
			w.True(w.A.IKE().ID != old.ID && len(w.A.Infos()) == 1 && len(w.B.Infos()) == 1, "it is rekeyed")
			w.True(len(w.All("A I→ QUICK_CRASH_DETECTION"))+len(w.All("B I→ QUICK_CRASH_DETECTION")) == 1, "whose rekey it is tells its token afterwards")
			w.True(tokenOf(w, "A C←") != nil == (w.Way != "A") && tokenOf(w, "B C←") != nil == (w.Way != "B"), "who answers tells it at once")

			// What B gives away of the old one is nothing that A's new one falls for.
			askForToken(w, old)
			w.True(tokenOf(w, "B I← INVALID_IKE_SPI") != nil, "B knows nothing of the old one")
			if n := tokenOf(w, "B I← INVALID_IKE_SPI"); n != nil {
				i := w.A.IKE()
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), inClear(i, !i.Initiator, true, &wire.Notify{Type: wire.QuickCrashDetection, Data: n}))
			}
			w.Run(10 * time.Second)
			w.True(w.A.Downs == 0 && w.B.Downs == 0, "the new one is unharmed")

			restarts(w)
			hintOf(w.A, w.B)
			w.Deliver("A I→ ∅", "B I← INVALID_IKE_SPI QUICK_CRASH_DETECTION")
			reborn(w)
		}}
	}
	Run(t,
		Case{Name: "qcd-restart", Options: alone, Ways: []string{"", "after a stranger's flood"}, Run: func(w *World) {
			tokens(w)
			restarts(w)
			hintOf(w.A, w.B)
			if w.Way != "" {
				strangeRequests(w, 200, func(int) netip.AddrPort { return netip.MustParseAddrPort("203.0.113.9:500") })
			}
			w.Deliver("A I→ ∅", "B I← INVALID_IKE_SPI QUICK_CRASH_DETECTION")
			w.Expect("A INIT→")
			reborn(w)
		}},
		afterRekey("qcd-after-rekey", ikeSingle),
		afterRekey("qcd-after-rekey, additional key exchanges", ikeMulti),
		Case{Name: "qcd-live-sa-gives-none", Options: alone, Loss: true, Run: func(w *World) {
			tokens(w)
			askForToken(w, w.A.IKE())
			w.Run(20 * time.Second)
			old := w.A.IKE()
			w.A.RekeyIKE()
			w.Deliver("A C→ IKE")
			askForToken(w, old)
			askForToken(w, w.B.IKE())
			w.Deliver("B C←")
			askForToken(w, old)
			askForToken(w, w.A.IKE())
			w.Deliver("A D→ IKE")
			askForToken(w, old) // B still answers copies of A's request
			for _, m := range append(w.All("A I←"), w.All("B I←")...) {
				w.True(m.Keys() != nil || m.Notify(wire.QuickCrashDetection) == nil, "nobody gives a token away: %s", m)
			}
			w.Run(time.Minute)
			w.EndIKE(1)
			w.True(w.A.Downs == 0 && w.B.Downs == 0, "nobody falls for it")
			w.Flows()
			w.A.Unwant(w.B)
		}},
		Case{Name: "qcd-live-sa-gives-none, half-open", Options: Options{Alone: true}, Loss: true, Run: func(w *World) {
			for _, e := range w.Ends {
				e.Config.CrashSecret = crypto.Secret("of " + e.Name)
				e.Reconfigure(func(*sa.Connection) {})
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→")
			for _, m := range w.All("B INIT← SA") {
				b := inClear(sa.Info{SPIi: m.SPIi, SPIr: m.SPIr}, false, false)
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), b)
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), b)
			}
			for _, m := range append(w.All("A I←"), w.All("B I←")...) {
				w.True(m.Notify(wire.QuickCrashDetection) == nil, "it will be this one's: %s", m)
			}
			w.Run(time.Minute)
			w.EndIKE(1)
		}},
		Case{Name: "qcd-wrong-token", Options: alone, Ways: []string{"any", "none", "A's own", "B's, cut", "B's, longer", "B's of another IKE SA"}, Run: func(w *World) {
			tokens(w)
			theirs, ours := tokenOf(w, "B AUTH←"), tokenOf(w, "A AUTH→")
			if w.Began() == w.B {
				theirs, ours = tokenOf(w, "B AUTH→"), tokenOf(w, "A AUTH←")
			}
			i := w.A.IKE()
			var token []byte
			switch w.Way {
			case "any":
				token = bytes.Repeat([]byte{1}, len(theirs))
			case "A's own":
				token = ours
			case "B's, cut":
				token = theirs[:min(16, len(theirs))]
			case "B's, longer":
				token = append(bytes.Clone(theirs), 0)
			case "B's of another IKE SA":
				other := i
				other.SPIi[0], other.SPIr[0] = other.SPIi[0]^1, other.SPIr[0]^1
				w.Forge(w.B, w.B.Endpoint(), w.A.Endpoint(), inClear(other, i.Initiator, false))
				token = tokenOf(w, "B I←")
				w.True(token != nil, "B gives that away")
				w.Flush()
			}
			for range 50 {
				w.Forge(w.A, w.A.Endpoint(), w.B.Endpoint(), inClear(i, !i.Initiator, true, &wire.Notify{Type: wire.InvalidIKESPI}, &wire.Notify{Type: wire.QuickCrashDetection, Data: token}))
			}
			w.Count("A I→", 1)
			w.Deliver("A I→ ∅", "B I← ∅")
			w.EndIKE(1)
			w.True(w.A.IKE().ID == i.ID && w.A.Downs == 0, "it is no more than a hint")
			w.Flows()
			w.A.Unwant(w.B)
		}},
		Case{Name: "qcd-wrong-token, B has lost its secret", Options: alone, Loss: true, Run: func(w *World) {
			tokens(w)
			w.B.Config.CrashSecret = crypto.Secret("another one")
			restarts(w)
			hintOf(w.A, w.B)
			w.Deliver("A I→ ∅", "B I← INVALID_IKE_SPI QUICK_CRASH_DETECTION")
			w.Run(30 * time.Second)
			w.True(w.A.Downs == 0, "A does not believe it")
			w.Run(5 * time.Minute)
			reborn(w)
		}},
	)
}
