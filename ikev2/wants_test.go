// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
)

// wires joins services in virtual time. Whoever has no address there is dead.
type wires struct {
	mu    sync.Mutex
	nodes map[netip.Addr]*node
	names map[string][]netip.Addr
	looks int
}

// node is a Service with one or more addresses on the wires.
type node struct {
	*Service
	wires *wires
	at    netip.Addr
	plane *plane
	stop  func()
}

func (w *wires) node(t *testing.T, id, at string) *node {
	t.Helper()
	n := &node{wires: w, at: netip.MustParseAddr(at), plane: newPlane()}
	n.Service = New(Config{
		Machine: sa.Config{Connections: []*sa.Connection{connection(t, "net", id)}, Installer: n.plane},
		Sender:  n, Handler: n, Resolver: w, Log: zerolog.Nop(),
	})
	w.move(n, at)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() { cancel(); <-ended })
	return n
}

// move gives a node one address instead of those it has; "" none.
func (w *wires) move(n *node, at string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, o := range w.nodes {
		if o == n {
			delete(w.nodes, a)
		}
	}
	if at != "" {
		w.nodes[netip.MustParseAddr(at)] = n
	}
}

// name sets what a name leads to.
func (w *wires) name(name string, to ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = nil
	for _, a := range to {
		w.names[name] = append(w.names[name], netip.MustParseAddr(a))
	}
}

// LookupNetIP implements Resolver.
func (w *wires) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	time.Sleep(100 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if all := w.names[host]; len(all) > 0 && (network == "ip" || network == "ip4" && all[0].Is4() || network == "ip6" && all[0].Is6()) {
		return append([]netip.Addr(nil), all...), ctx.Err()
	}
	return nil, errors.New("no such host")
}

// Send implements Sender.
func (n *node) Send(local, remote netip.AddrPort, message []byte) error {
	n.wires.mu.Lock()
	to, from := n.wires.nodes[remote.Addr()], n.wires.nodes[local.Addr()]
	n.wires.mu.Unlock()
	if from == n && to != nil {
		to.Deliver(remote, local, message)
	}
	return nil
}

func (n *node) Keepalive(netip.AddrPort, netip.AddrPort) error { return nil }
func (n *node) Source(netip.Addr) (netip.Addr, error)          { return n.at, nil }

func (n *node) Up(sa.Peer)                    {}
func (n *node) Down(sa.Peer, string)          {}
func (n *node) Moved(sa.Peer, netip.AddrPort) {}
func (n *node) Failed(sa.Failed)              {}

// with waits, and says who an IKE SA is established with, from where to where.
func (n *node) with(t *testing.T) (who, local, remote string) {
	t.Helper()
	snapshot, err := n.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range snapshot.SAs {
		if i.State == established {
			return i.Peer.Identity.String(), i.Peer.Local.Addr().String(), i.Peer.Remote.Addr().String()
		}
	}
	return "", "", ""
}

func (n *node) wanted(t *testing.T) WantInfo {
	t.Helper()
	snapshot, err := n.Snapshot(t.Context())
	if err != nil || len(snapshot.Wants) != 1 {
		t.Fatalf("wants %+v, %v", snapshot.Wants, err)
	}
	return snapshot.Wants[0]
}

func newWires() *wires {
	return &wires{nodes: map[netip.Addr]*node{}, names: map[string][]netip.Addr{}}
}

// hubByName is what the tests want.
var hubByName = Want{Connection: "net", Host: "hub.example.net", Port: 500, Local: netip.MustParseAddrPort("0.0.0.0:500")}

// inTime runs a test in virtual time.
func inTime(t *testing.T, test func(*testing.T, *wires)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWires()) })
}

func TestANameIsLookedUpUntilItIsKnown(t *testing.T) {
	inTime(t, func(t *testing.T, w *wires) {
		hub, spoke := w.node(t, "hub", "192.0.2.1"), w.node(t, "spoke", "198.51.100.7")
		defer hub.stop()
		defer spoke.stop()
		spoke.Connect(hubByName)
		time.Sleep(10 * time.Second)
		if x := spoke.wanted(t); x.Up || x.Remote.IsValid() || x.Reason != "no such host" || x.Retry.Before(time.Now()) {
			t.Errorf("while nobody knows it: %+v", x)
		}
		w.name("hub.example.net", "192.0.2.1")
		time.Sleep(20 * time.Second)
		if x := spoke.wanted(t); !x.Up || x.Reason != "" || x.Remote != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("afterwards: %+v", x)
		}
		// The local address that was left open is the true one: no NAT is seen.
		if _, local, _ := spoke.with(t); local != "198.51.100.7" {
			t.Errorf("from %s", local)
		}
		snapshot, err := hub.Snapshot(t.Context())
		if err != nil || len(snapshot.SAs) != 1 || snapshot.SAs[0].Peer.NATRemote {
			t.Errorf("the hub has %+v, %v", snapshot.SAs, err)
		}
		w.mu.Lock()
		looks := w.looks
		w.mu.Unlock()
		if looks > 5 {
			t.Errorf("%d look-ups", looks)
		}
	})
}

