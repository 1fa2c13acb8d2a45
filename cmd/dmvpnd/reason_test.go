// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"regexp"
	"testing"

	"dmvpn/ikev2"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
	"dmvpn/nhrpd/engine"
)

func TestWhyAnEndHasNoSA(t *testing.T) {
	who := func(name string) auth.Identity {
		i, err := auth.ParseIdentity(name)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	here, other := netip.AddrPortFrom(natted, 4501), netip.AddrPortFrom(natted, 4502)
	for _, c := range []struct {
		name string
		by   engine.Endpoint
		fail []sa.Failed
		want string
	}{
		{"nothing has failed so far", known("s2", natted, 4501), nil, `^no answer from 203\.0\.113\.22:4501 since \d{4}-`},
		{"nobody answers", known("s2", natted, 4501), []sa.Failed{{Remote: here, Identity: who("s2"), Reason: sa.NoAnswer}}, `^no answer from 203\.0\.113\.22:4501 since \d{4}-`},
		{"the peer refuses", known("s2", natted, 4501), []sa.Failed{{Remote: here, Identity: who("s2"), Reason: "AUTHENTICATION_FAILED"}}, `^203\.0\.113\.22:4501: AUTHENTICATION_FAILED, since `},
		{"another one is refused there", known("s2", natted, 4501), []sa.Failed{{Remote: here, Identity: who("s3"), Reason: "refused"}}, `^no answer from`},
		{"it was refused where it was thought to be before", known("s2", natted, 4501), []sa.Failed{{Remote: other, Identity: who("s2"), Reason: "refused"}}, `^no answer from`},
		{"whoever is there refuses", place(natted, 4501), []sa.Failed{{Remote: here, Reason: "refused"}}, `^203\.0\.113\.22:4501: refused, since `},
	} {
		s := &secure{directory: newDirectory()}
		e := bound(&s.directory, hop2, c.by)
		e.asked = &ikev2.Want{Host: natted.String(), Port: 4501}
		e.tried(destination(*e.asked))
		for _, f := range c.fail {
			s.failed(f)
		}
		if got := s.why(c.by); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: %q", c.name, got)
		}
		e.up = true
		if got := s.why(c.by); got != "" {
			t.Errorf("%s: up, and %q", c.name, got)
		}
	}
}
