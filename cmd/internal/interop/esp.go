// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	cbcESP = "aes128-sha256"
	dead   = 2 * time.Second
)

// espScenarios lists what is tried with dmvpnd and a router of strongSwan, the kernel
// and FRR, in the order of the table: all with traffic, and with NHRP in the tunnel.
func espScenarios() []*scenario {
	all := []*scenario{
		{name: "udp-gcm", both: settings{encap: true}, steps: traffic},
		{name: "udp-gcm-esn", both: settings{esp: plainESP + "-esn"}, steps: withESN},
		{name: "udp-cbc-rekeys", both: settings{esp: cbcESP}, steps: rekeysUnderTraffic},
		{name: "udp-tunnel-mode", both: settings{tunnel: true}, steps: traffic},
		{name: "udp-deleted", steps: deletedAndBack},
		{name: "udp-dead-peer", both: settings{liveness: dead}, slow: true, steps: deadAndBack},
		{name: "udp-restarted", both: settings{liveness: dead}, slow: true, steps: restartedAndBack},
		{name: "udp-nat", nat: true, both: settings{raw: true}, steps: traffic},
		{name: "raw-gcm-rekeys", both: settings{raw: true}, steps: rekeysUnderTraffic},
		{name: "raw-cbc-esn", both: settings{raw: true, esp: cbcESP + "-esn"}, steps: withESN},
		{name: "raw-tunnel-mode", both: settings{raw: true, tunnel: true}, steps: traffic},
		{name: "raw-forced-into-udp", both: settings{raw: true, encap: true}, steps: traffic},
		{name: "udp-dmvpn", three: true, steps: wholeDMVPN},
		{name: "raw-dmvpn", three: true, both: settings{raw: true}, steps: wholeDMVPN},
	}
	for _, s := range all {
		s.multipoint = true
	}
	return all
}

// traffic: the tunnel comes up, with NHRP in it, and carries packets of all sizes.
func traffic(t *trial) error {
	if _, err := t.registered(); err != nil {
		return err
	}
	return t.carriesAll()
}

// withESN: the kernel has extended sequence numbers.
func withESN(t *trial) error {
	if err := traffic(t); err != nil {
		return err
	}
	for _, e := range []end{t.first, t.second} {
		if g, ok := e.(*gateway); ok {
			if on, err := g.extended(); err != nil || !on {
				return fmt.Errorf("the kernel's SA has no extended sequence numbers: %w", err)
			}
		}
	}
	return nil
}

// rekeysUnderTraffic: Child SA and IKE SA are rekeyed by each side while numbered packets
// go both ways, and none is lost.
func rekeysUnderTraffic(t *trial) error {
	sa, err := t.registered()
	if err != nil {
		return err
	}
	numbered, err := t.stream(200)
	if err != nil {
		return err
	}
	for _, child := range []bool{true, false, true} {
		for _, by := range []end{t.first, t.second} {
			if sa, err = t.rekey(by, sa, child); err != nil {
				return errors.Join(fmt.Errorf("by %s, of the Child SA: %t: %w", t.role(by), child, err), numbered.stop())
			}
		}
	}
	if err := numbered.stop(); err != nil {
		return err
	}
	return t.carriesAll()
}

// deletedAndBack: each side deletes the IKE SA, and then the Child SA; what is sent
// brings them back.
func deletedAndBack(t *trial) error {
	sa, err := t.registered()
	if err != nil {
		return err
	}
	for _, what := range []struct {
		name string
		do   func(end) error
	}{
		{"IKE SA", func(e end) error { return e.deleteIKE(t.ctx) }},
		{"Child SA", func(e end) error { return e.deleteChild(t.ctx) }},
	} {
		for _, by := range []end{t.first, t.second} {
			if err := what.do(by); err != nil {
				return fmt.Errorf("delete the %s by %s: %w", what.name, t.role(by), err)
			}
			if sa, err = t.back(sa); err != nil {
				return fmt.Errorf("after %s deleted the %s: %w", t.role(by), what.name, err)
			}
		}
	}
	return t.carriesAll()
}

// deadAndBack: the wire is cut, both sides find out, and are back when it is mended.
func deadAndBack(t *trial) error {
	sa, err := t.registered()
	if err != nil {
		return err
	}
	if err := t.net.cut(); err != nil {
		return err
	}
	if err := t.gone(2 * time.Minute); err != nil {
		return err
	}
	if err := t.net.mend(); err != nil {
		return err
	}
	if _, err := t.back(sa); err != nil {
		return fmt.Errorf("after the wire was mended: %w", err)
	}
	for _, e := range []end{t.first, t.second} {
		if g, ok := e.(*gateway); ok {
			if err := g.remind(); err != nil {
				return err
			}
		}
	}
	return t.carriesAll()
}

// restartedAndBack: our daemon is killed and started again.
func restartedAndBack(t *trial) error {
	sa, err := t.registered()
	if err != nil {
		return err
	}
	first, second := t.scenario.policies()
	policy, e := first, t.first
	if _, ours := e.(*daemon); !ours {
		policy, e = second, t.second
	}
	if err := e.kill(t.ctx); err != nil {
		return err
	}
	if err := e.start(t.ctx, policy); err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	if _, err := t.back(sa); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	return t.carriesAll()
}
