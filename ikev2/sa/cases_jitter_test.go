// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// TestAShortReauthenticationIsNoStorm, though jitter is made for lifetimes that are longer.
func TestAShortReauthenticationIsNoStorm(t *testing.T) {
	const every = 2 * time.Minute
	for name, jitter := range map[string]time.Duration{"the default's": 0, "longer than that": 6 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			p := pair.New(1, pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", Change: func(c *sa.Connection) {
				c.Lifetimes = sa.Lifetimes{Reauthentication: every, Jitter: jitter}
				c.SetDefaults()
			}})
			newest := func() uint64 {
				all := p.Ends[0].Machine.Infos(p.Now)
				if len(all) == 0 {
					t.Fatal("no IKE SA is left")
				}
				return all[len(all)-1].ID
			}
			p.Connect()
			p.Run()
			first := newest()
			p.Wait(every*9/10 - time.Second)
			if n := newest(); n != first {
				t.Fatalf("IKE SA %d was replaced too soon, now there is %d", first, n)
			}
			p.Wait(every/10 + 2*time.Second)
			if n := newest(); n == first || len(p.Ends[0].Machine.Infos(p.Now)) > 2 {
				t.Errorf("after two minutes the newest is %d, with %d in all", n, len(p.Ends[0].Machine.Infos(p.Now)))
			}
			if err := p.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestJitterOfOneLifetimeOutlivesAnother: one that never ends takes it from none that does.
func TestJitterOfOneLifetimeOutlivesAnother(t *testing.T) {
	for name, c := range map[string]struct {
		lifetimes sa.Lifetimes
		jitter    time.Duration
	}{
		"both by default":    {sa.Lifetimes{}, sa.DefaultChildSoft / 10},
		"IKE SAs never":      {sa.Lifetimes{IKESoft: -1}, sa.DefaultChildSoft / 10},
		"Child SAs never":    {sa.Lifetimes{ChildSoft: -1}, sa.DefaultIKESoft / 10},
		"nothing ever":       {sa.Lifetimes{IKESoft: -1, ChildSoft: -1}, 0},
		"reauthentication":   {sa.Lifetimes{IKESoft: -1, ChildSoft: -1, Reauthentication: time.Hour}, 6 * time.Minute},
		"what was asked for": {sa.Lifetimes{Jitter: time.Second}, time.Second},
	} {
		x := sa.Connection{Lifetimes: c.lifetimes}
		x.SetDefaults()
		if x.Lifetimes.Jitter != c.jitter {
			t.Errorf("%s: jitter is %v, not %v", name, x.Lifetimes.Jitter, c.jitter)
		}
	}
}

// TestSoftLimitsOfUseHaveJitter: SAs that carry much the same are not rekeyed at once.
func TestSoftLimitsOfUseHaveJitter(t *testing.T) {
	const bytes, packets = 1_000_000_000, 5_000_000
	seen := map[uint64]bool{}
	for seed := range uint64(5) {
		p := pair.New(seed, pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", Change: func(c *sa.Connection) {
			c.Lifetimes.SoftBytes, c.Lifetimes.HardBytes = bytes, 11*bytes/10
			c.Lifetimes.SoftPackets, c.Lifetimes.HardPackets = packets, 11*packets/10
		}})
		p.Connect()
		p.Run()
		for _, e := range p.Ends {
			c := e.Ledger.Held(e.Machine.Infos(p.Now)[0].Children[0].Inbound)
			if c.SoftBytes > bytes || c.SoftBytes <= bytes*9/10 || c.SoftPackets > packets || c.SoftPackets <= packets*9/10 || c.HardBytes != 11*bytes/10 || c.HardPackets != 11*packets/10 {
				t.Errorf("limits are %d and %d octets, %d and %d packets", c.SoftBytes, c.HardBytes, c.SoftPackets, c.HardPackets)
			}
			seen[c.SoftBytes], seen[c.SoftPackets] = true, true
		}
	}
	if len(seen) < 15 {
		t.Errorf("20 limits have %d values", len(seen))
	}
}
