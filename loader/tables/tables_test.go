// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"dmvpn/bpf"
)

// Indices of devices; nothing here looks at devices.
const tunnelA, tunnelB = 5, 6

var (
	local = netip.MustParseAddr("192.0.2.1")
	hopA  = netip.MustParseAddr("10.0.0.11")
	hopB  = netip.MustParseAddr("10.0.0.12")
)

func endpoint(n int) Endpoint {
	return Endpoint{NBMA: netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})}
}

// maps makes maps of a test's own, with few peers.
func maps(t *testing.T, peers uint32) map[string]*ebpf.Map {
	t.Helper()
	spec, err := bpf.LoadDmvpn()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ebpf.Map{}
	for name, m := range spec.Maps {
		if m.Pinning == ebpf.PinNone {
			continue // the constants of a program
		}
		m.Pinning = ebpf.PinNone
		if name == MapPeer || name == MapStats {
			m.MaxEntries = peers
		}
		if out[name], err = ebpf.NewMap(m); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = out[name].Close() })
	}
	return out
}

func tables(t *testing.T, m map[string]*ebpf.Map) *Tables {
	t.Helper()
	tt, err := New(m)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func admit(t *testing.T, tt *Tables, tunnel, n int) PeerID {
	t.Helper()
	id, err := tt.Admit(tunnel, endpoint(n), netip.Addr{}, 0)
	must(t, err)
	return id
}

// admitAs admits and dismisses a peer until it gets the id of one that is gone.
func admitAs(t *testing.T, tt *Tables, tunnel, n int, id PeerID) {
	t.Helper()
	for range tt.limit {
		if admit(t, tt, tunnel, n) == id {
			return
		}
		must(t, tt.Dismiss(tunnel, endpoint(n)))
	}
	t.Fatalf("nobody gets the id %d again", id)
}

func TestAPeerKeepsItsIDAndAFreeOneIsUsedAgain(t *testing.T) {
	tt := tables(t, maps(t, 4))
	for n := 1; n <= 3; n++ {
		if id := admit(t, tt, tunnelA, n); id != PeerID(n) {
			t.Errorf("peer %d has id %d", n, id)
		}
	}
	if id := admit(t, tt, tunnelA, 2); id != 2 {
		t.Errorf("a peer that is known got another id: %d", id)
	}
	if _, err := tt.Admit(tunnelA, endpoint(4), netip.Addr{}, 0); !errors.Is(err, ErrFull) {
		t.Errorf("one more than there is room for: %v", err)
	}
	must(t, tt.Dismiss(tunnelA, endpoint(2)))
	must(t, tt.Dismiss(tunnelA, endpoint(2)))
	if id := admit(t, tt, tunnelA, 4); id != 2 {
		t.Errorf("the free id is not used: %d", id)
	}
}

func TestOneAddressIsAnotherPeerOnEachTunnelAndPort(t *testing.T) {
	tt := tables(t, maps(t, 8))
	a, b := admit(t, tt, tunnelA, 1), admit(t, tt, tunnelB, 1)
	c, err := tt.Admit(tunnelA, Endpoint{NBMA: endpoint(1).NBMA, Port: 4500}, netip.Addr{}, 0)
	must(t, err)
	if a == b || a == c || b == c {
		t.Errorf("ids %d, %d, %d", a, b, c)
	}
}

func TestAddressesThatNobodyHasAreRefused(t *testing.T) {
	tt := tables(t, maps(t, 4))
	for _, a := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")} {
		if _, err := tt.Admit(tunnelA, Endpoint{NBMA: a}, netip.Addr{}, 0); err == nil {
			t.Errorf("%v became a peer", a)
		}
	}
}

func TestANextHopLeadsToAPeerOfItsTunnel(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	a, b := admit(t, tt, tunnelA, 1), admit(t, tt, tunnelB, 2)
	must(t, tt.Bind(tunnelA, hopA, a))
	if err := tt.Bind(tunnelA, hopB, b); !errors.Is(err, ErrUnknown) {
		t.Errorf("a peer of another tunnel: %v", err)
	}
	if err := tt.Bind(tunnelA, hopB, 7); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
	var id PeerID
	if err := m[MapNextHop].Lookup(hopKey(tunnelA, hopA), &id); err != nil || id != a {
		t.Errorf("the map has %d, %v", id, err)
	}
	must(t, tt.Unbind(tunnelA, hopA))
	must(t, tt.Unbind(tunnelA, hopA))
	if _, ok := tt.Bound(tunnelA, hopA); ok {
		t.Error("it is bound still")
	}
}

