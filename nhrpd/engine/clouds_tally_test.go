// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// tally counts packets since it was begun: those that a node made, and all, with those
// passed on.
type tally struct {
	owners map[netip.Addr]*nhrptest.Node
	made   map[wire.Type]int
	all    map[wire.Type]int
	by     map[*nhrptest.Node]map[wire.Type]int // made
}

func newTally() tally {
	return tally{owners: map[netip.Addr]*nhrptest.Node{}, made: map[wire.Type]int{}, all: map[wire.Type]int{}, by: map[*nhrptest.Node]map[wire.Type]int{}}
}

// count begins a tally.
func (x *clouded) count() {
	owners := x.owners
	x.tally = newTally()
	x.owners = owners
}

func (y *tally) sent(x *clouded, from *nhrptest.Node, p *wire.Packet) {
	y.all[p.Type]++
	author := p.SourceProtocol
	if p.Type == wire.ResolutionReply || p.Type == wire.RegistrationReply || p.Type == wire.PurgeReply || p.Type == wire.ProbeReply {
		author = p.DestinationProtocol
	}
	passedOn := author != from.Own()
	if p.Type == wire.ResolutionReply {
		passedOn = from.Config.Redirect // hubs answer for nobody here
	}
	if passedOn {
		return
	}
	y.made[p.Type]++
	if y.by[from] == nil {
		y.by[from] = map[wire.Type]int{}
	}
	y.by[from][p.Type]++
}

// String is what was counted, a type a word.
func (y *tally) String() string {
	var words []string
	for _, t := range slices.Sorted(maps.Keys(y.all)) {
		words = append(words, fmt.Sprintf("%v %d (%d made)", t, y.all[t], y.made[t]))
	}
	return strings.Join(words, ", ")
}

// most checks that no more packets of a type were made than a bound says.
func (x *clouded) most(what string, t wire.Type, bound int) {
	x.t.Helper()
	if x.made[t] > bound {
		x.t.Errorf("%s: %d × %v, at most %d are to be: %v", what, x.made[t], t, bound, x.tally.String())
	}
}

// mostEach is most for each node.
func (x *clouded) mostEach(what string, t wire.Type, bound int) {
	x.t.Helper()
	for n, made := range x.by {
		if made[t] > bound {
			x.t.Errorf("%s: %s made %d × %v, at most %d are to be", what, n.Name, made[t], t, bound)
		}
	}
}
