// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/nhrptest"
	"dmvpn/nhrpd/wire"
)

// truth is where everyone is and was, and what of it was said to whom.
type truth struct {
	left       map[*nhrptest.Node][]departure
	excuses    map[*nhrptest.Node]time.Time // until when its packets may be lost
	since      map[*nhrptest.Node]time.Time // it is where it is
	purgesSent map[purgeID]time.Time        // for the first time
	void       map[between][]voided         // what the first was purged of by the second, and answered
	gone       map[between]bool             // the second took its registration back, and the first has it
	known      map[between]*acquainted      // the first is a hub, the second a spoke
	firm       map[flow]bool                // goes directly: hubs do not matter
	lost       map[flow]int                 // that were excused
}

// departure is where a node was.
type departure struct {
	place engine.Endpoint
	at    time.Time
	known bool // to itself: what is behind a NAT learns of another address when it registers
}

type (
	between struct{ at, of *nhrptest.Node }
	purgeID struct {
		by netip.Addr
		id uint32
	}
	// voided is a prefix that does not lead to a place any more.
	voided struct {
		prefix netip.Prefix
		place  engine.Endpoint
	}
	// acquainted is when registrations arrived last from where the spoke is, and the answer.
	acquainted struct{ own, networks, answer time.Time }
)

// wireSlack is the time that a packet may be under way.
const wireSlack = 3 * time.Second

func (x *clouded) watch() {
	x.truth = truth{
		left: map[*nhrptest.Node][]departure{}, excuses: map[*nhrptest.Node]time.Time{}, since: map[*nhrptest.Node]time.Time{}, purgesSent: map[purgeID]time.Time{},
		void: map[between][]voided{}, gone: map[between]bool{}, firm: map[flow]bool{}, lost: map[flow]int{}, known: map[between]*acquainted{},
	}
	x.tally = newTally()
	x.Seen = func(from *nhrptest.Node, to engine.Endpoint, p *wire.Packet) {
		x.tally.sent(x, from, p)
		x.sees(from, p)
	}
	x.Arrives = x.arrives
}

// place is where others see a node.
func place(n *nhrptest.Node) engine.Endpoint {
	if n.NAT.IsValid() {
		return engine.Endpoint{NBMA: n.NAT, Port: n.Port}
	}
	return engine.Endpoint{NBMA: n.NBMA, Port: n.Port}
}

// owner is the node with an overlay address.
func (x *clouded) owner(a netip.Addr) *nhrptest.Node {
	if n, ok := x.owners[a]; ok {
		return n
	}
	for _, n := range x.Nodes {
		x.owners[n.Own()] = n
	}
	return x.owners[a]
}

// leaves is called before a node is elsewhere or nowhere.
func (x *clouded) leaves(n *nhrptest.Node) {
	x.left[n] = append(x.left[n], departure{place(n), x.Now, !n.NAT.IsValid()})
	x.since[n] = x.Now
	for b, k := range x.known {
		if b.of == n || b.at == n {
			*k = acquainted{}
		}
	}
}

// comes is called when a node is back.
func (x *clouded) comes(n *nhrptest.Node) {
	back := place(n)
	x.left[n] = slices.DeleteFunc(x.left[n], func(d departure) bool { return d.place == back })
	for b, list := range x.void {
		if b.of == n {
			x.void[b] = slices.DeleteFunc(list, func(v voided) bool { return v.place == back })
		}
	}
	for b := range x.gone {
		if b.of == n {
			delete(x.gone, b)
		}
	}
	x.since[n] = x.Now
}

// excuse lets packets of a node be lost for a time.
func (x *clouded) excuse(n *nhrptest.Node, d time.Duration) {
	if until := x.Now.Add(d); until.After(x.excuses[n]) {
		x.excuses[n] = until
	}
}

func (x *clouded) sees(from *nhrptest.Node, p *wire.Packet) {
	switch {
	case p.Type == wire.PurgeRequest && p.SourceProtocol == from.Own():
		id := purgeID{from.Own(), p.RequestID}
		if _, again := x.purgesSent[id]; !again {
			x.purgesSent[id] = x.Now
		}
	case p.Type == wire.PurgeReply && p.DestinationProtocol == from.Own():
		issuer := x.owner(p.SourceProtocol)
		b := between{from, issuer}
		for _, d := range x.left[issuer] {
			if !d.known || d.at.After(x.purgesSent[purgeID{issuer.Own(), p.RequestID}]) {
				continue
			}
			for _, c := range p.CIEs {
				if v := (voided{c.Prefix(c.Protocol), d.place}); !slices.Contains(x.void[b], v) {
					x.void[b] = append(x.void[b], v)
				}
			}
		}
	}
}

