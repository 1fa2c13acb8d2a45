// SPDX-License-Identifier: Apache-2.0

package control

import (
	"net/netip"
	"time"
)

// Status is GET /v1/status: the daemon and its tunnels.
type Status struct {
	Instance string    `json:"instance"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Config   string    `json:"config"` // the file that was read
	BPFFS    string    `json:"bpffs"`
	Tunnels  []Tunnel  `json:"tunnels"`
}

// Tunnel is one mGRE cloud.
type Tunnel struct {
	Name       string         `json:"name"`
	IfIndex    int            `json:"ifindex"`
	Address    netip.Prefix   `json:"address"`        // the first
	Addresses  []netip.Prefix `json:"addresses"`      // one of each family
	NBMA       netip.Addr     `json:"nbma,omitzero"`  // our underlay address of IPv4; absent: there is none
	NBMA6      netip.Addr     `json:"nbma6,omitzero"` // that of IPv6
	Underlay   Underlay       `json:"underlay"`
	VRF        string         `json:"vrf,omitempty"`   // that the device is in
	Table      int            `json:"table,omitempty"` // of its routes; absent: the main one
	Key        *uint32        `json:"key,omitempty"`
	Protection string         `json:"protection"`
	MTU        int            `json:"mtu"`
	Redirect   bool           `json:"redirect"`
	Shortcut   bool           `json:"shortcut"`
	Carrier    bool           `json:"carrier"`
	IfState    string         `json:"if_state,omitempty"` // nhrp: the carrier is there only while a server answers
	Attach     string         `json:"attach,omitempty"`   // how the programs are attached: tcx or clsact
	Peers      int            `json:"peers"`
	Registered int            `json:"registered"` // protocol addresses that are registered with us
	Shortcuts  int            `json:"shortcuts"`
	NHS        int            `json:"nhs"`
	NHSUp      int            `json:"nhs_up"`
	Queues     []Queue        `json:"queues"`             // of the device, each with a worker of its own
	Overflows  uint64         `json:"overflows"`          // packets that the device dropped: their queue was full
	Problems   []string       `json:"problems,omitempty"` // what needs the operator, one sentence each
}

// Underlay is where a tunnel's outer packets leave.
type Underlay struct {
	Device string `json:"device"`
	Mark   uint32 `json:"mark,omitempty"`
	VRF    string `json:"vrf,omitempty"`
}

// Queue is one of a tunnel device's, and what its worker took from the kernel and gave to it since
// the daemon's start. A GSO packet counts as one.
type Queue struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// Hub says whether the tunnel has no next hop server of its own.
func (t Tunnel) Hub() bool { return t.NHS == 0 }

// Kinds of peer.
const (
	PeerNHS        = "nhs"        // a configured next hop server
	PeerRegistered = "registered" // it registered with us
	PeerShortcut   = "shortcut"   // we resolved it, data goes there directly
	PeerAdmitted   = "admitted"   // it resolved us: its data is accepted, none is sent
	PeerAdopted    = "adopted"    // found in the pinned maps, not yet heard of since the start
)

// Peer is one NBMA endpoint of GET /v1/peers.
type Peer struct {
	Tunnel   string       `json:"tunnel"`
	ID       uint32       `json:"id"` // index of dmvpn_peer and dmvpn_stats
	NBMA     netip.Addr   `json:"nbma"`
	Port     uint16       `json:"port,omitempty"`     // UDP port, absent for plain GRE
	Identity string       `json:"identity,omitempty"` // that IKE authenticated, absent where packets travel in clear
	Protocol netip.Addr   `json:"protocol,omitzero"`  // overlay address
	NextHops []netip.Addr `json:"next_hops,omitzero"` // overlay next hops that lead to it
	Kind     string       `json:"kind"`
	NAT      netip.Addr   `json:"nat,omitzero"` // the NBMA address that it believes to have, where another was observed
	Up       bool         `json:"up"`
	Since    time.Time    `json:"since,omitzero"`
	MTU      int          `json:"mtu"`
	Traffic
}

// Traffic is what was counted, both ways.
type Traffic struct {
	RxPackets uint64    `json:"rx_packets"`
	RxBytes   uint64    `json:"rx_bytes"`
	RxLast    time.Time `json:"rx_last,omitzero"`
	TxPackets uint64    `json:"tx_packets"`
	TxBytes   uint64    `json:"tx_bytes"`
	TxLast    time.Time `json:"tx_last,omitzero"`
}

// Types of an Entry.
const (
	EntryStatic     = "static"     // a configured next hop server, or a peer that is mapped
	EntryDynamic    = "dynamic"    // registered or resolved
	EntryIncomplete = "incomplete" // asked for, no answer yet
	EntryNegative   = "negative"   // the answer was that there is none
)

// Entry is one line of the NHRP cache, GET /v1/nhrp.
type Entry struct {
	Tunnel  string       `json:"tunnel"`
	Prefix  netip.Prefix `json:"prefix"`
	NextHop netip.Addr   `json:"next_hop,omitzero"` // overlay address that the prefix is reached by
	NBMA    netip.Addr   `json:"nbma,omitzero"`
	Port    uint16       `json:"port,omitempty"`
	Claimed netip.Addr   `json:"claimed_nbma,omitzero"` // behind NAT: the address that the peer believes to have
	Type    string       `json:"type"`
	Flags   []string     `json:"flags,omitempty"`
	Group   string       `json:"group,omitempty"`  // that its client says it is of
	Reason  string       `json:"reason,omitempty"` // why there is none, of EntryNegative
	Created time.Time    `json:"created,omitzero"`
	Expires time.Time    `json:"expires,omitzero"` // absent: never
}

// Flags of an Entry.
const (
	FlagNHS        = "nhs"        // a next hop server
	FlagRegistered = "registered" // its client registered it with us
	FlagRouter     = "router"     // resolved: its next hop owns the prefix
	FlagUsed       = "used"       // data goes there
	FlagUnique     = "unique"     // no other client may register it
	FlagNAT        = "nat"        // the client is behind a NAT
	FlagRoute      = "rib"        // the prefix is installed as a route
)

// States of an NHS. One that is renewing is up, and was asked again.
const (
	NHSUp          = "up"
	NHSRenewing    = "renewing"
	NHSWaiting     = "waiting"     // enough of its cluster are up, or it has not answered for the fallback time yet
	NHSRegistering = "registering" // asked, no answer yet
	NHSRefused     = "refused"     // LastError says why
	NHSResolving   = "resolving"   // its name has no address yet
	NHSNoAddress   = "no address"  // we have no underlay address
)

// States of a Shortcut.
const (
	ShortcutInUse      = "in use"
	ShortcutIdle       = "idle"
	ShortcutRefreshing = "refreshing" // asked for again, no answer yet; used meanwhile
	ShortcutProbing    = "probing"    // no probe was answered yet; packets go by the hub
	ShortcutByHub      = "by the hub" // Reason says why
)

// NHS is one next hop server of GET /v1/nhs.
type NHS struct {
	Tunnel     string         `json:"tunnel"`
	Name       string         `json:"name"` // as configured: address or DNS name
	NBMA       netip.Addr     `json:"nbma,omitzero"`
	Protocol   netip.Addr     `json:"protocol,omitzero"`
	State      string         `json:"state"`
	Since      time.Time      `json:"since,omitzero"` // it is up, or down
	Registered time.Time      `json:"registered_until,omitzero"`
	Priority   int            `json:"priority"` // lower is better
	Cluster    int            `json:"cluster"`
	Most       int            `json:"max_connections,omitempty"` // servers of its cluster that are registered with; absent: all
	Routes     []netip.Prefix `json:"routes,omitempty"`          // that it is asked for
	Networks   []netip.Prefix `json:"networks,omitempty"`        // of ours, that it took
	Refused    []netip.Prefix `json:"refused,omitempty"`         // of ours, that it did not take
	Requests   uint64         `json:"requests"`
	Replies    uint64         `json:"replies"`
	NextTry    time.Time      `json:"next_try,omitzero"`
	LastError  string         `json:"last_error,omitempty"`
}

// Shortcut is one direct path of GET /v1/shortcuts.
type Shortcut struct {
	Tunnel  string       `json:"tunnel"`
	Prefix  netip.Prefix `json:"prefix"`
	NextHop netip.Addr   `json:"next_hop"`
	NBMA    netip.Addr   `json:"nbma"`
	Port    uint16       `json:"port,omitempty"`
	State   string       `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	Route   bool         `json:"route"`           // wanted; else the routed path has this next hop anyway
	Active  time.Time    `json:"active,omitzero"` // when it last carried something
	Created time.Time    `json:"created,omitzero"`
	Expires time.Time    `json:"expires,omitzero"`
}

