// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"errors"
	"net/netip"
	"testing"
)

func at(t *testing.T, tt *Tables, e Endpoint, want PeerID) {
	t.Helper()
	if id, ok := tt.ID(tunnelA, e); id != want || ok != (want != 0) {
		t.Errorf("at %v is %d, want %d", e, id, want)
	}
}

func TestAPeerThatMovesKeepsWhatItHas(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	one := admit(t, tt, tunnelA, 1)
	must(t, tt.Bind(tunnelA, hopA, one))
	must(t, tt.Describe(one, hopA, 1300))
	tt.CountReceived(one, 1000)
	must(t, tt.Describe(one, netip.Addr{}, 1300))
	there := Endpoint{NBMA: endpoint(9).NBMA, Port: 4501}
	for range 2 {
		must(t, tt.Move(one, there))
		at(t, tt, there, one)
		at(t, tt, endpoint(1), 0)
	}
	if p, ok := tt.Peer(one); !ok || p.Endpoint != there || p.Protocol != hopA || p.MTU != 1300 {
		t.Errorf("it is %+v", p)
	}
	if id, ok := tt.Bound(tunnelA, hopA); !ok || id != one {
		t.Errorf("its next hop leads to %d", id)
	}
	if s, err := tt.Stats(one); err != nil || s.RxBytes+s.TxBytes != 1000 {
		t.Errorf("its counters: %+v, %v", s, err)
	}
	// Who reads the maps anew finds the same.
	if p, ok := tables(t, m).Peer(one); !ok || p.Endpoint != there {
		t.Errorf("adopted: %+v", p)
	}
	if err := tt.Move(99, there); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody moved: %v", err)
	}
	if err := tt.Move(one, Endpoint{}); err == nil {
		t.Error("a peer moved to no address")
	}
	if err := tt.Describe(99, hopA, 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody described: %v", err)
	}
}

func TestWhoComesToAnEndpointTakesIt(t *testing.T) {
	tt := tables(t, maps(t, 8))
	one, two := admit(t, tt, tunnelA, 1), admit(t, tt, tunnelA, 2)
	must(t, tt.Bind(tunnelA, hopA, one))
	must(t, tt.Move(two, endpoint(1)))
	at(t, tt, endpoint(1), two)
	at(t, tt, endpoint(2), 0)
	// The one before is a peer still, and moves when it is found elsewhere.
	if id, _ := tt.Bound(tunnelA, hopA); id != one {
		t.Errorf("its next hop leads to %d", id)
	}
	must(t, tt.Move(one, endpoint(3)))
	at(t, tt, endpoint(1), two)
	at(t, tt, endpoint(3), one)
	three, err := tt.AdmitAnew(tunnelA, endpoint(3), netip.Addr{}, 0)
	must(t, err)
	if three == one || three == two {
		t.Errorf("the new one has the id %d", three)
	}
	at(t, tt, endpoint(3), three)
	must(t, tt.Remove(one))
	must(t, tt.Remove(one))
	at(t, tt, endpoint(3), three)
	must(t, tt.Remove(three))
	at(t, tt, endpoint(3), 0)
	if left := tt.Peers(); len(left) != 1 || left[0].ID != two {
		t.Errorf("left: %+v", left)
	}
}

func TestANarrowPeerStaysSoWhateverItAnnounces(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	one := admit(t, tt, tunnelA, 1)
	is := func(want int) {
		t.Helper()
		if p, ok := tt.Peer(one); !ok || p.MTU != want {
			t.Errorf("its MTU is %d, want %d", p.MTU, want)
		}
	}
	again := func(mtu int) {
		t.Helper()
		if id, err := tt.Admit(tunnelA, endpoint(1), hopA, mtu); err != nil || id != one {
			t.Fatal(id, err)
		}
	}
	again(1390)
	must(t, tt.Narrow(one, 1300))
	for _, announced := range []int{0, 1400, KeepMTU, 1380} {
		again(announced)
		is(1300)
	}
	must(t, tt.Describe(one, hopA, 1350))
	is(1300)
	again(1200)
	is(1200)
	again(1380)
	is(1300)
	for range 2 {
		must(t, tt.Widen(one))
		is(1380)
	}
	must(t, tt.Narrow(one, 1250))
	must(t, tt.Dismiss(tunnelA, endpoint(1)))
	admitAs(t, tt, tunnelA, 2, one)
	is(0)
	must(t, tt.Widen(one))
	is(0)
}
