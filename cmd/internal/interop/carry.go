// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"dmvpn/cmd/internal/lab"
)

// registered waits until NHRP stands too.
func (t *trial) registered() (ikeSA, error) {
	for _, e := range []end{t.first, t.second} {
		if err := e.connect(t.ctx); err != nil {
			return ikeSA{}, fmt.Errorf("%s: %w", t.role(e), err)
		}
	}
	return t.agreed(1, nil)
}

// back sends until it is answered, through another Child SA than the old one's, about
// which both agree.
func (t *trial) back(old ikeSA) (ikeSA, error) {
	var sa ikeSA
	err := t.until(90*time.Second, func() error {
		if _, err := t.net.first.node.Ping(t.net.second.overlay, 0, time.Second); err != nil {
			return err
		}
		mine, theirs, err := t.state()
		if err != nil {
			return err
		}
		if !agree(mine, theirs) || len(mine) != 1 || len(mine[0].children) != 1 || mine[0].children[0] == old.children[0] {
			return fmt.Errorf("was %v; the initiator has %s; the responder has %s", old, describe(mine), describe(theirs))
		}
		sa = mine[0]
		return nil
	})
	return sa, err
}

// streams are numbered packets both ways.
type streams struct {
	size        int
	there, back *lab.Stream
}

// stream begins to send packets of so many octets both ways.
func (t *trial) stream(size int) (*streams, error) {
	first, second := t.net.first, t.net.second
	return streamBetween(first, second, first.overlay, second.overlay, size)
}

// stop ends them; it is an error if one packet did not arrive.
func (s *streams) stop() (err error) {
	for _, r := range []lab.Report{s.there.StopWithin(settle), s.back.StopWithin(settle)} {
		if r.Lost() > 0 || r.Received == 0 {
			err = errors.Join(err, fmt.Errorf("packets of %d octets: %v", s.size, r))
		}
	}
	return err
}

// carriesAll sends numbered packets both ways: small ones, ones that just fit and ones
// that are cut into fragments inside; and TCP.
func (t *trial) carriesAll() error {
	const each = 20
	var all []*streams
	for _, size := range []int{64, 1300, 3000} {
		s, err := t.stream(size)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	err := t.until(2*settle, func() error {
		for _, s := range all {
			if s.there.Received() < each || s.back.Received() < each {
				return fmt.Errorf("packets of %d octets: %d there, %d back", s.size, s.there.Received(), s.back.Received())
			}
		}
		return nil
	})
	for _, s := range all {
		err = errors.Join(err, s.stop())
	}
	if err != nil {
		return err
	}
	if err := t.talk(); err != nil {
		return err
	}
	return t.encapsulated()
}

// talk sends TCP, in pieces that are larger than a packet.
func (t *trial) talk() error {
	const blocks = 50
	talk, err := t.net.first.node.Talk(t.net.second.node, netip.AddrPortFrom(t.net.second.overlay, 5001))
	if err != nil {
		return err
	}
	err = t.until(2*settle, func() error {
		if n := talk.Blocks(); n < blocks {
			return fmt.Errorf("TCP: %d blocks", n)
		}
		return nil
	})
	return errors.Join(err, talk.Stop().Err)
}

// encapsulated is an error unless ESP went both ways as the scenario has it, and in no
// other way.
func (t *trial) encapsulated() error {
	s := t.scenario
	raw := s.both.raw && !s.both.encap && !s.nat
	good, bad := map[bool]int{}, 0
	for _, s := range t.watch.packets() {
		switch {
		case s.esp == "":
		case (s.port == 0) == raw:
			good[s.fromFirst]++
		default:
			bad++
		}
	}
	if good[true] == 0 || good[false] == 0 || bad > 0 {
		return fmt.Errorf("ESP on the wire: %d from the initiator and %d to it as it has to be, %d else", good[true], good[false], bad)
	}
	return nil
}
