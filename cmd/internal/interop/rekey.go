// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"dmvpn/ikev2/wire"
)

// rekeys are rekeys of Child SAs, with and without a key exchange of their own, and
// of IKE SAs, by each side; and with additional key exchanges.
func rekeys() []*scenario {
	var all []*scenario
	for _, side := range sides {
		all = append(all,
			&scenario{name: "rekey-child-" + side.name, steps: exchanging(false, rekeyed(side.actor, true))},
			&scenario{name: "rekey-child-pfs-" + side.name, both: settings{esp: plainESP + "-x25519"}, steps: exchanging(true, rekeyed(side.actor, true))},
			&scenario{name: "rekey-ike-" + side.name, steps: rekeyed(side.actor, false)})
	}
	const two = "-x25519-ke1_ecp384"
	hybrid := settings{ike: "aes256gcm16-prfsha384" + two, esp: "aes256gcm16" + two}
	for _, side := range sides {
		all = append(all,
			&scenario{name: "ke1-ecp384-rekey-child-" + side.name, new: true, both: hybrid, steps: twice(rekeyed(side.actor, true))},
			&scenario{name: "ke1-ecp384-rekey-ike-" + side.name, new: true, both: hybrid, steps: twice(rekeyed(side.actor, false))})
	}
	return all
}

// rekeyed: the side rekeys, traffic goes on without loss, all that is left has new
// SPIs, and both agree about them. Then again, for the first rekey swaps what the
// sides are to each other.
func rekeyed(actor func(*trial) end, child bool) func(*trial) error {
	return func(t *trial) error {
		sa, err := t.up()
		if err != nil {
			return err
		}
		pings := t.ping()
		for range 2 {
			if sa, err = t.rekey(actor(t), sa, child); err != nil {
				break
			}
		}
		return errors.Join(err, pings.stop())
	}
}

func (t *trial) rekey(by end, old ikeSA, child bool) (ikeSA, error) {
	do := by.rekeyIKE
	if child {
		do = by.rekeyChild
	}
	if err := do(t.ctx); err != nil {
		return old, fmt.Errorf("rekey: %w", err)
	}
	sa, err := t.agreed(1, func(sa ikeSA) error {
		sameIKE := sa.initiator == old.initiator || sa.responder == old.responder
		sameChild := sa.children[0].in == old.children[0].in || sa.children[0].out == old.children[0].out
		if sameIKE != child || sameChild == child {
			return fmt.Errorf("was %v, and is %v after the rekey", old, sa)
		}
		return nil
	})
	if err != nil {
		return sa, err
	}
	return sa, t.carries(sa)
}

// rekeyWithKE is how charon logs a rekey of a Child SA with a key exchange.
var rekeyWithKE = regexp.MustCompile(`CREATE_CHILD_SA request \d+ \[ N\(REKEY_SA\).* KE `)

// exchanging checks, when the steps are done, whether there was a new key exchange.
func exchanging(keys bool, steps func(*trial) error) func(*trial) error {
	return func(t *trial) error {
		if err := steps(t); err != nil {
			return err
		}
		if rekeyWithKE.MatchString(t.first.transcript()+t.second.transcript()) != keys {
			return fmt.Errorf("a KE payload in the rekey: %t, wanted %t", !keys, keys)
		}
		return nil
	}
}

// twice checks, when the steps are done, that the second key exchanges took place.
func twice(steps func(*trial) error) func(*trial) error {
	return func(t *trial) error {
		if err := steps(t); err != nil {
			return err
		}
		if n := t.watch.exchanges(wire.IKEIntermediate, true); n != 1 {
			return fmt.Errorf("%d IKE_INTERMEDIATE requests", n)
		}
		if n := t.watch.exchanges(wire.IKEFollowupKE, true) + t.watch.exchanges(wire.IKEFollowupKE, false); n != 2 {
			return fmt.Errorf("%d IKE_FOLLOWUP_KE requests in two rekeys", n)
		}
		return nil
	}
}

// pinging is a ping that goes on beside the scenario.
type pinging struct {
	over       chan struct{}
	ended      chan struct{}
	sent, lost atomic.Int32
}

// ping begins to ping, ten times a second.
func (t *trial) ping() *pinging {
	p := &pinging{over: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-p.over:
				return
			case <-time.After(100 * time.Millisecond):
			}
			p.sent.Add(1)
			if t.net.ping(1) != nil {
				p.lost.Add(1)
			}
		}
	}()
	return p
}

// stop ends it; it is an error if one ping was not answered.
func (p *pinging) stop() error {
	close(p.over)
	<-p.ended
	if p.lost.Load() > 0 {
		return fmt.Errorf("%d of %d pings were lost", p.lost.Load(), p.sent.Load())
	}
	return nil
}
