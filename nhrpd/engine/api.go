// SPDX-License-Identifier: Apache-2.0

// Package engine is the NHRP machine of one tunnel: next hop server and next
// hop client in one. It is pure: Handle takes the time and one input and returns
// what is to be done. It owns no socket, no clock, no goroutine and no logger,
// and is not safe for concurrent use.
package engine

import (
	"net/netip"
	"time"
)

// Route is what the kernel says of a destination.
type Route struct {
	Prefix  netip.Prefix
	NextHop netip.Addr // overlay next hop; the destination itself if on link; invalid if not by the tunnel
	Tunnel  bool       // the route leaves by this tunnel
	Local   bool       // one of our own addresses
	NHRP    bool       // we installed it (protocol 54)
	// Attached says that the destination is on a link of ours other than the tunnel: no
	// further router is between.
	Attached bool
	// Unreachable says, where there is no route, that packets to the destination are refused.
	Unreachable bool
}

// Routes is the read-only look into the kernel's routes that the machine is handed.
type Routes interface {
	// Lookup gives the longest match, false if there is none.
	Lookup(destination netip.Addr) (Route, bool)
	// LookupWithout is Lookup over the routes that NHRP did not install: the
	// routed path.
	LookupWithout(destination netip.Addr) (Route, bool)
	// Inside gives the prefixes more specific than p and inside it.
	Inside(p netip.Prefix) []netip.Prefix
}

// Traffic is what the data plane counted for a peer, both ways.
type Traffic struct {
	Sent, Received uint64 // packets
	Bytes          uint64 // both ways
	LastReceived   time.Time
	LastSent       time.Time
}

// Env is what the machine is handed from outside.
type Env struct {
	Routes  Routes
	Traffic func(Endpoint) Traffic
	Random  func() uint64 // unguessable
	// Allowed says what an authenticated identity may register, false if nothing. nil: the
	// operator lists nobody, and each identity may register what no other one holds.
	Allowed func(identity string) (Allowance, bool)
	// Secured says whether there is an SA with an endpoint. nil: the tunnel is in clear.
	Secured func(Endpoint) bool
}

// Allowance is what an identity may register.
type Allowance struct {
	Addresses []netip.Prefix // that hold its own overlay addresses; nil: one address, whichever is free
	Networks  []netip.Prefix // that hold the prefixes it serves; nil: any
	// Unproved says that the rest is not known before there is an SA with the identity: it may
	// register nothing until then, and keeps what it has.
	Unproved bool
}

// Input is one of Packet, Redirect, Miss, Tick, Resolved, LocalNBMA, RoutesChanged,
// Secured, Unsecured, Undone, Clear, Stop.
type Input interface{ input() }

type (
	// Packet is an NHRP packet that arrived in GRE.
	Packet struct {
		From Endpoint // outer source, and on a protected tunnel who was authenticated
		Data []byte   // the NHRP packet, from its fixed header
	}
	// Redirect says that a packet came by the tunnel and left by it.
	Redirect struct {
		Data []byte // the beginning of the inner packet
	}
	// Miss says that a packet's next hop has no peer.
	Miss struct {
		NextHop netip.Addr
		Data    []byte
	}
	// Tick says that the time of Next has come.
	Tick struct{}
	// Resolved answers Resolve: the addresses of an NHS's DNS name, or an error.
	Resolved struct {
		Name      string
		Addresses []netip.Addr
		Err       string
	}
	// LocalNBMA says that the underlay address is now this, and that of the other family,
	// IPv4 or IPv6, the Other; invalid: there is none.
	LocalNBMA struct{ Address, Other netip.Addr }
	// RoutesChanged says that Routes may answer otherwise than before.
	RoutesChanged struct{}
	// Secured says that packets to and from the endpoint are protected from now on:
	// what was tried before was lost.
	Secured struct{ To Endpoint }
	// Unsecured says that an SA with the endpoint is gone. Where Env.Secured says that it was
	// the last, packets to the endpoint go by the hub.
	Unsecured struct{ To Endpoint }
	// Undone says which Binds and InstallRoutes were not carried out, or do not stand any more. Withheld:
	// they are of the last Handle, and its Send that confirms was not sent because of them.
	Undone struct {
		Actions  []Action
		Withheld bool
	}
	// Clear ends the shortcuts that share addresses with one of these prefixes, and the negative
	// entries inside of them; without any, all. Cleared says how many it were.
	Clear struct{ Within []netip.Prefix }
	// Stop asks for an orderly end: what was registered and answered is purged. With the replies,
	// or a second later, everything is taken back, and Stopped says so.
	Stop struct{}
)

func (Packet) input()        {}
func (Redirect) input()      {}
func (Miss) input()          {}
func (Tick) input()          {}
func (Resolved) input()      {}
func (LocalNBMA) input()     {}
func (RoutesChanged) input() {}
func (Secured) input()       {}
func (Unsecured) input()     {}
func (Undone) input()        {}
func (Clear) input()         {}
func (Stop) input()          {}

// Action is one of Send, Bind, Unbind, Admit, Dismiss, InstallRoute,
// RemoveRoute, Fallback, Carrier, Resolve, Report. The caller carries them out in order.
type Action interface{ action() }

