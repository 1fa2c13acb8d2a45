// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"dmvpn/nhrpd/engine"
)

var (
	natted    = netip.MustParseAddr("203.0.113.22")
	elsewhere = netip.MustParseAddr("203.0.113.23")
	hop2      = netip.MustParseAddr("10.0.0.12")
	hop3      = netip.MustParseAddr("10.0.0.13")
)

func place(a netip.Addr, port uint16) engine.Endpoint { return engine.Endpoint{NBMA: a, Port: port} }

func known(identity string, a netip.Addr, port uint16) engine.Endpoint {
	return engine.Endpoint{NBMA: a, Port: port, Identity: identity}
}

// bound is an end to which NHRP binds a next hop.
func bound(d *directory, hop netip.Addr, to engine.Endpoint) *end {
	e := d.want(to)
	d.bind(e, engine.Bind{NextHop: hop, To: to})
	return e
}

func TestWhoIsWantedAndWhoCame(t *testing.T) {
	for _, c := range []struct {
		name string
		want []engine.Endpoint // hop2's end, and hop3's
		came engine.Endpoint
		is   int // which of them; −1: neither
	}{
		{"who is wanted by its identity, at the port that the hub saw", []engine.Endpoint{known("s2", natted, 4501)}, known("s2", natted, 4501), 0},
		{"at another port", []engine.Endpoint{known("s2", natted, 4501)}, known("s2", natted, 29015), 0},
		{"at another address", []engine.Endpoint{known("s2", natted, 4501)}, known("s2", elsewhere, 0), 0},
		{"another, at the port where it is wanted", []engine.Endpoint{known("s2", natted, 4501)}, known("s3", natted, 4501), -1},
		{"one of two behind a NAT, at the other one's port", []engine.Endpoint{known("s2", natted, 4501), known("s3", natted, 4502)}, known("s3", natted, 4501), 1},
		{"whoever is at a place", []engine.Endpoint{place(natted, 4501)}, known("s2", natted, 4501), 0},
		{"nobody at the place that is meant", []engine.Endpoint{place(natted, 4501)}, known("s2", natted, 4502), -1},
	} {
		d := newDirectory()
		var ends []*end
		for i, by := range c.want {
			ends = append(ends, bound(&d, []netip.Addr{hop2, hop3}[i], by))
		}
		e, replaced := d.meet(c.came.Identity, c.came.Place())
		d.place(e, c.came.Place())
		is := -1
		for i, o := range ends {
			if o == e {
				is = i
			}
		}
		if is != c.is || replaced != nil || e.identity != c.came.Identity || e.at != c.came.Place() {
			t.Errorf("%s: it is %d, %+v", c.name, is, e)
		}
		if d.find(engine.Endpoint{Identity: c.came.Identity}) != e || d.find(c.came.Place()) != e {
			t.Errorf("%s: it is not found", c.name)
		}
	}
}

// An NHS of another kind says no identity; the peer's own packets have one.
func TestWhoIsWantedByPlaceAndByIdentityIsOne(t *testing.T) {
	d := newDirectory()
	here := place(natted, 4501)
	byPlace, byName := bound(&d, hop2, here), bound(&d, hop3, known("s2", natted, 4501))
	if byPlace == byName {
		t.Fatal("nobody has said yet that they are one")
	}
	e, replaced := d.meet("s2", here)
	if e != byName || replaced != byPlace || replaced.wanted() {
		t.Fatalf("%+v in place of %+v", e, replaced)
	}
	d.place(e, here)
	there := place(elsewhere, 0)
	d.place(e, there)
	for _, by := range []engine.Endpoint{here, there, known("s2", natted, 1)} {
		if d.find(by) != e {
			t.Errorf("at %+v is %+v", by, d.find(by))
		}
	}
	if d.hops[hop2] != e || d.hops[hop3] != e || len(d.all) != 1 {
		t.Errorf("next hops lead to %v, there are %d ends", d.hops, len(d.all))
	}
	// What NHRP takes back is forgotten.
	d.unbind(hop2)
	if d.find(here) != e {
		t.Error("it is admitted there still")
	}
	delete(e.admitted, here.Key())
	d.unclaim(e, here)
	d.unbind(hop3)
	if d.find(here) != nil || !e.wanted() {
		t.Errorf("nobody has dismissed it by its identity: %+v", e)
	}
	delete(e.admitted, engine.Endpoint{Identity: "s2"})
	if e.wanted() {
		t.Errorf("left: %+v", e)
	}
	d.forget(e)
	if len(d.all)+len(d.named)+len(d.claimed)+len(d.places)+len(d.peers)+len(d.ids)+len(d.hops)+d.servers > 0 {
		t.Errorf("left: %+v", d)
	}
}

// One number of IKE's is one end's: who had it before has nothing by it any more.
func TestAnEndThatLosesItsPeerIsReleased(t *testing.T) {
	d := newDirectory()
	first, second := d.add("s1@example.net"), d.add("s1@EXAMPLE.net")
	if d.own(first, 7) != nil {
		t.Error("nobody had it")
	}
	first.up, first.children = true, 2
	if d.own(first, 7) != nil || !first.met() {
		t.Error("it has it already")
	}
	if lost := d.own(second, 7); lost != first || first.met() || first.peer != 0 || second.children != 2 || d.peers[7] != second {
		t.Errorf("%+v lost it to %+v", lost, second)
	}
	// Another number: the SAs of the one before are counted no more.
	if d.own(second, 8) != nil || second.children != 0 || d.peers[7] != nil || d.peers[8] != second {
		t.Errorf("%+v", second)
	}
}

func TestServersAreCounted(t *testing.T) {
	d := newDirectory()
	hub := known("hub", natted, 0)
	e := d.want(hub)
	for range 2 {
		d.bind(e, engine.Bind{NextHop: hop2, To: hub, Server: true})
		d.bind(e, engine.Bind{NextHop: hop3, To: hub})
	}
	if e.server != 1 || d.servers != 1 {
		t.Errorf("%d, %d", e.server, d.servers)
	}
	if d.unbind(hop2); e.server != 0 || !e.passesOn {
		t.Errorf("%d, passes on %t: the others may not know yet that it is no server of ours", e.server, e.passesOn)
	}
	d.bind(e, engine.Bind{NextHop: hop2, To: hub, Server: true})
	other := d.want(known("other", elsewhere, 0))
	d.bind(other, engine.Bind{NextHop: hop2, To: known("other", elsewhere, 0)})
	if e.server != 0 || d.servers != 0 || d.hops[hop2] != other || e.hops[hop3].To != hub {
		t.Errorf("%d, %d", e.server, d.servers)
	}
}
