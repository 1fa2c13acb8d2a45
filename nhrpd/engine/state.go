// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"time"

	"dmvpn/nhrpd/cache"
	"dmvpn/nhrpd/wire"
)

// instant is a time on the machine's clock: since its epoch. Instants are what
// the machine keeps and exports; they mean the same after a restart and do not
// care for a wall clock that jumps.
type instant = time.Duration

// binding is an entry that a client registered with us: its own address, or a
// prefix that it serves. It is authoritative (RFC 2332, section 5.2.2).
type binding struct {
	Prefix   netip.Prefix
	Protocol netip.Addr // the client's overlay address, next hop of the prefix
	To       Endpoint   // as observed, and authenticated
	Claimed  netip.Addr // the NBMA address that the client believes to have
	MTU      uint16     `json:",omitempty"`
	Unique   bool       `json:",omitempty"`
	Group    string     `json:",omitempty"` // that it says it is of
	NoGroups bool       `json:",omitempty"` // it wants no multicast
	ID       uint32     // of the registration that was taken last
	Holding  instant
	Since    instant
	Until    instant
}

// host says that the entry is the client's own address.
func (b *binding) host() bool { return b.Prefix.IsSingleIP() && b.Prefix.Addr() == b.Protocol }

// shortcut is what we resolved: a prefix reached directly.
type shortcut struct {
	Prefix      netip.Prefix
	Destination netip.Addr // what was asked for
	NextHop     netip.Addr
	To          Endpoint
	Claimed     netip.Addr // the NBMA address in the answer's entry, where a NAT made To another
	Via         netip.Addr // next hop of the routed path when it was resolved
	Route       bool       // a route is needed: the routed path has another next hop
	Probe       bool       `json:",omitempty"` // its peer answers probes
	MTU         uint16     `json:",omitempty"`
	Holding     instant
	Since       instant
	Answered    instant // last
	Until       instant
	Refresh     instant       // when to ask again, if in use
	Others      []alternative `json:",omitempty"` // of its answer, the next one first
}

// negative is the memory of an answer that there is none.
type negative struct {
	Destination netip.Addr
	By          netip.Addr // who said so, or was named and cannot be used; invalid: nobody has answered
	Code        wire.Code  `json:",omitempty"`
	Reason      string
	Until       instant
}

// request is a Resolution Request of ours that waits for its answer.
type request struct {
	ID          uint32
	Destination netip.Addr
	Source      netip.Addr // our NBMA address in it
	To          Endpoint   // the NHS that was asked
	Refresh     bool       `json:",omitempty"` // a shortcut is there already
	// Void has the next hops that have purged the destination meanwhile: their answer may be
	// from before.
	Void  []netip.Addr `json:",omitempty"`
	Tries int
	Since instant
	Next  instant
}

// told is a requester whom we answered, and what: it may send to us directly,
// and is owed a purge when the answer is no longer true (RFC 2332, section 5.2.5).
type told struct {
	Protocol netip.Addr
	To       Endpoint
	Until    instant
	Answers  []answer
}

// answer is one of a told's: the prefix, and the destination that it answered.
type answer struct {
	Prefix      netip.Prefix
	Destination netip.Addr
}

// purge is a Purge Request of ours that waits for its answer.
type purge struct {
	ID       uint32
	Protocol netip.Addr // whom it is for
	Source   netip.Addr // our NBMA address in it
	To       Endpoint
	Direct   bool `json:",omitempty"` // To still takes what we send
	Prefixes []netip.Prefix
	Tries    int
	Next     instant
	Until    instant // what is purged would have expired by itself
}

// acceptance is an endpoint whose GRE the data plane accepts.
type acceptance struct {
	Endpoint Endpoint // as last seen
	Hops     int      // next hops bound to it; not exported, counted again
	Told     int      // requesters there whom we answered; counted again, too
	Path     bool     // there is a path with shortcuts; found again, too
	Until    instant  // accepted at least until then
}

// use measures what goes to and from a shortcut's peer.
type use struct {
	Endpoint  Endpoint
	Shortcuts int      // that lead there; not exported, counted again
	Samples   []uint64 // octets both ways, a quarter of the idle time apart, the oldest first
	Active    instant  // last sample that had grown by its share
	Next      instant
}

// peering is a next hop that is bound.
type peering struct {
	To        Endpoint
	MTU       uint16
	Server    bool
	Multicast bool
}

// tables is everything that a machine learns and exports.
type tables struct {
	bindings  *cache.Table[*binding]
	shortcuts *cache.Table[*shortcut]
	negatives *cache.Map[netip.Addr, *negative]
	requests  *cache.Map[uint32, *request]
	asked     map[netip.Addr]uint32 // the request for a destination
	told      *cache.Map[netip.Addr, *told]
	left      *cache.Map[netip.Addr, *left]
	purges    *cache.Map[uint32, *purge]
	accepted  *cache.Map[Endpoint, *acceptance] // by Key
	uses      *cache.Map[Endpoint, *use]        // by Key
	paths     *cache.Map[Endpoint, *path]       // by Key
	refreshes *cache.Queue[netip.Prefix]        // of shortcuts
	bound     map[netip.Addr]peering
	routes    map[netip.Prefix]netip.Addr
	owned     map[Endpoint]int          // bindings registered from there, by Key
	clients   map[netip.Addr][]*binding // by the client's overlay address
	// identities has each identity's own address, the last one if the operator lets it have several.
	identities map[string]*binding
	unproved   map[string][]*binding      // imported, of identities that are still to be judged
	via        map[netip.Addr][]*shortcut // by next hop
	fallback   netip.Addr
}

func newTables() tables {
	return tables{
		bindings:   cache.NewTable[*binding](),
		shortcuts:  cache.NewTable[*shortcut](),
		negatives:  cache.NewMap[netip.Addr, *negative](netip.Addr.Compare),
		requests:   cache.NewMap[uint32, *request](cmp.Compare[uint32]),
		asked:      make(map[netip.Addr]uint32),
		told:       cache.NewMap[netip.Addr, *told](netip.Addr.Compare),
		left:       cache.NewMap[netip.Addr, *left](netip.Addr.Compare),
		purges:     cache.NewMap[uint32, *purge](cmp.Compare[uint32]),
		accepted:   cache.NewMap[Endpoint, *acceptance](compareEndpoints),
		uses:       cache.NewMap[Endpoint, *use](compareEndpoints),
		paths:      cache.NewMap[Endpoint, *path](compareEndpoints),
		refreshes:  cache.NewQueue(netip.Prefix.Compare),
		bound:      make(map[netip.Addr]peering),
		routes:     make(map[netip.Prefix]netip.Addr),
		owned:      make(map[Endpoint]int),
		clients:    make(map[netip.Addr][]*binding),
		identities: make(map[string]*binding), unproved: make(map[string][]*binding),
		via: make(map[netip.Addr][]*shortcut),
	}
}
