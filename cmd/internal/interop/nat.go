// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"dmvpn/ikev2/wire"
)

// nats are the scenarios whose initiator is behind a NAT.
func nats() []*scenario {
	all := []*scenario{
		{name: "nat-psk-keepalives", nat: true, both: settings{keepalive: 3 * time.Second}, steps: keepsAlive},
		{name: "nat-cert-ecdsa", nat: true, both: settings{auth: "ecdsa"}, steps: throughNAT},
	}
	for _, side := range sides {
		all = append(all,
			&scenario{name: "nat-rekey-child-" + side.name, nat: true, steps: behindNAT(rekeyed(side.actor, true))},
			&scenario{name: "nat-rekey-ike-" + side.name, nat: true, steps: behindNAT(rekeyed(side.actor, false))})
	}
	return all
}

func throughNAT(t *trial) error { return behindNAT(comesUp)(t) }

// behindNAT checks, when the steps are done, that all went by port 4500, where ESP is
// encapsulated, after IKE_SA_INIT.
func behindNAT(steps func(*trial) error) func(*trial) error {
	return func(t *trial) error {
		if err := steps(t); err != nil {
			return err
		}
		sa, err := t.agreed(1, nil)
		if err != nil {
			return err
		}
		if !sa.children[0].encap {
			return fmt.Errorf("not encapsulated in UDP: %v", sa)
		}
		n := t.watch.count(func(s seen) bool {
			return s.port != 4500 && !(s.message != nil && s.message.Exchange == wire.IKESAInit)
		})
		if n > 0 {
			return fmt.Errorf("%d packets beside port 4500", n)
		}
		return nil
	}
}

// keepsAlive: while nothing is sent the one behind the NAT sends keepalives, and the
// other one does not.
func keepsAlive(t *trial) error {
	if err := throughNAT(t); err != nil {
		return err
	}
	alive := func(fromFirst bool) int {
		return t.watch.count(func(s seen) bool { return s.keepalive && s.fromFirst == fromFirst })
	}
	before := alive(true)
	err := t.until(20*time.Second, func() error {
		if n := alive(true) - before; n < 3 {
			return fmt.Errorf("%d keepalives in 20 s", n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if alive(false) > 0 {
		return errors.New("keepalives from outside of the NAT")
	}
	return t.net.ping(2)
}
