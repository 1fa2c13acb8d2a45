// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/nhrpd/engine"
)

var (
	hubNBMA   = engine.Endpoint{NBMA: netip.MustParseAddr("192.0.2.1")}
	spokeNBMA = engine.Endpoint{NBMA: netip.MustParseAddr("198.51.100.11")}
)

func hubConfig() engine.Config {
	return engine.Config{
		Tunnel: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.1/24"), Authentication: "hush-hus", Redirect: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/24")}, HoldingTime: 600 * time.Second, MTU: 1400,
	}
}

func spokeConfig(nhs string) engine.Config {
	return engine.Config{
		Tunnel: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.11/24"), Authentication: "hush-hus", Shortcut: true,
		Networks: []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24")}, HoldingTime: 600 * time.Second, MTU: 1400,
		NHS: []engine.NHS{{NBMA: nhs, Routes: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}}},
	}
}

// pair is a hub and a spoke, not yet running.
func pair(nhs string) (hub, spoke *node) {
	w := &wires{nodes: map[netip.Addr]*node{}}
	return w.node("hub", "192.0.2.1", hubConfig()), w.node("spoke", "198.51.100.11", spokeConfig(nhs))
}

// registered checks both ends of a registration.
func registered(t *testing.T, hub, spoke *node) {
	t.Helper()
	if got := hub.hop("10.0.0.11"); got != spokeNBMA {
		t.Errorf("hub: 10.0.0.11 is bound to %v, want %v", got, spokeNBMA)
	}
	if got := hub.route("10.10.1.0/24"); got != netip.MustParseAddr("10.0.0.11") {
		t.Errorf("hub: 10.10.1.0/24 by %v, want 10.0.0.11", got)
	}
	if got := spoke.hop("10.0.0.1"); got != hubNBMA {
		t.Errorf("spoke: 10.0.0.1 is bound to %v, want %v", got, hubNBMA)
	}
	if got := spoke.route("10.10.0.0/16"); got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("spoke: 10.10.0.0/16 by %v, want 10.0.0.1", got)
	}
}

func TestASpokeRegistersAndBothEndsForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		defer hub.run(t, zerolog.Nop())()
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		registered(t, hub, spoke)
		if c := spoke.service.Counters(); c.Sent == 0 || c.SendFailed != 0 || c.Failed != 0 {
			t.Errorf("counters: %+v", c)
		}
	})
}

func TestAServersNameIsLookedUpUntilItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("hub.example.net")
		defer hub.run(t, zerolog.Nop())()
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(10 * time.Second)
		if got := spoke.hop("10.0.0.1"); got.NBMA.IsValid() {
			t.Fatalf("bound to %v before the name was known", got)
		}
		spoke.mu.Lock()
		spoke.names["hub.example.net"] = []netip.Addr{netip.AddrFrom16(hubNBMA.NBMA.As16())}
		spoke.mu.Unlock()
		time.Sleep(2 * time.Minute)
		registered(t, hub, spoke)
	})
}

func TestARestartKnowsItsPeersAndSweepsWhatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		endHub := hub.run(t, zerolog.Nop())
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		endHub()

		// What is left in the data plane that no state speaks of.
		stale := engine.Endpoint{NBMA: netip.MustParseAddr("203.0.113.9")}
		old := netip.MustParseAddr("10.0.0.99")
		_ = hub.Bind(engine.Bind{NextHop: old, To: stale})
		_ = hub.Bind(engine.Bind{NextHop: netip.MustParseAddr("10.0.0.98"), To: spokeNBMA})
		_ = hub.Install(netip.MustParsePrefix("10.99.0.0/16"), old, engine.Endpoint{})

		defer hub.run(t, zerolog.Nop())()
		time.Sleep(Grace - time.Second)
		registered(t, hub, spoke)
		if !hub.accepted[stale] || hub.hop("10.0.0.99") != stale {
			t.Error("a peer of the run before went before its grace was over")
		}
		time.Sleep(2 * time.Second)
		registered(t, hub, spoke)
		if hub.accepted[stale] {
			t.Error("a peer of the run before that nobody wants is still there")
		}
		if got := hub.hop("10.0.0.98"); got.NBMA.IsValid() {
			t.Errorf("a next hop that nobody wants is still bound to %v", got)
		}
		if got := hub.route("10.99.0.0/16"); got.IsValid() {
			t.Errorf("a route that nobody wants is still there by %v", got)
		}
	})
}

func TestARouteThatSomeoneElseRemovedIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		defer hub.run(t, zerolog.Nop())()
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		_ = spoke.Remove(netip.MustParsePrefix("10.10.0.0/16"))
		spoke.service.RoutesChanged()
		_ = hub.Remove(netip.MustParsePrefix("10.10.1.0/24"))
		time.Sleep(checkEvery + time.Second) // the hub is told nothing
		registered(t, hub, spoke)
	})
}

func TestStateIsSavedSoonAndAgainAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		defer hub.run(t, zerolog.Nop())()
		spoke.failSave = errors.New("no space left on device")
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		spoke.mu.Lock()
		if spoke.saves == 0 || spoke.saves > 3 {
			t.Errorf("%d attempts to save in the first second, want 1 and no storm", spoke.saves)
		}
		spoke.failSave = nil
		spoke.mu.Unlock()
		time.Sleep(failedDelay)
		spoke.mu.Lock()
		defer spoke.mu.Unlock()
		if spoke.state == nil {
			t.Error("not saved after the failure was over")
		}
		hub.mu.Lock()
		defer hub.mu.Unlock()
		if hub.state == nil {
			t.Error("the hub's state is not saved")
		}
	})
}

func TestBrokenStateIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		hub.state = []byte(`{"version": 99999}`)
		var log bytes.Buffer
		endHub := hub.run(t, zerolog.New(&log))
		endSpoke := spoke.run(t, zerolog.Nop())
		time.Sleep(time.Second)
		registered(t, hub, spoke)
		endSpoke()
		endHub()
		if !strings.Contains(log.String(), "saved state not taken up") {
			t.Errorf("nothing in the log:\n%s", &log)
		}
	})
}

func TestNoSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		spoke.config.Authentication = "wrongkey"
		var log bytes.Buffer
		endHub := hub.run(t, zerolog.New(&log).Level(zerolog.TraceLevel))
		endSpoke := spoke.run(t, zerolog.New(&log).Level(zerolog.TraceLevel))
		time.Sleep(time.Minute)
		endSpoke()
		endHub()
		if log.Len() == 0 {
			t.Error("nothing was logged")
		}
		for _, secret := range []string{"hush-hus", "wrongkey"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%q is in the log:\n%s", secret, &log)
			}
			if bytes.Contains(hub.state, []byte(secret)) || bytes.Contains(spoke.state, []byte(secret)) {
				t.Errorf("%q is in the saved state", secret)
			}
		}
	})
}

// Withdraw returns with the hub's reply: what it had of us is gone then, and so is what we had.
func TestWithdrawTellsTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		defer hub.run(t, zerolog.Nop())()
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		registered(t, hub, spoke)
		withdrawn(t, spoke, 2*time.Millisecond)
		if got := hub.hop("10.0.0.11"); got.NBMA.IsValid() {
			t.Errorf("hub: 10.0.0.11 is still bound to %v", got)
		}
		if got := hub.route("10.10.1.0/24"); got.IsValid() {
			t.Errorf("hub: 10.10.1.0/24 is still routed by %v", got)
		}
		withdrawn(t, spoke, 0) // a second one finds it done
	})
}

// Who answers no purge is waited for a second, and a caller with less patience not so long.
func TestWithdrawEndsWithoutAHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		end := hub.run(t, zerolog.Nop())
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		registered(t, hub, spoke)
		end()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := spoke.service.Withdraw(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after 300 ms: %v", err)
		}
		if got := spoke.hop("10.0.0.1"); got != hubNBMA {
			t.Errorf("spoke: before the end 10.0.0.1 is bound to %v", got)
		}
		withdrawn(t, spoke, 700*time.Millisecond)
	})
}

// withdrawn withdraws a node, which takes so long, and leaves nothing that stands.
func withdrawn(t *testing.T, n *node, takes time.Duration) {
	t.Helper()
	begin := time.Now()
	if err := n.service.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took != takes {
		t.Errorf("%s: it took %v, want %v", n.name, took, takes)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.hops)+len(n.routes)+len(n.accepted) > 0 || n.fallback.IsValid() {
		t.Errorf("%s: still there: %v %v %v %v", n.name, n.hops, n.routes, n.accepted, n.fallback)
	}
}

func TestAFloodIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := pair("192.0.2.1")
		s := New(Config{Engine: hub.config, Random: func() uint64 { return 7 }, DataPlane: hub, Router: hub, Sender: hub, Resolver: hub, State: hub, Log: zerolog.Nop()})
		taken := 0
		for range packetQueue + 100 {
			if s.Deliver(engine.Packet{From: spokeNBMA, Data: []byte{1}}) {
				taken++
			}
		}
		if c := s.Counters(); taken != packetQueue || c.QueueDropped != 100 || c.Received != packetQueue+100 {
			t.Errorf("taken %d, %+v", taken, c)
		}
	})
}

// Clear returns with what was ended; what is registered stays.
func TestClearEndsANegativeEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, spoke := pair("192.0.2.1")
		defer hub.run(t, zerolog.Nop())()
		defer spoke.run(t, zerolog.Nop())()
		time.Sleep(time.Second)
		spoke.service.Deliver(engine.Miss{NextHop: netip.MustParseAddr("10.0.0.77")})
		time.Sleep(time.Second)
		for _, want := range []engine.Cleared{{Negatives: 1}, {}} {
			done, err := spoke.service.Clear(t.Context(), []netip.Prefix{netip.MustParsePrefix("10.0.0.77/32")})
			if err != nil || done != want {
				t.Errorf("ended %+v, %v; want %+v", done, err, want)
			}
		}
		registered(t, hub, spoke)
	})
}

func TestAfterTheEndEveryCallReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, _ := pair("192.0.2.1")
		hub.run(t, zerolog.Nop())()
		if _, err := hub.service.Clear(context.Background(), nil); !errors.Is(err, ErrStopped) {
			t.Errorf("Clear: %v", err)
		}
		if _, err := hub.service.Snapshot(context.Background()); !errors.Is(err, ErrStopped) {
			t.Errorf("snapshot: %v, want ErrStopped", err)
		}
		for range 2 * inputQueue {
			hub.service.SetLocalNBMA(netip.Addr{}, netip.Addr{})
			hub.service.RoutesChanged()
		}
	})
}

// A loop that is late judges nobody by what it has not read yet: each answer is here when
// its time is over, and only then is anything looked at.
func TestALateLoopReadsBeforeItJudges(t *testing.T) {
	hub, spoke := pair("192.0.2.1")
	hub.config.Probe, spoke.config.Probe, spoke.config.ProbeIdle = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	defer hub.run(t, zerolog.Nop())()
	s := New(Config{
		Engine: spoke.config, Random: func() uint64 { return uint64(time.Now().UnixNano()) },
		DataPlane: spoke, Router: spoke, Sender: spoke, Resolver: spoke, State: spoke, Log: zerolog.Nop(),
	})
	spoke.service = s
	ctx := t.Context()
	s.handle(ctx, time.Now(), engine.LocalNBMA{Address: spoke.nbma})
	path := func() engine.PathState { return s.machine.Snapshot(time.Now()).Servers[0].Path }
	for deadline := time.Now().Add(20 * time.Second); path() != engine.PathDirect; s.tick(ctx) {
		if time.Now().After(deadline) {
			t.Fatalf("not registered: %+v", s.machine.Snapshot(time.Now()).Servers[0])
		}
		time.Sleep(time.Millisecond)
	}
	probes := func() uint64 { return s.machine.Snapshot(time.Now()).Counters["probe-request-sent"] }
	for round, before := 0, probes(); round < 10; before = probes() {
		for deadline := time.Now().Add(20 * time.Second); probes() == before || len(s.packets) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("no answer to %d probes", probes())
			}
			if time.Sleep(time.Millisecond); probes() == before {
				s.tick(ctx)
			}
		}
		time.Sleep(60 * time.Millisecond) // the next probe is due
		s.tick(ctx)
		if path() != engine.PathDirect {
			t.Fatalf("round %d: the hub is taken for lost", round)
		}
		round++
	}
}
