// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// wholeDMVPN: two spokes, one ours and one of other people's programs, at a hub of either.
// They reach the hub's site, and each other by the hub; then the hub tells them of the
// shorter way, they resolve each other, make an SA, and go directly.
func wholeDMVPN(t *trial) error {
	for _, e := range []end{t.first, t.third, t.second} {
		if err := e.connect(t.ctx); err != nil {
			return fmt.Errorf("%s: %w", t.role(e), err)
		}
	}
	if err := t.staticRoutes(); err != nil {
		return err
	}
	for _, p := range []place{t.net.first, t.net.third} {
		err := t.until(settle, func() error {
			_, err := p.node.Ping(t.net.second.gateway(), 0, time.Second)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s and the hub's site: %w", p.node.Name, err)
		}
	}
	if err := t.until(time.Minute, t.direct); err != nil {
		return fmt.Errorf("no direct way: %w", err)
	}
	if err := t.single(); err != nil {
		return err
	}
	return t.carriesDirectly()
}

// single waits until the spokes have one IKE SA with each other: both may have begun at once,
// and one of two goes. While there are two, their kernel drops what comes by the one that
// its policy does not name. What they have with the hub may be two of strongSwan's own.
func (t *trial) single() error {
	const times = 3 // that nothing changes, a second apart
	before, same := "", 0
	return t.until(time.Minute, func() error {
		one, err := t.first.sas()
		if err != nil {
			return err
		}
		other, err := t.third.sas()
		if err != nil {
			return err
		}
		shared := slices.DeleteFunc(slices.Clone(one), func(s ikeSA) bool {
			return !slices.ContainsFunc(other, func(o ikeSA) bool { return o.initiator == s.initiator && o.responder == s.responder })
		})
		now := describe(shared)
		if same++; now != before || len(shared) != 1 {
			before, same = now, 0
		}
		if same < times {
			time.Sleep(time.Second)
			return fmt.Errorf("the spokes have %s / %s", describe(one), describe(other))
		}
		return nil
	})
}

// staticRoutes leads our hub to the site of a spoke with FRR, whose nhrpd registers its
// address alone.
func (t *trial) staticRoutes() error {
	if _, ok := t.second.(*daemon); !ok {
		return nil
	}
	p := t.net.first
	_, err := t.net.second.node.Run(t.ctx, "ip", "route", "add", p.lan.String(), "via", p.overlay.String(), "dev", "dmvpn0", "onlink")
	return err
}

// direct is nil if both spokes reach each other's site, and packets go both ways between
// them without the hub.
func (t *trial) direct() error {
	first, third := t.net.first, t.net.third
	there, back := t.between()
	if _, err := first.node.Ping(third.gateway(), 0, time.Second); err != nil {
		return fmt.Errorf("there: %w", err)
	}
	if _, err := third.node.Ping(first.gateway(), 0, time.Second); err != nil {
		return fmt.Errorf("back: %w", err)
	}
	moreThere, moreBack := t.between()
	if moreThere-there < 2 || moreBack-back < 2 {
		return fmt.Errorf("%d packets there and %d back between the spokes, for 4 of two pings", moreThere-there, moreBack-back)
	}
	return nil
}

// between counts ESP between the spokes, seen at the first.
func (t *trial) between() (there, back int) {
	for _, s := range t.wires[t.net.first.node.Name].packets() {
		switch {
		case s.esp == "" || s.other != t.net.third.seen:
		case s.fromFirst:
			there++
		default:
			back++
		}
	}
	return there, back
}

// carriesDirectly sends numbered packets between the spokes' sites, none of which is lost
// or seen at the hub.
func (t *trial) carriesDirectly() error {
	const each, others = 40, 20 // others: NHRP and checks with the hub meanwhile
	first, third := t.net.first, t.net.third
	atHub := func() int { return t.watch.count(func(s seen) bool { return s.esp != "" }) }
	before := atHub()
	s, err := streamBetween(first, third, first.gateway(), third.gateway(), 1300)
	if err != nil {
		return err
	}
	err = t.until(2*settle, func() error {
		if s.there.Received() < each || s.back.Received() < each {
			return fmt.Errorf("between the spokes: %d packets there, %d back", s.there.Received(), s.back.Received())
		}
		return nil
	})
	if err := errors.Join(err, s.stop()); err != nil {
		return fmt.Errorf("between the spokes: %w", err)
	}
	if seen := atHub() - before; seen > others {
		return fmt.Errorf("between the spokes: %d packets were seen at the hub", seen)
	}
	return nil
}

// streamBetween sends numbered packets to addresses at two places.
func streamBetween(a, b place, atA, atB netip.Addr, size int) (*streams, error) {
	const perSecond = 25
	s := &streams{size: size}
	port := uint16(4000 + size)
	var err error
	if s.there, err = a.node.Stream(b.node, netip.AddrPortFrom(atB, port), perSecond, size); err != nil {
		return nil, err
	}
	s.back, err = b.node.Stream(a.node, netip.AddrPortFrom(atA, port), perSecond, size)
	return s, err
}