func TestAPeerThatIsDismissedTakesItsNextHopsAlongAndIsNoFallback(t *testing.T) {
	tt := tables(t, maps(t, 8))
	must(t, tt.SetTunnel(Tunnel{IfIndex: tunnelA, UnderlayIfIndex: 2, Local: local}))
	id, other := admit(t, tt, tunnelA, 1), admit(t, tt, tunnelA, 2)
	must(t, tt.Bind(tunnelA, hopA, id))
	must(t, tt.Bind(tunnelA, hopB, other))
	must(t, tt.SetFallback(tunnelA, false, id))
	must(t, tt.Dismiss(tunnelA, endpoint(1)))
	if hops := tt.NextHops(); len(hops) != 1 || hops[0].Peer != other {
		t.Errorf("next hops %v", hops)
	}
	all, err := tt.Tunnels()
	must(t, err)
	if len(all) != 1 || all[0].Fallback != 0 {
		t.Errorf("tunnels %+v", all)
	}
	if err := tt.SetFallback(tunnelA, false, id); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody as the fallback: %v", err)
	}
}

// TestWhatStandsInTheMapsIsAdopted as after a crash of the daemon, and what it had
// half made is removed.
func TestWhatStandsInTheMapsIsAdopted(t *testing.T) {
	m := maps(t, 8)
	first := tables(t, m)
	must(t, first.SetTunnel(Tunnel{IfIndex: tunnelA, UnderlayIfIndex: 2, Local: local, Key: 42, HasKey: true, Redirect: true, MTU: 1400}))
	_ = admit(t, first, tunnelA, 1)
	id, err := first.Admit(tunnelA, endpoint(2), hopB, 1300)
	must(t, err)
	must(t, first.Bind(tunnelA, hopB, id))
	must(t, first.SetFallback(tunnelA, false, id))
	must(t, first.Dismiss(tunnelA, endpoint(1)))
	// Half made: an address whose peer was not written, a next hop of nobody.
	must(t, m[MapNBMA].Put(endpoint(3).key(tunnelA), PeerID(6)))
	must(t, m[MapNextHop].Put(hopKey(tunnelA, hopA), PeerID(6)))

	tt := tables(t, m)
	want := []Peer{{ID: id, Tunnel: tunnelA, Endpoint: endpoint(2), Protocol: hopB, MTU: 1300, Up: true}}
	if got := tt.Peers(); !slices.Equal(got, want) {
		t.Errorf("peers %+v, want %+v", got, want)
	}
	if hops := tt.NextHops(); len(hops) != 1 || hops[0] != (NextHop{tunnelA, hopB, id}) {
		t.Errorf("next hops %+v", hops)
	}
	var left PeerID
	if err := m[MapNBMA].Lookup(endpoint(3).key(tunnelA), &left); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the half made address: %d, %v", left, err)
	}
	if err := m[MapNextHop].Lookup(hopKey(tunnelA, hopA), &left); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the next hop of nobody: %d, %v", left, err)
	}
	// The daemon sets its tunnel again: the fallback stays with running traffic.
	must(t, tt.SetTunnel(Tunnel{IfIndex: tunnelA, UnderlayIfIndex: 2, Local: local, Key: 42, HasKey: true, Redirect: true, MTU: 1400}))
	if all, err := tt.Tunnels(); err != nil || len(all) != 1 || all[0].Fallback != id {
		t.Errorf("tunnels %+v, %v", all, err)
	}
	if next := admit(t, tt, tunnelA, 4); next != 3 {
		t.Errorf("ids go on with 3, not %d", next)
	}
}

// TestAFreedIDIsGivenOutLast: what waits for the peer that had it must not reach another one.
func TestAFreedIDIsGivenOutLast(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	gone := admit(t, tt, tunnelA, 1)
	stays := admit(t, tt, tunnelA, 2)
	for i := range 5 { // 7 ids, of which two are not free
		must(t, tt.Remove(gone))
		if i == 2 { // the daemon is another one, and nobody has the last id
			tt = tables(t, m)
		}
		id := admit(t, tt, tunnelA, 10+i)
		if want := PeerID(3 + i); id != want {
			t.Fatalf("peer %d is %d, want %d", i, id, want)
		}
		gone = id
	}
	must(t, tt.Remove(gone))
	for _, want := range []PeerID{1, 3, 4, 5, 6, 7} { // from the beginning, without who is there
		if id := admit(t, tt, tunnelA, 20+int(want)); id != want || id == stays {
			t.Fatalf("%d, want %d", id, want)
		}
	}
	if _, err := tt.Admit(tunnelA, endpoint(40), netip.Addr{}, 0); !errors.Is(err, ErrFull) {
		t.Errorf("all are taken: %v", err)
	}
	must(t, tt.Remove(4))
	if id := admit(t, tt, tunnelA, 41); id != 4 {
		t.Errorf("the only one that is free is 4, not %d", id)
	}
}

