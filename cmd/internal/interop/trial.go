// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dmvpn/ikev2/wire"
)

// A trial is one scenario with the roles dealt out.
type trial struct {
	ctx           context.Context
	scenario      *scenario
	net           *network
	watch         *watch
	first, second end               // who initiates the IKE SA, and who responds
	third         end               // the other spoke; nil: none
	wires         map[string]*watch // beside watch, by the place
}

// run starts both programs, runs the scenario and leaves what there was to see in
// folder.
func (s *scenario) run(ctx context.Context, name string, first, second program, folder string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	if err := os.RemoveAll(folder); err != nil { // what an earlier run left
		return err
	}
	w, err := newNetwork(ctx, name, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.lab.Close()) }()
	t := &trial{ctx: ctx, scenario: s, net: w, first: first(w.first, w.second), second: second(w.second, w.first), wires: map[string]*watch{}}
	if t.watch, err = newWatch(w.lab.Get("inet"), w.second, w.first.seen); err != nil {
		return err
	}
	others := []place{}
	if s.three {
		t.third = second(w.third, w.second)
		others = []place{w.first, w.third}
	}
	for _, p := range others {
		wire, err := newWatch(w.lab.Get("inet"), p, p.seen)
		if err != nil {
			return err
		}
		t.wires[p.node.Name] = wire
	}
	defer func() { err = errors.Join(err, t.save(folder)) }()
	mine, theirs := s.policies()
	if err := t.second.start(ctx, theirs); err != nil {
		return fmt.Errorf("the responder: %w", err)
	}
	if err := t.first.start(ctx, mine); err != nil {
		return fmt.Errorf("the initiator: %w", err)
	}
	if t.third != nil {
		last := mine
		last.first, last.third = false, true
		if err := t.third.start(ctx, last); err != nil {
			return fmt.Errorf("the other spoke: %w", err)
		}
	}
	if err := s.steps(t); err != nil {
		return err
	}
	for name, wire := range t.wires {
		if wire.clear() {
			return fmt.Errorf("GRE was on the wire of %s in clear", name)
		}
	}
	if t.watch.clear() {
		return errors.New("GRE was on the wire in clear")
	}
	return nil
}

// save writes logs and packets.
func (t *trial) save(folder string) error {
	if err := t.watch.save(filepath.Join(folder, "wire.pcap")); err != nil {
		return err
	}
	texts := map[string]string{"wire.txt": t.watch.String(), "initiator.log": t.first.transcript(), "responder.log": t.second.transcript()}
	if t.third != nil {
		texts["third.log"] = t.third.transcript()
	}
	for name, wire := range t.wires {
		texts["wire-"+name+".txt"] = wire.String()
		if err := wire.save(filepath.Join(folder, "wire-"+name+".pcap")); err != nil {
			return err
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// until asks again and again until what it asks for is so; the error is the last one.
func (t *trial) until(wait time.Duration, is func() error) error {
	deadline := time.Now().Add(wait)
	for {
		err := is()
		if err == nil || time.Now().After(deadline) || t.ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// settle is how long both ends may take to be of one mind: a rekey and the
// deletion of what it replaced, on a slow machine.
const settle = 15 * time.Second

// state is what both ends say: the first one's view.
func (t *trial) state() (mine, theirs []ikeSA, err error) {
	if mine, err = t.first.sas(); err == nil {
		theirs, err = t.second.sas()
	}
	return mine, theirs, err
}

// agreed waits until both ends name the same SPIs: one IKE SA with so many Child
// SAs, and good, if it is not nil, is content with them.
func (t *trial) agreed(children int, good func(ikeSA) error) (ikeSA, error) {
	var sa ikeSA
	err := t.until(settle, func() error {
		mine, theirs, err := t.state()
		if err != nil {
			return err
		}
		if !agree(mine, theirs) || len(mine) != 1 || len(mine[0].children) != children {
			return fmt.Errorf("they do not agree on one IKE SA with %d Child SAs: the initiator has %s; the responder has %s",
				children, describe(mine), describe(theirs))
		}
		sa = mine[0]
		if good != nil {
			return good(sa)
		}
		return nil
	})
	return sa, err
}

// up connects, and checks that both agree and the tunnel carries.
func (t *trial) up() (ikeSA, error) {
	if err := t.first.connect(t.ctx); err != nil {
		return ikeSA{}, fmt.Errorf("connect: %w", err)
	}
	sa, err := t.agreed(1, nil)
	if err != nil {
		return sa, err
	}
	return sa, t.carries(sa)
}

// carries checks that the tunnel carries, by the SPIs that both ends and their logs
// name.
func (t *trial) carries(sa ikeSA) error {
	if err := t.net.ping(3); err != nil {
		return err
	}
	child := sa.children[0]
	err := t.until(settle, func() error {
		if err := t.net.ping(1); err != nil {
			return err
		}
		if t.net.bare {
			return nil
		}
		if out, in := t.watch.spis(); out != child.out || in != child.in {
			return fmt.Errorf("ESP goes out by %s and comes in by %s, but the initiator has %v", out, in, sa)
		}
		return nil
	})
	if err != nil || t.scenario.multipoint {
		return err // dmvpnd's log has no IKE SPIs
	}
	for _, e := range []end{t.first, t.second} {
		log := strings.ToLower(e.transcript())
		for _, spi := range []string{sa.initiator, sa.responder, child.in, child.out} {
			if !strings.Contains(log, spi) {
				return fmt.Errorf("the log of %s does not name the SPI %s", t.role(e), spi)
			}
		}
	}
	return nil
}

func (t *trial) role(e end) string {
	switch e {
	case t.first:
		return "the initiator"
	case t.third:
		return "the other spoke"
	}
	return "the responder"
}

// gone waits until neither end has an IKE SA.
func (t *trial) gone(wait time.Duration) error {
	return t.until(wait, func() error {
		mine, theirs, err := t.state()
		if err == nil && len(mine)+len(theirs) > 0 {
			err = fmt.Errorf("still there: the initiator has %s; the responder has %s", describe(mine), describe(theirs))
		}
		return err
	})
}

// refused connects, which has to fail with an error that says why: strongSwan's log,
// which is at least at one end, names the notification.
func (t *trial) refused(notify string) error {
	err := t.first.connect(t.ctx)
	if err == nil {
		return errors.New("connected, but should have been refused")
	}
	return t.until(settle, func() error {
		if logged := t.first.transcript() + t.second.transcript(); !strings.Contains(logged, "N("+notify+")") {
			return fmt.Errorf("no log has the notification %s; the initiator says: %w", notify, err)
		}
		return nil
	})
}

// crowd leaves so many half-open IKE SAs at the second place that both programs ask
// for cookies: requests of strangers who never go on.
func (t *trial) crowd() error {
	// We ask from 64 on, of all addresses, or 16 of one.
	const addresses, each = 5, 14
	request, err := strangersRequest(t.scenario.both.ike)
	if err != nil {
		return err
	}
	for i := range addresses {
		from := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		if err := t.net.lab.Get("inet").AddAddress("right", from.String()+"/24"); err != nil {
			return err
		}
		for range each {
			if err := request.send(t.net, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// seenNotify is an error unless the notification was on the wire; who reads the wire may be behind.
func (t *trial) seenNotify(n wire.NotifyType, fromFirst bool) error {
	return t.until(settle, func() error {
		if !t.watch.notified(n, fromFirst) {
			return fmt.Errorf("no notification %v was on the wire", n)
		}
		return nil
	})
}
