// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// exportVersion is the layout of what Export writes; Import takes no other.
const exportVersion = 2

// exported is a machine's memory. Its times are instants on the machine's clock
// in nanoseconds; what is left of one is its difference to Clock.
type exported struct {
	Version int
	Wall    time.Time // when Clock was read
	Clock   instant
	Started bool
	Ending  instant `json:",omitempty"`
	Stopped bool    `json:",omitempty"`

	Address   netip.Prefix // of the configuration: state of another address is worth nothing
	Local     netip.Addr
	Local6    netip.Addr
	Last      netip.Addr `json:",omitzero"` // what Local was, where it is none now
	Last6     netip.Addr `json:",omitzero"`
	LastID    uint32
	Servers   []*server
	Bindings  []*binding
	Shortcuts []*shortcut
	Negatives []*negative
	Requests  []*request
	Told      []*told
	Left      []*left `json:",omitempty"`
	Purges    []*purge
	Accepted  []*acceptance
	Uses      []*use
	Paths     []*path
	Bound     []bound
	Routes    []route
	Fallback  netip.Addr
	Carrier   carrier
	Late      []uint32
	Rated     []*rated
	Pairs     []pairUntil
	Redirects bucket
	Strangers [2]bucket
	Counters  map[string]uint64
}

type bound struct {
	NextHop netip.Addr
	To      Endpoint
	MTU     uint16 `json:",omitempty"`
	Server  bool   `json:",omitempty"`
	Groups  bool   `json:",omitempty"` // it gets multicast
}

type route struct {
	Prefix  netip.Prefix
	NextHop netip.Addr
}

type pairUntil struct {
	pair
	Until instant
}

// Export gives everything that the machine knows, as JSON. A machine that
// imports it goes on like this one.
func (m *Machine) Export() []byte {
	e := exported{
		Version: exportVersion, Wall: m.epoch.Add(m.now).Round(0), Clock: m.now, Started: m.started, Ending: m.ending, Stopped: m.stopped,
		Address: m.cfg.Address, Local: m.local.IPv4, Local6: m.local.IPv6, Last: m.last.IPv4, Last6: m.last.IPv6, LastID: m.lastID, Servers: m.servers, Fallback: m.fallback, Carrier: m.carrier, Late: m.late,
		Redirects: m.limits.redirects, Strangers: m.limits.strangers, Counters: m.counts,
	}
	for _, b := range m.bindings.All() {
		e.Bindings = append(e.Bindings, b)
	}
	for _, s := range m.shortcuts.All() {
		e.Shortcuts = append(e.Shortcuts, s)
	}
	for _, n := range m.negatives.All() {
		e.Negatives = append(e.Negatives, n)
	}
	for _, q := range m.requests.All() {
		e.Requests = append(e.Requests, q)
	}
	for _, t := range m.told.All() {
		e.Told = append(e.Told, t)
	}
	for _, l := range m.left.All() {
		e.Left = append(e.Left, l)
	}
	for _, q := range m.purges.All() {
		e.Purges = append(e.Purges, q)
	}
	for _, a := range m.accepted.All() {
		e.Accepted = append(e.Accepted, a)
	}
	for _, u := range m.uses.All() {
		e.Uses = append(e.Uses, u)
	}
	for _, p := range m.paths.All() {
		e.Paths = append(e.Paths, p)
	}
	for _, hop := range slices.SortedFunc(maps.Keys(m.bound), netip.Addr.Compare) {
		e.Bound = append(e.Bound, bound{hop, m.bound[hop].To, m.bound[hop].MTU, m.bound[hop].Server, m.bound[hop].Multicast})
	}
	for _, p := range slices.SortedFunc(maps.Keys(m.routes), netip.Prefix.Compare) {
		e.Routes = append(e.Routes, route{p, m.routes[p]})
	}
	for _, r := range m.limits.endpoints.All() {
		e.Rated = append(e.Rated, r)
	}
	for p, until := range m.limits.pairs.All() {
		e.Pairs = append(e.Pairs, pairUntil{p, until})
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic("nhrp: state cannot be written: " + err.Error()) // no type in it can fail
	}
	return b
}
