// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// upsets are what happens to peers in the field: both begin at once, one loses all it
// knew, a NAT forgets its mapping.
func upsets() []*scenario {
	return []*scenario{
		{name: "both-at-once", steps: bothAtOnce},
		{name: "restart-initiator", steps: restarted(func(t *trial) (end, place) { return t.first, t.net.first })},
		{name: "restart-responder", both: settings{liveness: 2 * time.Second}, slow: true,
			steps: restarted(func(t *trial) (end, place) { return t.second, t.net.second })},
		{name: "nat-rebind", nat: true, both: settings{liveness: 2 * time.Second}, steps: rebound},
	}
}

// bothAtOnce: both connect at the same time. They may end with an IKE SA of each, but
// they agree on them, and the tunnel carries.
func bothAtOnce(t *trial) error {
	var both sync.WaitGroup
	var mine, theirs error
	both.Go(func() { mine = t.first.connect(t.ctx) })
	both.Go(func() { theirs = t.second.connect(t.ctx) })
	both.Wait()
	if mine != nil && theirs != nil {
		return errors.Join(mine, theirs)
	}
	var before string
	return t.until(settle, func() error {
		mine, theirs, err := t.state()
		if err != nil {
			return err
		}
		now := describe(mine)
		if !agree(mine, theirs) || len(mine) == 0 || now != before {
			before = now
			return fmt.Errorf("they do not agree, or not yet for long: the initiator has %s; the responder has %s", now, describe(theirs))
		}
		time.Sleep(2 * time.Second)
		if mine, theirs, err = t.state(); err != nil || describe(mine) != now || !agree(mine, theirs) {
			return fmt.Errorf("was %s, and 2 s later the initiator has %s; the responder has %s: %w", now, describe(mine), describe(theirs), err)
		}
		return t.net.ping(3)
	})
}

// restarted: a program is killed, its kernel forgets, it is started again, and the
// initiator connects again. What the other one had of it is replaced.
func restarted(who func(*trial) (end, place)) func(*trial) error {
	return func(t *trial) error {
		old, err := t.up()
		if err != nil {
			return err
		}
		e, at := who(t)
		if err := e.kill(t.ctx); err != nil {
			return err
		}
		if err := forget(at); err != nil && !t.net.bare {
			return err
		}
		first, second := t.scenario.policies()
		policy := second
		if e == t.first {
			policy = first
		}
		if err := e.start(t.ctx, policy); err != nil {
			return fmt.Errorf("start again: %w", err)
		}
		if e == t.second {
			// The initiator finds out by itself that its SA is no good any more.
			if err := t.until(4*time.Minute, func() error {
				left, err := t.first.sas()
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("the responder has forgotten all, and the initiator still has %s", describe(left))
				}
				return err
			}); err != nil {
				return err
			}
		}
		if err := t.first.connect(t.ctx); err != nil {
			return fmt.Errorf("connect again: %w", err)
		}
		sa, err := t.agreed(1, func(sa ikeSA) error {
			if sa.initiator == old.initiator {
				return fmt.Errorf("still the old one: %v", sa)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return t.carries(sa)
	}
}

// forget takes the SAs out of a place's kernel.
func forget(at place) error {
	if err := errors.Join(at.node.Net.XfrmPolicyFlush(), at.node.Net.XfrmStateFlush(netlink.XFRM_PROTO_ESP)); err != nil {
		return fmt.Errorf("forget all SAs: %w", err)
	}
	return nil
}

// rebound: the NAT forgets, and gives the initiator another port. The responder follows
// it with the first authenticated message from there.
func rebound(t *trial) error {
	sa, err := t.up()
	if err != nil {
		return err
	}
	gate := t.net.lab.Get("nat")
	for _, rule := range [][]string{
		{"-t", "nat", "-F", "POSTROUTING"},
		{"-t", "nat", "-A", "POSTROUTING", "-o", "out", "-p", "udp", "-j", "MASQUERADE", "--to-ports", "30000-30100"},
	} {
		if _, err := gate.Run(t.ctx, "iptables-legacy", rule...); err != nil {
			return err
		}
	}
	if err := gate.Net.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("the NAT does not forget: %w", err)
	}
	err = t.until(30*time.Second, func() error {
		_, err := t.net.first.node.Ping(t.net.second.overlay, 0, time.Second)
		return err
	})
	if err != nil {
		return fmt.Errorf("after the NAT forgot: %w", err)
	}
	err = t.until(settle, func() error {
		if t.watch.count(func(s seen) bool { return s.esp != "" && !s.fromFirst && s.first >= 30000 && s.first <= 30100 }) == 0 {
			return errors.New("no ESP went to the new port")
		}
		return nil
	})
	if err != nil {
		return err
	}
	again, err := t.agreed(1, nil)
	if err != nil {
		return err
	}
	if again.initiator != sa.initiator {
		return fmt.Errorf("%v became another IKE SA: %v", sa, again)
	}
	return nil
}
