// SPDX-License-Identifier: Apache-2.0

// Package sa is IKEv2 as one pure machine: all IKE SAs and Child SAs of a daemon,
// initiator and responder (RFC 7296, with 4555, 5998's refusal, 6290, 7383, 7427,
// 9242 and 9370).
//
// A Machine has no socket, clock, logger or random source of its own. Handle takes
// one input at one time and gives the actions that follow; Next says when to
// call again although nothing arrived. Keys of Child SAs go to the Installer that
// was handed in, before the message that lets the peer use them is among the
// actions. The same inputs give the same actions, byte for byte, but for ML-KEM's
// encapsulation. Export and Import carry the whole state, secrets included.
//
// Inside, an IKE SA is a queue of tasks, each of which builds requests and
// processes their responses (task.go); what a peer asks is answered by one
// function an exchange (request.go). window.go keeps message ids, repeats and
// cached responses; message.go seals, opens and reassembles. One file an
// exchange: sa_init_*.go, intermediate_*.go, auth_*.go, create_child_*.go,
// rekey_*.go, followup_*.go, informational_*.go.
//
// A Machine belongs to one goroutine.
package sa
