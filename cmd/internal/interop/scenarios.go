// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"dmvpn/ikev2/wire"
)

// scenarios lists what is tried, in the order of the table.
func scenarios() []*scenario {
	all := suites()
	for _, recent := range []bool{false, true} {
		name := "defaults-5.9"
		if recent {
			name = "defaults-6.0"
		}
		all = append(all, &scenario{name: name, new: recent, both: settings{ike: "default", esp: "default"}, steps: comesUp})
	}
	for _, auth := range []string{"ecdsa", "rsa", "rsa-pss", "ed25519"} {
		all = append(all, &scenario{name: "cert-" + auth, both: settings{auth: auth}, steps: comesUp})
	}
	all = append(all,
		&scenario{name: "cert-chain-fragments", both: settings{auth: "chain", fragment: 576}, steps: inFragments},
		&scenario{name: "cookie", both: settings{ike: plainIKE, cookies: true}, steps: withCookie},
		&scenario{name: "invalid-ke", both: settings{ike: "aes128gcm16-prfsha256-x25519-ecp384"},
			other: func(s *settings) { s.ike = "aes128gcm16-prfsha256-ecp384" }, steps: withInvalidKE},
		&scenario{name: "no-proposal-ike", other: func(s *settings) { s.ike = "aes256-sha384-ecp384" }, steps: noProposalIKE},
		&scenario{name: "no-proposal-child", other: func(s *settings) { s.esp = "aes256-sha384" }, steps: childRefused("NO_PROP")},
		&scenario{name: "bad-psk", other: func(s *settings) { s.key = "not-the-right-one" }, steps: badKey},
		&scenario{name: "bad-selectors", other: func(s *settings) { s.protocol = ospf }, steps: childRefused("TS_UNACCEPT")},
	)
	all = append(all, rekeys()...)
	all = append(all, ends()...)
	all = append(all, nats()...)
	return append(all, upsets()...)
}

// suites are the encryptions with the key exchanges: each of both at least twice.
func suites() []*scenario {
	var all []*scenario
	for _, c := range []struct{ name, ike, esp string }{
		{"gcm-x25519", "aes128gcm16-prfsha256-x25519", "aes128gcm16"},
		{"gcm256-ecp384", "aes256gcm16-prfsha384-ecp384", "aes256gcm16"},
		{"gcm256-modp2048", "aes256gcm16-prfsha512-modp2048", "aes256gcm16"},
		{"cbc-modp2048", "aes128-sha256-modp2048", "aes128-sha256"},
		{"cbc256-ecp384", "aes256-sha384-ecp384", "aes256-sha384"},
		{"cbc256-x25519", "aes256-sha512-x25519", "aes256-sha512"},
		{"chacha-x25519", "chacha20poly1305-prfsha256-x25519", "chacha20poly1305"},
		{"chacha-ecp384", "chacha20poly1305-prfsha384-ecp384", "chacha20poly1305"},
		{"chacha-modp2048", "chacha20poly1305-prfsha512-modp2048", "chacha20poly1305"},
	} {
		all = append(all, &scenario{name: "psk-" + c.name, both: settings{ike: c.ike, esp: c.esp}, steps: comesUp})
	}
	return all
}

func comesUp(t *trial) error {
	_, err := t.up()
	return err
}

func inFragments(t *trial) error {
	if _, err := t.up(); err != nil {
		return err
	}
	for _, fromFirst := range []bool{true, false} {
		if n := t.watch.fragments(fromFirst); n < 3 {
			return fmt.Errorf("%d fragments, from the initiator: %t", n, fromFirst)
		}
	}
	return nil
}

func withCookie(t *trial) error {
	if err := t.crowd(); err != nil {
		return err
	}
	if _, err := t.up(); err != nil {
		return err
	}
	return errors.Join(t.seenNotify(wire.Cookie, false), t.seenNotify(wire.Cookie, true))
}

func withInvalidKE(t *trial) error {
	if _, err := t.up(); err != nil {
		return err
	}
	for _, method := range []uint16{wire.Curve25519, wire.ECP384} {
		n := t.watch.count(func(s seen) bool {
			if s.message == nil || !s.fromFirst || s.message.Exchange != wire.IKESAInit {
				return false
			}
			ke, ok := wire.Find[*wire.KeyExchange](s.message.Payloads)
			return ok && ke.Method == method
		})
		if n == 0 {
			return fmt.Errorf("the initiator did not try %s", wire.KeyExchangeName(method))
		}
	}
	return t.seenNotify(wire.InvalidKEPayload, false)
}