type (
	// Send sends an NHRP packet in GRE (protocol 0x2001) to an endpoint.
	Send struct {
		To   Endpoint
		Data []byte
		// Confirms says that the packet tells its receiver that what stands before it in the list
		// is done. Where a Bind or an InstallRoute was not, it is withheld: Undone takes its place.
		Confirms bool
	}
	// Bind makes the endpoint the peer of an overlay next hop: data to NextHop
	// goes there, and GRE from there is accepted. MTU 0 is the tunnel's.
	Bind struct {
		NextHop netip.Addr
		To      Endpoint
		MTU     uint16
		Server  bool // it is an NHS of ours, which passes on what others send
		// Multicast says that the peer gets a copy of what we send to many. A later Bind of the
		// same next hop may say otherwise, and Unbind ends it.
		Multicast bool
		Reason    string
	}
	// Unbind ends data to NextHop; what comes from its endpoint is still
	// accepted until Dismiss.
	Unbind struct {
		NextHop netip.Addr
		Reason  string
	}
	// Admit accepts GRE data from the endpoint, which may be no one's next hop.
	Admit struct {
		From     Endpoint
		Protocol netip.Addr
		Reason   string
	}
	// Dismiss ends Admit and the acceptance of Bind.
	Dismiss struct {
		From   Endpoint
		Reason string
	}
	// InstallRoute installs PREFIX via NEXTHOP on the tunnel, protocol 54,
	// replacing one of ours of the same prefix.
	InstallRoute struct {
		Prefix  netip.Prefix
		NextHop netip.Addr
		// By is whose word it is: who registered the prefix, or answered for it. None: the
		// configuration says so.
		By     Endpoint
		Reason string
	}
	// RemoveRoute removes a route of ours.
	RemoveRoute struct {
		Prefix netip.Prefix
		Reason string
	}
	// Fallback names the next hop that takes what is unresolved; invalid: none.
	Fallback struct{ NextHop netip.Addr }
	// Carrier says, where Config has IfState, whether the tunnel device has its carrier. What it
	// had before the first one stays.
	Carrier struct{ Up bool }
	// Resolve asks for the addresses of a DNS name; Resolved answers.
	Resolve struct{ Name string }
	// Report is something worth a line in the log.
	Report struct {
		Level   Level
		Peer    Endpoint
		Message string
	}
)

func (Send) action()         {}
func (Bind) action()         {}
func (Unbind) action()       {}
func (Admit) action()        {}
func (Dismiss) action()      {}
func (InstallRoute) action() {}
func (RemoveRoute) action()  {}
func (Fallback) action()     {}
func (Carrier) action()      {}
func (Resolve) action()      {}
func (Report) action()       {}

// Level is a Report's weight.
type Level uint8

// Levels of Report.
const (
	Debug Level = iota
	Info
	Warn
)

// NHS is one configured next hop server.
type NHS struct {
	NBMA     string         // address or DNS name
	Protocol netip.Addr     // invalid: dynamic, learned from the Responder Address
	Routes   []netip.Prefix // reached through this server, installed as routes while it answers
	Priority int            // lower is better
	Cluster  int            // servers that stand for each other have the same
}

// Config is what the operator wrote, with the defaults filled in.
type Config struct {
	Tunnel         string         // name, for reports
	Address        netip.Prefix   // our overlay address and the cloud's prefix
	Networks       []netip.Prefix // what this site serves; registered at the NHSs
	Summaries      []netip.Prefix // answered instead of the routed prefix, where that is true; inside of Networks
	NHS            []NHS
	Maps           []Map
	MaxConnections int           // servers of a cluster that are registered with; 0: all
	Fallback       time.Duration // how long a server that failed must answer before it is used again
	Authentication string        // Cisco authentication, at most 8 octets; "" none
	HoldingTime    time.Duration // default 7200 s
	Group          string        // that servers are told of us, at most 255 octets; "": none
	Unique         bool          // register with the unique flag
	Redirect       bool          // send Traffic Indications (hub)
	Shortcut       bool          // act on Traffic Indications (spoke)
	MTU            uint16        // of the tunnel
	Idle           time.Duration // an unused shortcut lives this long; default 5 min
	IdleBytes      uint64        // less than this within Idle, both ways, is no use
	Probe          time.Duration // how long a peer may be silent while we send; 0: no probes are sent, shortcuts are taken at once
	ProbeIdle      time.Duration // a path that was not probed for so long is; 0: never
	Multicast      Multicast
	IfState        bool // the tunnel has its carrier only while an NHS answers
	Authenticated  bool // peers are authenticated: NHRP from an endpoint without identity is dropped
	Limits         Limits
}

// Multicast says who gets copies of what we send to many; the zero value: nobody.
type Multicast struct {
	Dynamic   bool         // our servers that are up, and the clients that register with us and want it
	Addresses []netip.Addr // and whoever has one of these, of the overlay or of the underlay
	Unwanted  bool         // our servers are told that we want none ourselves
}

// Limits bound what peers can make us store and do; 0 is the default.
type Limits struct {
	Bindings        int // registered entries, default 65535
	BindingsPerPeer int // default 64
	Cached          int // resolved and negative entries, default 16384
	Pending         int // outstanding requests of ours, default 1024
	PacketsPerPeer  int // NHRP packets a second from one endpoint, of registrations and purges, and of all others; default 100
	Strangers       int // the same from all together who are neither authenticated nor known, default 2000
}