// Cleared is the answer to POST /v1/shortcuts/clear: how many were ended.
type Cleared struct {
	Shortcuts int `json:"shortcuts"`
	Negatives int `json:"negatives"` // negative entries
}

// NHRPCounters is one tunnel of GET /v1/nhrp/counters. All count from the first start on that
// the saved state knows of, but Unread and Failed: from the daemon's.
type NHRPCounters struct {
	Tunnel  string            `json:"tunnel"`
	Types   []NHRPType        `json:"types"`   // those that were seen
	Codes   map[string]uint64 `json:"codes"`   // refusals and errors by type, way and code, such as registration-reply-sent-code-14
	Dropped map[string]uint64 `json:"dropped"` // packets that were not processed, by reason
	Events  map[string]uint64 `json:"events"`  // what else was counted
	Caches  []NHRPCache       `json:"caches"`
	Unread  uint64            `json:"unread"` // packets, redirects and misses dropped before they were looked at: too many waited
	Failed  uint64            `json:"failed"` // packets that could not be sent
}

// NHRPType is the packets of one type.
type NHRPType struct {
	Type     string `json:"type"`
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
	Dropped  uint64 `json:"dropped"` // beyond a rate
}

// NHRPCache is how full a table is that peers can fill.
type NHRPCache struct {
	Name string `json:"name"`
	Used int    `json:"used"`
	Most int    `json:"most"`
}

