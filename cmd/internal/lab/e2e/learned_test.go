// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/instance"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/member"
	"dmvpn/nhrpd/wire"
)

// TestOneMemberDoesNotTakeAllUnreachableRoutes: spoke3 runs no daemon of ours; it registers and withdraws
// ever new prefixes until the hub refuses them. spoke1 comes, and its site has a route and is guarded.
func TestOneMemberDoesNotTakeAllUnreachableRoutes(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 3})
	ctx := t.Context()
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	heard := make(chan *wire.Packet, 256)
	x, err := member.Connect(ctx, member.Config{
		Node: c.Spokes[2], Local: cloud.NBMA(3), Hub: cloud.HubNBMA(), Identity: cloud.Identity("spoke3"),
		KeyFile: c.Settings("spoke3").Tunnels[0].IPsec.PSKFile, Key: 42,
		Taken: func(nhrp []byte) {
			if p, err := wire.Decode(nhrp); err == nil {
				select {
				case heard <- p:
				default: // nobody waits for so many
				}
			}
		},
	})
	check(t, err)
	t.Cleanup(x.Close)
	id := 1000
	ask := func(kind wire.Type, entries ...wire.CIE) (codes []wire.Code) {
		t.Helper()
		until(t, c, patience, func() error { // the hub hears no more of it in a second than a peer may say
			id += 4096
			p := registering(id, 3)
			p.Type, p.CIEs = kind, entries
			check(t, x.Send(octets(t, p)))
			for again := time.After(2 * time.Second); ; {
				select {
				case r := <-heard:
					if r.RequestID != p.RequestID || r.Type != kind+1 { // a request's reply is the next one
						continue
					}
					for _, e := range r.CIEs {
						codes = append(codes, e.Code)
					}
					return nil
				case <-again:
					return errNotYet
				}
			}
		})
		return codes
	}
	lan := func(n int) wire.CIE {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 100<<24|64<<16|uint32(n)<<6)
		return wire.CIE{PrefixLength: 26, HoldingTime: 600, Protocol: netip.AddrFrom4(a)}
	}
	ask(wire.RegistrationRequest, wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: 600})
	const atOnce = 32
	for n := 0; n < instance.LearnedOfOne; n += atOnce {
		var all []wire.CIE
		for i := range atOnce {
			all = append(all, lan(n+i))
		}
		if codes := ask(wire.RegistrationRequest, all...); len(codes) != atOnce || slices.Max(codes) != wire.CodeSuccess {
			t.Fatalf("from %d: %v", n, codes)
		}
		ask(wire.PurgeRequest, all...)
	}
	beyond := lan(instance.LearnedOfOne)
	for range 3 {
		if codes := ask(wire.RegistrationRequest, beyond, lan(5)); !slices.Equal(codes, []wire.Code{wire.CodeInsufficientResources, wire.CodeSuccess}) {
			t.Errorf("one more, and one that stands: %v", codes)
		}
	}
	check(t, c.Start("spoke1"))
	until(t, c, patience, func() error { return c.Registered(ctx, "spoke1") })
	until(t, c, patience, func() error { return c.Routed("hub", cloud.Network(1)) })
	ping(t, c.HubHost, 1)
	out, err := c.Hub.Run(ctx, "ip", "route", "show", "type", "unreachable")
	check(t, err)
	if n := strings.Count(out, "unreachable 100."); n != instance.LearnedOfOne || !strings.Contains(out, "unreachable "+cloud.Network(1).String()+" ") || strings.Contains(out, beyond.Protocol.String()+"/") {
		t.Errorf("%d of spoke3's stand unreachable:\n%.2000s", n, out)
	}
	if n := nhrpCounters(t, c).Events["unreachable-limit"]; n != 3 {
		t.Errorf("the hub has counted %d", n)
	}
	if out := c.Log("hub", 1000); strings.Count(out, "a prefix gets no route") != 1 || strings.Contains(out, "WRN install route failed") {
		t.Errorf("the hub says\n%s", out)
	}
}
