// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"time"

	"dmvpn/ikev2/sa"
	"dmvpn/nhrpd/engine"
)

// trouble is what stands between us and an end that has no SA.
type trouble struct {
	at     netip.AddrPort // that IKE tries
	since  time.Time
	reason string // "": nothing has come back so far
}

// String is what an operator reads of it.
func (t trouble) String() string {
	since := t.since.Format(time.DateTime)
	if t.reason == "" {
		return fmt.Sprintf("no answer from %s since %s", t.at, since)
	}
	return fmt.Sprintf("%s: %s, since %s", t.at, t.reason, since)
}

// tried notes where IKE tries to reach an end from now on, or again.
func (e *end) tried(at netip.AddrPort) {
	if e.trouble.at != at {
		e.trouble = trouble{at: at, since: time.Now()}
	}
}

// failed notes why an attempt came to nothing.
func (s *secure) failed(f sa.Failed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.failedAt(f) {
		if e.asked != nil && e.trouble.at == f.Remote {
			if e.trouble.reason = f.Reason; f.Reason == sa.NoAnswer {
				e.trouble.reason = ""
			}
		}
	}
}

// failedAt gives the ends that a failure is about.
func (s *secure) failedAt(f sa.Failed) (list []*end) {
	if f.Identity.Type != 0 {
		if e := s.named[f.Identity.Name()]; e != nil {
			list = append(list, e)
		}
		return list
	}
	if e := s.claimed[endpointOf("", f.Remote)]; e != nil {
		list = append(list, e)
	}
	return list
}

// where is the place of an end: where IKE met it, if it has.
func (s *secure) where(by engine.Endpoint) engine.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(by); e != nil && e.met() {
		return e.at
	}
	return by.Place()
}

// why says what stands between us and an endpoint that has no SA, "" if nothing does.
func (s *secure) why(by engine.Endpoint) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(by)
	if e == nil || e.up || e.asked == nil {
		return ""
	}
	return e.trouble.String()
}