// Multicast is one tunnel of GET /v1/multicast: who gets copies of what it sends to many.
type Multicast struct {
	Tunnel  string            `json:"tunnel"`
	Mode    []string          `json:"mode"`  // as configured: none, dynamic, addresses
	Rate    int               `json:"rate"`  // copies a second
	Burst   int               `json:"burst"` // copies at once
	Packets uint64            `json:"packets"`
	Copies  uint64            `json:"copies"`  // of those packets
	Limited uint64            `json:"limited"` // packets dropped because there were too many
	Nobody  uint64            `json:"nobody"`  // packets dropped because nobody gets any
	Members []MulticastMember `json:"members"`
}

// MulticastMember is a peer that gets copies, or one that is configured to and is not there.
type MulticastMember struct {
	Peer     uint32     `json:"peer,omitempty"` // absent: it is not there
	NBMA     netip.Addr `json:"nbma,omitzero"`
	Port     uint16     `json:"port,omitempty"`
	Protocol netip.Addr `json:"protocol,omitzero"`
	Why      string     `json:"why"` // MulticastDynamic or MulticastListed
}

// Why a peer gets multicast.
const (
	MulticastDynamic = "dynamic" // a server, or registered
	MulticastListed  = "listed"  // the configuration names it
)

// Stats is GET /v1/stats: each tunnel's counters.
type Stats struct {
	Tunnels []TunnelStats     `json:"tunnels"`
	IKE     map[string]uint64 `json:"ike,omitempty"` // by name; absent: no tunnel has IKE
}

// TunnelStats sums a tunnel's peers, and counts its NHRP.
type TunnelStats struct {
	Tunnel string            `json:"tunnel"`
	Data   Traffic           `json:"data"`
	NHRP   map[string]uint64 `json:"nhrp"` // by name, such as registration-request-sent
	Peers  []PeerStats       `json:"peers"`
}

// PeerStats is one peer's line of Stats.
type PeerStats struct {
	ID       uint32     `json:"id"`
	NBMA     netip.Addr `json:"nbma"`
	Protocol netip.Addr `json:"protocol,omitzero"`
	Traffic
}

// Drop is one line of GET /v1/drops: what was dropped of one peer for one
// reason since the maps were made.
type Drop struct {
	Tunnel   string     `json:"tunnel,omitempty"` // absent where the peer is not known
	Peer     uint32     `json:"peer"`             // 0 where it is not known
	NBMA     netip.Addr `json:"nbma,omitzero"`
	Protocol netip.Addr `json:"protocol,omitzero"`
	Reason   string     `json:"reason"`
	Number   uint32     `json:"number"` // enum drop_reason
	Packets  uint64     `json:"packets"`
	Bytes    uint64     `json:"bytes"`
}

// Failure is the answer to a request that could not be served.
type Failure struct {
	Error string `json:"error"`
}