func noProposalIKE(t *trial) error {
	if err := t.refused("NO_PROP"); err != nil {
		return err
	}
	return errors.Join(t.seenNotify(wire.NoProposalChosen, false), t.gone(settle))
}

func badKey(t *trial) error {
	if err := t.refused("AUTH_FAILED"); err != nil {
		return err
	}
	return t.gone(settle)
}

// childRefused: IKE_AUTH refuses the Child SA. The IKE SA may stay without one
// (RFC 7296, section 1.2) or go, at both ends alike.
func childRefused(notify string) func(*trial) error {
	return func(t *trial) error {
		if err := t.refused(notify); err != nil {
			return err
		}
		return t.until(settle, func() error {
			mine, theirs, err := t.state()
			if err != nil {
				return err
			}
			for _, sa := range mine {
				if len(sa.children) > 0 {
					return fmt.Errorf("the initiator has a Child SA: %v", sa)
				}
			}
			if !agree(mine, theirs) {
				return fmt.Errorf("the initiator has %s; the responder has %s", describe(mine), describe(theirs))
			}
			return nil
		})
	}
}

// sides are who acts in a scenario: the one that initiated the IKE SA or the other.
var sides = []struct {
	name  string
	actor func(*trial) end
	first bool
}{
	{"by-initiator", func(t *trial) end { return t.first }, true},
	{"by-responder", func(t *trial) end { return t.second }, false},
}

// ends are deletion and dead peer detection, by each side.
func ends() []*scenario {
	var all []*scenario
	for _, side := range sides {
		all = append(all,
			&scenario{name: "delete-child-" + side.name, steps: func(t *trial) error {
				if _, err := t.up(); err != nil {
					return err
				}
				if err := side.actor(t).deleteChild(t.ctx); err != nil {
					return fmt.Errorf("delete the Child SA: %w", err)
				}
				// Who deletes the last one may close the IKE SA with it.
				return t.until(settle, func() error {
					mine, theirs, err := t.state()
					if err == nil && (!agree(mine, theirs) || len(mine) > 1 || len(mine) == 1 && len(mine[0].children) > 0) {
						err = fmt.Errorf("the initiator has %s; the responder has %s", describe(mine), describe(theirs))
					}
					return err
				})
			}},
			&scenario{name: "delete-ike-" + side.name, steps: func(t *trial) error {
				if _, err := t.up(); err != nil {
					return err
				}
				if err := side.actor(t).deleteIKE(t.ctx); err != nil {
					return fmt.Errorf("delete the IKE SA: %w", err)
				}
				return t.gone(settle)
			}},
			deadPeer(side.name, side.actor, side.first))
	}
	return all
}

// deadPeer: one side asks whether the other lives, keeps the SA while it answers,
// and drops it when it does not. The other never asks.
func deadPeer(name string, actor func(*trial) end, first bool) *scenario {
	s := &scenario{name: "dpd-" + name, slow: true}
	const often = 2 * time.Second
	if first {
		s.both.liveness = often
		s.other = func(p *settings) { p.liveness = 0 }
	} else {
		s.other = func(p *settings) { p.liveness = often }
	}
	s.steps = func(t *trial) error {
		sa, err := t.up()
		if err != nil {
			return err
		}
		asked := t.watch.exchanges(wire.Informational, first)
		err = t.until(30*time.Second, func() error {
			if n := t.watch.exchanges(wire.Informational, first) - asked; n < 2 {
				return fmt.Errorf("asked %d times in 30 s of silence", n)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if again, err := t.agreed(1, nil); err != nil || again.String() != sa.String() {
			return fmt.Errorf("the peer answered, but %v became %v: %w", sa, again, err)
		}
		if err := t.net.cut(); err != nil {
			return err
		}
		return t.until(5*time.Minute, func() error {
			left, err := actor(t).sas()
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("the peer is dead, and still there is %s", describe(left))
			}
			return err
		})
	}
	return s
}