func TestTheNextAddressOfANameIsTried(t *testing.T) {
	inTime(t, func(t *testing.T, w *wires) {
		hub, spoke := w.node(t, "hub", "192.0.2.1"), w.node(t, "spoke", "198.51.100.7")
		defer hub.stop()
		defer spoke.stop()
		w.name("hub.example.net", "192.0.2.1", "192.0.2.0") // 192.0.2.0 is dead, and first
		spoke.Connect(hubByName)
		time.Sleep(time.Second)
		if x := spoke.wanted(t); x.Remote != netip.MustParseAddr("192.0.2.0") {
			t.Errorf("at first: %+v", x)
		}
		time.Sleep(5 * time.Minute)
		if x := spoke.wanted(t); !x.Up || x.Remote != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("afterwards: %+v", x)
		}
	})
}

func TestANameThatMovesIsFollowed(t *testing.T) {
	inTime(t, func(t *testing.T, w *wires) {
		hub, spoke := w.node(t, "hub", "192.0.2.1"), w.node(t, "spoke", "198.51.100.7")
		defer hub.stop()
		defer spoke.stop()
		w.name("hub.example.net", "192.0.2.1")
		spoke.Connect(hubByName)
		time.Sleep(time.Minute)
		if x := spoke.wanted(t); !x.Up {
			t.Fatalf("at first: %+v", x)
		}
		w.move(hub, "192.0.2.9")
		w.name("hub.example.net", "192.0.2.9")
		time.Sleep(10 * time.Minute)
		if x := spoke.wanted(t); !x.Up || x.Remote != netip.MustParseAddr("192.0.2.9") {
			t.Errorf("afterwards: %+v", x)
		}
	})
}

func TestAWantThatIsTakenBackIsNotConnected(t *testing.T) {
	inTime(t, func(t *testing.T, w *wires) {
		hub, spoke := w.node(t, "hub", "192.0.2.1"), w.node(t, "spoke", "198.51.100.7")
		defer hub.stop()
		defer spoke.stop()
		w.name("hub.example.net", "192.0.2.1")
		spoke.Connect(hubByName)
		time.Sleep(10 * time.Millisecond) // it is being looked up
		spoke.Disconnect(hubByName)
		spoke.Disconnect(hubByName)
		time.Sleep(time.Minute)
		if who, _, _ := spoke.with(t); who != "" {
			t.Errorf("connected with %s", who)
		}
		spoke.Connect(hubByName)
		spoke.Connect(hubByName)
		time.Sleep(time.Minute)
		if who, _, _ := spoke.with(t); who != "hub" {
			t.Errorf("wanted again, connected with %q", who)
		}
		spoke.Disconnect(hubByName)
		time.Sleep(time.Minute)
		if who, _, _ := hub.with(t); who != "" {
			t.Errorf("the hub still has %s", who)
		}
	})
}

func TestAnotherAddressOfOursIsUsedFromThenOn(t *testing.T) {
	inTime(t, func(t *testing.T, w *wires) {
		hub, spoke := w.node(t, "hub", "192.0.2.1"), w.node(t, "spoke", "198.51.100.7")
		defer hub.stop()
		defer spoke.stop()
		old, now := spoke.at, netip.MustParseAddr("198.51.100.8")
		spoke.Connect(Want{Connection: "net", Host: "192.0.2.1", Port: 500, Local: netip.AddrPortFrom(old, 500)})
		time.Sleep(time.Minute)
		w.move(spoke, now.String())
		spoke.Readdress("net", old, now)
		time.Sleep(10 * time.Second)
		who, local, _ := spoke.with(t)
		if _, _, seen := hub.with(t); who != "hub" || local != now.String() || seen != now.String() {
			t.Errorf("with %q from %s, the hub sees %s", who, local, seen)
		}
		if n, err := spoke.Terminate(t.Context(), "hub", false); n == 0 || err != nil {
			t.Errorf("terminate: %d, %v", n, err)
		}
		time.Sleep(time.Minute)
		if who, local, _ := spoke.with(t); who != "hub" || local != now.String() {
			t.Errorf("again with %q from %s", who, local)
		}
	})
}

// TestAServerOfBothFamiliesIsFound: by IPv4 first, then by IPv6; what we have no address of is
// not tried, and a literal address waits for one.
func TestAServerOfBothFamiliesIsFound(t *testing.T) {
	const four, six, spokeSix = "192.0.2.1", "2001:db8::1", "2001:db8:1::7"
	for _, c := range []struct {
		name, host string
		hubAt      string // alone
		by         string // which of its addresses the spoke ends at
	}{
		{"a name, all is well", "hub.example.net", "", "198.51.100.7"},
		{"a name, IPv4 is dead", "hub.example.net", six, spokeSix},
		{"IPv6 as written", six, "", spokeSix},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, func(t *testing.T, w *wires) {
				hub, spoke := w.node(t, "hub", four), w.node(t, "spoke", "198.51.100.7")
				defer hub.stop()
				defer spoke.stop()
				w.mu.Lock()
				w.nodes[netip.MustParseAddr(six)], w.nodes[netip.MustParseAddr(spokeSix)] = hub, spoke
				if c.hubAt != "" {
					delete(w.nodes, netip.MustParseAddr(four))
				}
				w.mu.Unlock()
				w.name("hub.example.net", six, four)
				want := Want{Connection: "net", Host: c.host, Port: 500}
				for _, local := range []string{"198.51.100.7", spokeSix} {
					want.Local = netip.AddrPortFrom(netip.MustParseAddr(local), 500)
					spoke.Connect(want)
				}
				time.Sleep(10 * time.Minute)
				if who, local, _ := spoke.with(t); who != "hub" || local != c.by {
					t.Errorf("with %q from %s, want from %s", who, local, c.by)
				}
			})
		})
	}
}
