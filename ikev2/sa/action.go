// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"net/netip"
	"time"

	"dmvpn/ikev2/auth"
)

// Action is what a Machine wants done: a pointer to one of the structures below.
// Actions are carried out in their order.
type Action interface{ action() }

// Send sends one datagram. On port 4500 the caller puts the non-ESP marker in
// front, unless it is a keepalive, which is one octet FF (RFC 3948).
type Send struct {
	Local, Remote netip.AddrPort
	Data          []byte
	Keepalive     bool
}

// Up tells that a peer that had none has a usable Child SA. A rekey, a move or a
// crossing of two attempts gives neither Up nor Down.
type Up struct{ Peer Peer }

// Down tells that a peer's last Child SA is gone.
type Down struct {
	Peer   Peer
	Reason string
}

// Moved tells that a peer is at another endpoint now.
type Moved struct {
	Peer Peer // as it is now
	Old  netip.AddrPort
}

// Failed tells that an attempt to connect failed, and when the next one is made; a
// zero Retry: never.
type Failed struct {
	Connection string
	Remote     netip.AddrPort
	Identity   auth.Identity // who was wanted; zero: whom the connection lets in
	Reason     string
	Retry      time.Time
}

// NoAnswer is the Reason of a Failed or a Down after silence.
const NoAnswer = "the peer does not answer"

// Report is for the log.
type Report struct {
	Level   Level
	SA      uint64 // number of the IKE SA, 0: none
	Remote  netip.AddrPort
	Message string
}

// Level is how much a report matters.
type Level int

// Levels of reports. An Alarm needs a human: somebody claims another's identity.
const (
	Debug Level = iota
	Notice
	Warning
	Alarm
)

// Trace is one message, decoded, where Config.Trace asks for it. Nothing in it is
// secret.
type Trace struct {
	Local, Remote netip.AddrPort
	Out           bool
	Message       string
}

func (*Send) action()   {}
func (*Up) action()     {}
func (*Down) action()   {}
func (*Moved) action()  {}
func (*Failed) action() {}
func (*Report) action() {}
func (*Trace) action()  {}

// Peer is who is at the other end of authenticated IKE SAs. Two are the same if
// Connection and Identity are; ID stays while any IKE SA with it lives.
type Peer struct {
	ID         uint64
	Connection string
	Identity   auth.Identity
	// Group says that only membership was proved: others have the same key.
	Group         bool
	Claims        *auth.Claims // what its certificate grants; nil: it has not proved itself with one
	Local, Remote netip.AddrPort
	NATLocal      bool // we are behind a NAT
	NATRemote     bool // the peer is
}
