// SPDX-License-Identifier: Apache-2.0

// Package control is the daemon's control API: HTTP and JSON over a unix
// socket. Server is the daemon's side, Client the command line's; anything else
// that speaks HTTP will do as well:
//
//	curl --unix-socket /run/dmvpn/default/control.sock http://dmvpn/v1/peers
//
// GET /v1/status, /v1/peers, /v1/nhrp, /v1/nhs, /v1/shortcuts, /v1/stats,
// /v1/drops and /v1/ike answer with the types of this package; GET /v1/ike/trace
// streams one object a line; POST /v1/ike/rekey and /v1/ike/terminate take the
// parameters peer and child; POST /v1/stop ends the daemon and leaves the data
// plane as it is, POST /v1/teardown removes both.
// An error is a status of 400 or above with {"error": "a sentence"}.
//
// Times are RFC 3339, durations are seconds, octets are those of inner packets.
// Fields may be added; what is there keeps its name and meaning.
package control

// Limits of the API, implementation.
const (
	maxConnections = 32      // at once; further ones wait
	maxRequest     = 1 << 10 // octets of a request's body
	maxAnswer      = 64 << 20
)
