// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"testing"
	"time"

	"dmvpn/nhrpd/engine"
)

// The carrier of a tunnel that follows its servers (Cisco's if-state nhrp).
func TestCasesOfTheCarrier(t *testing.T) {
	follows := func(change ...func(*engine.Config)) func(*engine.Config) {
		return func(c *engine.Config) {
			c.IfState = true
			for _, x := range change {
				x(c)
			}
		}
	}
	said := func(t *testing.T, x *clustered, when string, list ...bool) {
		t.Helper()
		want(t, when, fmt.Sprint(x.s1.Carrier), fmt.Sprint(list))
	}
	probed := func(c *engine.Config) { c.Probe, c.ProbeIdle = 200*time.Millisecond, 2*time.Second }
	rows(t, []row{
		{"IF-01: it is there with the first server that answers, and not before", func(t *testing.T) {
			x := newClustered(t, func(c *engine.Config) {
				follows()(c)
				for i := range c.NHS {
					c.NHS[i].NBMA = fmt.Sprintf("192.0.2.%d", 101+i) // nobody is there
				}
			})
			said(t, x, "at first")
			x.Run(30 * time.Second)
			said(t, x, "when nobody has answered", false)
			y := newClustered(t, follows())
			said(t, y, "when somebody has", true)
		}},
		{"IF-02: it stays while one of several answers, and is lost soon after the last one is", func(t *testing.T) {
			for name, change := range map[string]func(*engine.Config){"probed": probed, "not probed": func(*engine.Config) {}} {
				x := newClustered(t, follows(change))
				x.away[1], x.away[2] = true, true
				x.Run(2 * time.Minute)
				said(t, x, name+", one is left", true)
				x.away[3] = true
				x.Run(2 * time.Minute)
				said(t, x, name+", none is left", true, false)
				requests := x.s1.Machine.Snapshot(x.Now).Counters["registration-request-sent"]
				x.Run(5 * time.Minute)
				if now := x.s1.Machine.Snapshot(x.Now).Counters["registration-request-sent"]; now < requests+6 {
					t.Errorf("%s: %d registrations were sent without a carrier", name, now-requests)
				}
				x.away[2] = false
				x.Run(3 * time.Minute)
				said(t, x, name+", one is back", true, false, true)
			}
		}},
		{"IF-03: a silent last server, whose routes are kept, is none that answers", func(t *testing.T) {
			x := newClustered(t, follows(probed, func(c *engine.Config) { c.NHS = c.NHS[:1] }))
			x.away[1] = true
			x.Run(6 * time.Second)
			want(t, "its route", x.s1.Installed[prefix("10.10.0.0/16")], addr(hubProtocol))
			said(t, x, "after a few seconds", true, false)
			x.away[1] = false
			x.Run(70 * time.Second)
			said(t, x, "when it answers again", true, false, true)
		}},
		{"IF-04: a restart leaves it as it is, up or down, until it is known how it is", func(t *testing.T) {
			x := newClustered(t, follows(func(c *engine.Config) { c.NHS = c.NHS[:1] }))
			x.s1.Start(x.s1.Kill())
			x.Run(10 * time.Second)
			said(t, x, "restarted with it", true)
			x.away[1] = true
			x.s1.Start(x.s1.Kill())
			x.Run(10 * time.Second)
			said(t, x, "restarted when the server has just gone", true)
			x.Run(time.Minute)
			said(t, x, "a minute later", true, false)
			x.s1.Start(x.s1.Kill())
			x.Run(time.Minute)
			said(t, x, "restarted without it", true, false)
			x.away[1] = false
			x.Run(2 * time.Minute)
			said(t, x, "with the server", true, false, true)
			x.s1.Carrier = nil
			x.s1.Start(nil)
			x.Run(5 * time.Second)
			said(t, x, "restarted with nothing known", true)
		}},
		{"IF-05: an SA that is made anew is no reason to lose it, one that is gone is", func(t *testing.T) {
			secured := true
			x := newClustered(t, follows(probed, func(c *engine.Config) { c.NHS = c.NHS[:1] }))
			x.s1.Secured = func(engine.Endpoint) bool { return secured }
			x.s1.Start(x.s1.Kill())
			x.Run(30 * time.Second)
			to := engine.Endpoint{NBMA: addr(hubNBMA)}
			secured = false
			x.s1.Input(engine.Unsecured{To: to})
			x.Run(time.Second)
			secured = true
			x.s1.Input(engine.Secured{To: to})
			x.Run(30 * time.Second)
			said(t, x, "made anew", true)
			secured = false
			x.s1.Input(engine.Unsecured{To: to})
			x.Run(10 * time.Second)
			said(t, x, "gone", true, false)
			secured = true
			x.s1.Input(engine.Secured{To: to})
			x.Run(10 * time.Second)
			said(t, x, "back", true, false, true)
		}},
		{"IF-06: a tunnel that does not follow them is never told of one", func(t *testing.T) {
			x := newClustered(t, func(*engine.Config) {})
			x.away[1], x.away[2], x.away[3] = true, true, true
			x.Run(10 * time.Minute)
			said(t, x, "at no time")
		}},
	})
}
