// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"dmvpn/cmd/internal/lab"
)

// espScenarios lists what is tried with dmvpnd and a router of strongSwan, the kernel
// and FRR, in the order of the table: all with traffic.
func espScenarios() []*scenario {
	return []*scenario{
		{name: "udp-gcm", both: settings{encap: true}, steps: traffic, multipoint: true},
	}
}

// traffic: the tunnel comes up, with NHRP in it, and carries packets of all sizes.
func traffic(t *trial) error {
	if _, err := t.registered(); err != nil {
		return err
	}
	return t.carriesAll()
}

// registered waits until NHRP stands too.
func (t *trial) registered() (ikeSA, error) {
	for _, e := range []end{t.first, t.second} {
		if err := e.connect(t.ctx); err != nil {
			return ikeSA{}, fmt.Errorf("%s: %w", t.role(e), err)
		}
	}
	return t.agreed(1, nil)
}

// carriesAll sends numbered packets both ways: small ones, ones that just fit and ones
// that are cut into fragments inside. None is lost.
func (t *trial) carriesAll() error {
	first, second := t.net.first, t.net.second
	const perSecond, each = 50, 40
	for i, size := range []int{64, 1300, 3000} {
		port := uint16(4000 + i)
		there, err := first.node.Stream(second.node, netip.AddrPortFrom(second.overlay, port), perSecond, size)
		if err != nil {
			return err
		}
		back, err := second.node.Stream(first.node, netip.AddrPortFrom(first.overlay, port), perSecond, size)
		if err != nil {
			return err
		}
		err = t.until(settle, func() error {
			if there.Received() < each || back.Received() < each {
				return fmt.Errorf("%d octets: %d packets there, %d back", size, there.Received(), back.Received())
			}
			return nil
		})
		err = errors.Join(err, whole(there.Stop()), whole(back.Stop()))
		if err != nil {
			return fmt.Errorf("packets of %d octets: %w", size, err)
		}
	}
	return t.encapsulated()
}

// whole is an error unless all of a stream arrived.
func whole(r lab.Report) error {
	if r.Lost() > 0 || r.Sent == 0 {
		return errors.New(r.String())
	}
	return nil
}

// encapsulated is an error unless ESP went both ways as the scenario has it, and in no
// other way.
func (t *trial) encapsulated() error {
	raw := t.scenario.both.raw && !t.scenario.both.encap
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
