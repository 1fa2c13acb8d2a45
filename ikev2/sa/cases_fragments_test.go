// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"slices"
	"testing"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// packets lets IKE messages go in IP packets of so many octets.
func packets(size int) func(c *sa.Connection) {
	return func(c *sa.Connection) { c.FragmentSize = size }
}

// small lets every message but the shortest go in fragments.
var small = packets(160)

// wordy gives an end a certificate and others that nobody asked for.
func wordy(s *signer, size int) func(c *sa.Connection) {
	return all(proves(s), packets(size), func(c *sa.Connection) {
		for len(c.Chain) < 6 {
			c.Chain = append(c.Chain, anotherCA.cert)
		}
	})
}

// inFragments says whether a message went in fragments.
func inFragments(m *Message) bool {
	msg, err := wire.Parse(m.Packets[0])
	_, ok := msg.Payloads[0].(*wire.Fragment)
	return err == nil && ok
}

// fragmented fails unless messages of a pattern were sent, all in fragments, or none in them.
func fragmented(w *World, yes bool, patterns ...string) {
	w.T.Helper()
	for _, p := range patterns {
		all := w.All(p)
		w.True(len(all) > 0, "%q was sent", p)
		for _, m := range all {
			w.True(inFragments(m) == yes && (len(m.Packets) > 1 || !yes), "%s is in %d packets, fragments %v", m, len(m.Packets), inFragments(m))
		}
	}
}

// unannounced takes FRAGMENTATION_SUPPORTED out.
func unannounced(m *Message) { m.Without(wire.FragmentationSupported) }

// TestCasesFragments are those rows of section 10 in which nobody is hostile.
func TestCasesFragments(t *testing.T) {
	alone := Options{Alone: true, Both: small}
	Run(t,
		Case{Name: "ikev2-frag-01, MTU 1280", Options: Options{Alone: true, A: wordy(certOfA, 1280), B: wordy(certOfB, 1280)}, Run: func(w *World) { large(w, 1280) }},
		Case{Name: "ikev2-frag-01, MTU 576", Options: Options{Alone: true, A: wordy(certOfA, 576), B: wordy(certOfB, 576)}, Run: func(w *World) { large(w, 576) }},
		Case{Name: "ikev2-frag-04-nofrag-east", Options: Options{Alone: true, A: small}, Run: func(w *World) {
			disguise(w, w.B, unannounced)
			nofrag(w, w.A, w.B)
		}},
		Case{Name: "ikev2-frag-05-nofrag-west", Options: Options{Alone: true, B: small}, Run: func(w *World) {
			disguise(w, w.A, unannounced)
			nofrag(w, w.B, w.A)
		}},
		Case{Name: "ikev2-frag-06-unsolicited", Options: alone, Run: func(w *World) {
			disguise(w, w.A, unannounced)
			disguise(w, w.B, func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.FragmentationSupported}) })
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			// We announce it always: A, which did, does not know that B never heard of it.
			fragmented(w, true, "A AUTH→")
			w.Recut("A AUTH→", cutInTwo)
			w.Deliver("A AUTH→")
			w.Never("B AUTH←")
			if w.Plain() {
				w.EndIKE(0)
				w.True(len(w.A.Failures) == 1, "the attempt has failed: %v", w.A.Failures)
			}
		}},
		Case{Name: "ikev2-frag-03-retrans", Options: alone, Loss: true, Run: func(w *World) {
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←", "A AUTH→")
			repeated(w, "A AUTH→", "B AUTH←")
			w.Deliver("B AUTH←")
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→")
			repeated(w, "A C→", "B C←")
			w.Deliver("B C←", "A D→", "B D←")
			begun(w)
		}},
		Case{Name: "frag-order-and-copies", Options: alone, Ways: []string{"from the last on", "each twice", "one missing, then repeated", "a forged one before each"}, Run: func(w *World) {
			for _, p := range []string{"A AUTH→", "B AUTH←", "A C→", "B C←"} {
				first := true
				w.Recut(p, func(m *Message) (cut [][]byte) {
					cut = slices.Clone(m.Packets)
					switch w.Way {
					case "from the last on":
						slices.Reverse(cut)
					case "each twice":
						cut = append(cut, cut...)
						slices.SortStableFunc(cut, slices.Compare)
					case "one missing, then repeated":
						if first && len(cut) > 1 {
							cut = slices.Delete(cut, 1, 2)
						}
						first = false
					case "a forged one before each":
						cut = nil
						for _, b := range m.Packets {
							forged := slices.Clone(b)
							forged[len(forged)-1] ^= 1
							cut = append(cut, forged, b)
						}
					}
					return cut
				})
			}
			// exchange delivers both messages, and what is repeated, until done.
			exchange := func(request, response string, done func() bool) {
				for n := 0; n < 3 && !done(); n++ {
					if n > 0 {
						w.WaitFor(request)
					}
					w.Deliver(request)
					if len(w.All(response)) > 0 {
						w.Deliver(response)
					}
				}
				fragmented(w, true, request, response)
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			exchange("A AUTH→", "B AUTH←", func() bool { return w.A.IKE().ID != 0 })
			w.A.Rekey(w.A.SA())
			exchange("A C→", "B C←", func() bool { return len(w.All("A D→")) > 0 })
			w.Deliver("A D→", "B D←")
			begun(w)
			forged := w.A.Machine.Counters().Integrity > 0 && w.B.Machine.Counters().Integrity > 0
			w.True(!w.Counts() || forged == (w.Way == "a forged one before each"), "what is forged is counted: %v", forged)
			kept(w, 0)
		}},
		Case{Name: "ikev2-impair-04-corrupt-auth-sk-payload", Options: Options{Alone: true}, Ways: []string{"SK", "SKF"}, Run: func(w *World) {
			if w.Way == "SKF" {
				w.A.Connection().FragmentSize, w.B.Connection().FragmentSize = 160, 160
			}
			for _, p := range []string{"A AUTH→", "B AUTH←"} {
				w.Recut(p, func(m *Message) (cut [][]byte) {
					for _, b := range m.Packets {
						bad := slices.Clone(b)
						bad[len(bad)/2] ^= 0x10
						cut = append(cut, bad)
					}
					return append(cut, m.Packets...)
				})
			}
			w.A.Connect(w.B)
			w.Deliver("A INIT→", "B INIT←")
			fragmented(w, w.Way == "SKF", "A AUTH→")
			w.Deliver("A AUTH→", "B AUTH←")
			for _, e := range []*End{w.A, w.B} {
				w.True(!w.Counts() || e.Machine.Counters().Integrity > 0, "%s noticed", e.Name)
			}
			begun(w)
		}},
	)
}

