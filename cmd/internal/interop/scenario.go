// SPDX-License-Identifier: Apache-2.0

package main

import "time"

// A scenario is one thing that has to work between the two programs, whoever
// initiates.
type scenario struct {
	name string
	new  bool // wants strongSwan 6.0
	nat  bool // the initiator is behind a NAT
	slow bool // waits for timers of the programs

	multipoint bool // a DMVPN: each end makes its own tunnel device
	three      bool // with another spoke, of the hub's programs

	both  settings
	other func(*settings)    // what is different at the responder
	steps func(*trial) error // what is done, and checked
}

// The policy of scenarios that are about something else.
const (
	plainIKE = "aes128gcm16-prfsha256-x25519"
	plainESP = "aes128gcm16"
	gre      = "47"
	ospf     = "89"
)

// policies gives the settings of the initiator and of the responder.
func (s *scenario) policies() (first, second settings) {
	first = s.both
	for _, d := range []struct {
		field *string
		value string
	}{{&first.auth, "psk"}, {&first.key, goodKey}, {&first.ike, plainIKE}, {&first.esp, plainESP}, {&first.protocol, gre}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	second = first
	first.first, second.many = true, s.three
	first.many = s.three
	if s.other != nil {
		s.other(&second)
	}
	return first, second
}

// limit is how long a scenario may take. Half of them run side by side on one
// emulated processor.
func (s *scenario) limit() time.Duration {
	if s.slow || s.multipoint {
		return 8 * time.Minute
	}
	return 3 * time.Minute
}
