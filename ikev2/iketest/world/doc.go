// SPDX-License-Identifier: Apache-2.0

// Package world is where the cases of ikev2/sa happen: two or more machines with
// model data planes, a wire that does only what the case says, and a clock that
// only the case moves. No program imports it.
//
// # How a case is written
//
// A case reads like its row in the list:
//
//	Case{Name: "child_rekey/test_collision", Lowest: []int{1, 2, 3, 4}, Run: func(w *World) {
//		w.A.Rekey(w.A.SA())
//		w.B.Rekey(w.B.SA())
//		w.Deliver("A C→", "B C→") // the requests cross,
//		w.Deliver("B C←", "A C←") // and so do the responses
//		stands, redundant := w.Judge()
//		w.Deliver(redundant.Name+" D→", stands.Name+" D→")
//		w.End(1)
//	}},
//
// A World begins with one IKE SA and one Child SA between A and B, unless Options say
// Alone. Ends are told what to do by Rekey, RekeyIKE, Create, Delete, DeleteIKE,
// Expire, Ping, Connect and so on; what they send stays on the wire until the
// case delivers it by name, or loses, holds or bends it (Deliver, Lose, Hold, Bend;
// On, Recut, Deafen, Refuse do it to all that follow). A name is sender, exchange and arrow:
// "A C→" is A's CREATE_CHILD_SA request, "B C←" the response to it; INIT, AUTH, X
// (IKE_INTERMEDIATE), F (IKE_FOLLOWUP_KE), D (a deletion) and I (other INFORMATIONAL)
// are the others. Behind it may stand words that the message must have, or with an
// exclamation mark must not have: "B C← TEMPORARY_FAILURE", "A C→ !REKEY_SA",
// "A D→ IKE", "B D← ∅" (nothing), "A C→ =0" (message id). Deliver fails if there is
// no such message: naming is asserting.
//
// Time passes in Wait (the wire holds), WaitFor, Run (the wire delivers) and Drain,
// which goes on until only lifetimes are left. End drains and counts.
//
// # What is looked at by itself
//
// After every step and after the drain the invariants I1 to I8 of the list hold, and no
// initialization vector seals twice under a key, or the test fails; see invariants.go,
// vectors.go and plane.go. A case in which a peer may be without an
// outbound SA for a while says MayBreak; Delete and DeleteIKE say it too. Behind each
// case everything is deleted, and nothing may be left.
//
// # The variants of a case
//
// Run runs each case with both ends as the one who began, in each of its Ways, with each
// of its rows of the nonce table (Lowest: the octet that each draw begins with is steered,
// nothing else), and each of these: as it is; again, and with export and import before
// every step, where the whole log must be the same, octet by octet (I9, I10); with
// each message delivered twice; with each message in turn lost once, so that its
// sender's timer repeats it (I11); and in storms of random loss, copies and reordering.
// (-short leaves them out, -storms 20 runs twenty of each strength).
// In a storm Deliver lets the wire do as it likes, expectations are not looked at, and
// what counts is that both ends agree in the end and nothing is left. A case
// that asks the ends something must therefore bear any answer: SA and Newest may be nil,
// and the methods that take an SA do nothing then.
//
// When a test fails its World prints all that happened.
package world