// large looks at IKE_AUTH with certificates.
func large(w *World, size int) {
	w.A.Connect(w.B)
	w.Deliver("A INIT→", "B INIT←", "A AUTH→", "B AUTH←")
	begun(w)
	fragmented(w, false, "A INIT→", "B INIT←")
	w.Count("A INIT→ IKEV2_FRAGMENTATION_SUPPORTED", 1)
	w.Count("B INIT← IKEV2_FRAGMENTATION_SUPPORTED", 1)
	fragmented(w, true, "A AUTH→", "B AUTH←")
	for _, m := range append(w.All("A AUTH→"), w.All("B AUTH←")...) {
		for _, b := range m.Packets {
			w.True(len(b) <= size-20-8, "%d octets fit into %d", len(b), size)
		}
	}
}

// nofrag connects two ends of which one did not announce fragments: the other sends none, and
// takes none.
func nofrag(w *World, e, without *End) {
	w.T.Helper()
	w.A.Connect(w.B)
	w.Deliver("A INIT→", "B INIT←")
	if without == w.A {
		w.Never("B INIT← IKEV2_FRAGMENTATION_SUPPORTED") // only who was asked answers
	}
	cut := cutInTwo
	w.Recut(without.Name+" AUTH→", func(m *Message) [][]byte { return cut(m) })
	w.Recut(without.Name+" AUTH←", func(m *Message) [][]byte { return cut(m) })
	w.Deliver("A AUTH→")
	if e == w.B {
		w.Never("B AUTH←")
	} else {
		w.Deliver("B AUTH←")
	}
	w.True(e.IKE().ID == 0, "%s takes no fragments", e.Name)
	kept(w, 0)
	for _, m := range append(w.All("A AUTH→"), w.All("B AUTH←")...) {
		w.True(!inFragments(m), "%s sends fragments: %s", m.From.Name, m)
	}
	cut = func(m *Message) [][]byte { return m.Packets }
	w.WaitFor("A AUTH→")
	w.Deliver("A AUTH→", "B AUTH←")
	begun(w)
	for _, p := range []string{" AUTH→", " AUTH←", " C→", " C←"} {
		for _, m := range w.All(e.Name + p) {
			w.True(!inFragments(m), "%s sends fragments: %s", e.Name, m)
		}
	}
}

// cutInTwo makes two fragments of a whole message.
func cutInTwo(m *Message) [][]byte { return cutAt(m, 2) }

// cutAt makes so many fragments of a whole message.
func cutAt(m *Message, total int) (cut [][]byte) {
	h, first, text, err := unseal(m.Keys(), m.Packets[0])
	if err != nil || inFragments(m) {
		return m.Packets
	}
	for n := range total {
		piece := text[len(text)*n/total : len(text)*(n+1)/total]
		if n > 0 {
			first = wire.NoPayload
		}
		cut = append(cut, seal(m.Keys(), h, first, piece, uint16(n+1), uint16(total)))
	}
	return cut
}

// repeated lets B get copies of a request that it has answered.
func repeated(w *World, request, response string) {
	for _, m := range w.All(request) {
		answers := w.All(response)
		if w.Storm() || len(answers) == 0 {
			return
		}
		fragmented(w, true, request, response)
		for range 3 {
			before := w.B.Sends
			w.Copy(m, w.A.Endpoint())
			w.True(w.B.Sends-before == len(answers[0].Packets), "the response comes once: %d datagrams, not %d", w.B.Sends-before, len(answers[0].Packets))
		}
		last := *m
		last.Packets = m.Packets[1:]
		before := w.B.Sends
		w.Copy(&last, w.A.Endpoint())
		w.True(w.B.Sends == before, "only the first fragment asks for it")
	}
}

// kept fails unless no end keeps more fragments than so many.
func kept(w *World, most int) {
	w.T.Helper()
	for _, e := range []*End{w.A, w.B} {
		for _, i := range e.Infos() {
			n, octets := e.Machine.Kept(i.SPIi)
			w.True(n <= most && octets <= 64<<10, "%s keeps %d fragments with %d octets", e.Name, n, octets)
		}
	}
}