func (x *clouded) arrives(at *nhrptest.Node, from engine.Endpoint, p *wire.Packet) {
	of := x.owner(p.SourceProtocol)
	k := x.known[between{at, of}]
	switch p.Type {
	case wire.RegistrationRequest:
		if k == nil {
			k = &acquainted{}
			x.known[between{at, of}] = k
		}
		switch {
		case from.Place() != place(of):
		case p.CIEs[0].Protocol.IsValid():
			if !k.own.IsZero() { // else they are refused
				k.networks = x.Now
			}
		default:
			if x.Now.Sub(k.own) > x.holding-wireSlack {
				k.networks = time.Time{} // they ended with it
			}
			k.own = x.Now
		}
	case wire.RegistrationReply:
		if k = x.known[between{x.owner(p.DestinationProtocol), of}]; at == of && k != nil && !p.CIEs[0].Protocol.IsValid() && k.own.After(x.since[of]) {
			k.answer = x.Now
			for i, d := range x.left[at] {
				if !d.known {
					x.left[at][i].known, x.left[at][i].at = true, x.Now
				}
			}
		}
	case wire.PurgeRequest:
		if x.dead[of.NBMA] && slices.ContainsFunc(p.CIEs, func(c wire.CIE) bool { return c.Prefix(c.Protocol).Contains(of.Own()) }) {
			x.gone[between{at, of}] = true
		}
	}
}

// registered says whether a spoke is registered with a hub as far as the wire let it.
func (x *clouded) registered(hub, n *nhrptest.Node) bool {
	k := x.known[between{hub, n}]
	fresh := func(t time.Time) bool { return x.Now.Sub(t) < x.holding-wireSlack }
	return k != nil && fresh(k.own) && fresh(k.networks) && fresh(k.answer)
}

// alone says whether a hub below another is not registered with it, as far as the wire let it.
func (x *clouded) alone(hub *nhrptest.Node) bool {
	for _, c := range hub.Config.NHS {
		above := slices.IndexFunc(x.hubs, func(h *nhrptest.Node) bool { return h.NBMA.String() == c.NBMA })
		k := x.known[between{x.hubs[above], hub}]
		if k == nil || x.Now.Sub(k.own) >= x.holding-wireSlack || x.Now.Sub(k.answer) >= x.holding-wireSlack {
			return true
		}
	}
	return false
}

// half says whether a living hub has a spoke that does not know it yet, or not its networks.
func (x *clouded) half(hub, n *nhrptest.Node) bool {
	k := x.known[between{hub, n}]
	return k != nil && !k.own.IsZero() && !x.registered(hub, n)
}

// excused says whether a packet may be lost now: an end or the hub that it goes by is in
// trouble, or the wire let a registration end.
func (x *clouded) excused(f flow) bool {
	in := func(n *nhrptest.Node) bool { return x.Now.Before(x.excuses[n]) || x.dead[n.NBMA] }
	if in(f.a) || in(f.b) {
		return true
	}
	if x.firm[f] {
		return false
	}
	if slices.ContainsFunc(x.hubs, in) || slices.ContainsFunc(x.hubs, x.alone) {
		return true
	}
	for _, n := range []*nhrptest.Node{f.a, f.b} {
		if !slices.ContainsFunc(x.hubs, func(h *nhrptest.Node) bool { return x.registered(h, n) }) ||
			slices.ContainsFunc(x.hubs, func(h *nhrptest.Node) bool { return x.half(h, n) }) {
			return true
		}
	}
	return false
}

// settled takes the flows that go directly, each way, and says how many these are: none of
// their packets is lost because of a hub as long as that is called firm.
func (x *clouded) settled() int {
	clear(x.firm)
	for _, f := range x.flows {
		for _, g := range []flow{f, {f.b, f.a}} {
			if d := g.a.Follow(lan(g.b)); d.Dropped == "" && len(d.Path) == 2 {
				x.firm[g] = true
			}
		}
	}
	return len(x.firm)
}