func TestATunnelThatChangesLeavesNoEntryOfBefore(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	u := Tunnel{IfIndex: tunnelA, UnderlayIfIndex: 2, Local: local, Key: 42, HasKey: true}
	must(t, tt.SetTunnel(u))
	if err := tt.SetTunnel(Tunnel{IfIndex: tunnelB, UnderlayIfIndex: 2, Local: local, Key: 42, HasKey: true}); err == nil ||
		!strings.Contains(err.Error(), "give the tunnels different keys") {
		t.Errorf("address and key of another tunnel: %v", err)
	}
	before := u.keys()[0]
	u.Key = 43
	must(t, tt.SetTunnel(u))
	var v tunnelValue
	if err := m[MapTunnel].Lookup(before, &v); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the entry of key 42 is still there: %+v, %v", v, err)
	}
	if err := m[MapTunnel].Lookup(u.keys()[0], &v); err != nil || v.IfIndex != tunnelA {
		t.Errorf("key 43: %+v, %v", v, err)
	}
	u.Local6, u.Broadcast = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.255")
	must(t, tt.SetTunnel(u))
	both := u.keys()
	for _, k := range both {
		if err := m[MapTunnel].Lookup(k, &v); err != nil || v.tunnel() != u {
			t.Errorf("%x: %+v, %v", k.Local, v, err)
		}
	}
	u.Local = netip.Addr{}
	must(t, tt.SetTunnel(u))
	if err := m[MapTunnel].Lookup(both[0], &v); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("the entry of the address of IPv4 is still there: %v", err)
	}
	if err := m[MapTunnel].Lookup(both[1], &v); err != nil || v.tunnel() != u {
		t.Errorf("IPv6 alone: %+v, %v", v, err)
	}
	u.Local6 = netip.Addr{}
	if tt.SetTunnel(u) == nil {
		t.Error("a tunnel without an address")
	}
}

func TestSweepRemovesWhatBelongsToDevicesThatAreGone(t *testing.T) {
	tt := tables(t, maps(t, 8))
	for _, tunnel := range []int{tunnelA, tunnelB} {
		must(t, tt.SetTunnel(Tunnel{IfIndex: tunnel, UnderlayIfIndex: 2, Local: local, Key: uint32(tunnel), HasKey: true}))
		must(t, tt.Bind(tunnel, hopA, admit(t, tt, tunnel, 1)))
	}
	must(t, tt.Sweep(func(ifindex int) bool { return ifindex == tunnelB }))
	all, err := tt.Tunnels()
	must(t, err)
	if len(all) != 1 || all[0].IfIndex != tunnelB || len(tt.Peers()) != 1 || len(tt.NextHops()) != 1 {
		t.Errorf("left: %+v, %+v, %+v", all, tt.Peers(), tt.NextHops())
	}
}

func TestCountersBeginAtZeroAndJoinBothPaths(t *testing.T) {
	m := maps(t, 8)
	tt := tables(t, m)
	id := admit(t, tt, tunnelA, 1)
	cpus, err := ebpf.PossibleCPU()
	must(t, err)
	each := make([]statsValue, cpus)
	for i := range each {
		each[i] = statsValue{RxPackets: 1, RxBytes: 100, RxLastNs: monotonic()}
	}
	must(t, m[MapStats].Put(uint32(id), each))
	tt.CountReceived(id, 50)
	tt.CountSent(id, 60)
	s, err := tt.Stats(id)
	must(t, err)
	if s.RxPackets != uint64(cpus)+1 || s.RxBytes != uint64(cpus)*100+50 || s.TxPackets != 1 || s.TxBytes != 60 || s.RxLast.IsZero() {
		t.Errorf("%+v", s)
	}
	must(t, tt.Dismiss(tunnelA, endpoint(1)))
	admitAs(t, tt, tunnelA, 2, id)
	if s, err := tt.Stats(id); err != nil || s != (Stats{}) {
		t.Errorf("the counters of the peer before: %+v, %v", s, err)
	}
	tt.CountDrop(id, DropTooBig, 1500)
	tt.CountDrop(77, DropQueueFull, 10) // nobody has this id
	drops, err := tt.Drops()
	must(t, err)
	if want := []Drop{{0, DropQueueFull, 1, 10}, {id, DropTooBig, 1, 1500}}; !slices.Equal(drops, want) {
		t.Errorf("drops %+v, want %+v", drops, want)
	}
}

func TestTablesMayBeUsedTogether(t *testing.T) {
	tt := tables(t, maps(t, 64))
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for n := range 50 {
				hop := netip.AddrFrom4([4]byte{10, 0, byte(g), byte(n)})
				from := Endpoint{NBMA: netip.AddrFrom4([4]byte{198, 18, byte(g), byte(n + 1)})}
				id, err := tt.Admit(tunnelA, from, hop, 0)
				if err == nil {
					err = tt.Bind(tunnelA, hop, id)
				}
				tt.CountSent(id, 1)
				if err == nil {
					err = tt.Dismiss(tunnelA, from)
				}
				if err != nil {
					t.Error(fmt.Errorf("peer %v: %w", from, err))
				}
			}
		})
	}
	wait.Wait()
	if len(tt.Peers()) > 0 || len(tt.NextHops()) > 0 {
		t.Errorf("left: %v, %v", tt.Peers(), tt.NextHops())
	}
}