// send sends a packet from a spoke's LAN to another's.
func (x *clouded) send(f flow) {
	x.t.Helper()
	if x.dead[f.a.NBMA] {
		return
	}
	d := f.a.SendTo(lan(f.a), lan(f.b), 1000)
	switch {
	case d.Dropped == "" && d.Path[len(d.Path)-1] != f.b.Name:
		x.t.Fatalf("%v: a packet for %s ends elsewhere: %v", x.Now.Sub(nhrptest.Start), f.b.Name, d)
	case d.Dropped == "it runs in a circle":
		x.t.Fatalf("%v: a packet for %s: %v", x.Now.Sub(nhrptest.Start), f.b.Name, d)
	case d.Dropped != "" && !x.excused(f):
		x.t.Fatalf("%v: a packet from %s to %s is lost: %v", x.Now.Sub(nhrptest.Start), f.a.Name, f.b.Name, d)
	case d.Dropped != "":
		x.lost[f]++
	}
}

// check says what no data plane may have at any time.
func (x *clouded) check() {
	x.t.Helper()
	for _, n := range x.Nodes {
		if x.dead[n.NBMA] {
			continue
		}
		for hop, to := range n.Bound {
			x.checkHop(n, hop, to)
		}
	}
	for b, list := range x.void {
		if x.dead[b.at.NBMA] {
			continue
		}
		for _, v := range list {
			a := v.prefix.Addr()
			if !v.prefix.IsSingleIP() {
				a = a.Next()
			}
			if to, ok := b.at.Toward(a); ok && to.Place() == v.place && x.At(b.at, to) != b.of {
				x.t.Fatalf("%v: %s answered that %v of %s is void, and sends to %v, where it is no more", x.Now.Sub(nhrptest.Start), b.at.Name, v.prefix, b.of.Name, to)
			}
		}
	}
	for b := range x.gone {
		if to, ok := b.at.Bound[b.of.Own()]; ok {
			x.t.Fatalf("%v: %s took its registration back from %s, which has it at %v", x.Now.Sub(nhrptest.Start), b.of.Name, b.at.Name, to)
		}
	}
}

// checkHop looks whether a next hop that leads elsewhere than to its node does so for the
// holding time at most.
func (x *clouded) checkHop(n *nhrptest.Node, hop netip.Addr, to engine.Endpoint) {
	x.t.Helper()
	of := x.owner(hop)
	if of == nil {
		x.t.Fatalf("%s binds %v, who is nobody", n.Name, hop)
	}
	if x.At(n, to) == of {
		return
	}
	i := slices.IndexFunc(x.left[of], func(d departure) bool { return d.place == to.Place() })
	if i < 0 {
		x.t.Fatalf("%v: %s has %s at %v, where it never was", x.Now.Sub(nhrptest.Start), n.Name, of.Name, to)
	}
	if d := x.left[of][i]; d.known && x.Now.Sub(d.at) > x.holding+wireSlack {
		x.t.Fatalf("%v: %s has %s at %v still, which it left at %v", x.Now.Sub(nhrptest.Start), n.Name, of.Name, to, d.at.Sub(nhrptest.Start))
	}
}

// agree says whether what every data plane has is so: the hub has each of its spokes, no one
// accepts what nobody sends, and every flow arrives.
func (x *clouded) agree(hubs ...*nhrptest.Node) {
	x.t.Helper()
	for _, h := range hubs {
		for _, s := range x.spokes {
			if !slices.ContainsFunc(s.Config.NHS, func(c engine.NHS) bool { return c.NBMA == h.NBMA.String() }) {
				continue
			}
			if x.dead[s.NBMA] {
				want(x.t, h.Name+" binds "+s.Name+", which is gone", h.Bound[s.Own()], engine.Endpoint{})
				continue
			}
			want(x.t, h.Name+" has "+s.Name+" at", h.Bound[s.Own()].Place(), place(s))
			want(x.t, h.Name+" reaches the LAN of "+s.Name+" by", h.Installed[s.Config.Networks[0]], s.Own())
		}
	}
	for _, n := range x.Nodes {
		if x.dead[n.NBMA] {
			continue
		}
		for hop, to := range n.Bound {
			if of := x.owner(hop); x.At(n, to) != of {
				x.t.Errorf("%s has %s at %v, where it is not", n.Name, of.Name, to)
			}
		}
		for from := range n.Accepted {
			if x.At(n, from) == nil {
				x.t.Errorf("%s accepts %v, where nobody is", n.Name, from)
			}
		}
		for p, hop := range n.Installed {
			if _, ok := n.Bound[hop]; !ok {
				x.t.Errorf("%s reaches %v by %v, which is not bound", n.Name, p, hop)
			}
		}
	}
}

// heal makes the wires good, lets what is false end, and looks whether all is as it should be.
func (x *clouded) heal() {
	x.t.Helper()
	x.wires(0)
	x.pass(x.holding + 70*time.Second)
	clear(x.excuses)
	x.pass(10 * time.Second)
	x.agree(x.hubs...)
}
