// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/member"
	"dmvpn/nhrpd/wire"
)

// TestNobodyRegistersByWayOfARegion: spoke1, which runs no daemon of ours, wants hub2 to pass registrations on to
// hub, which would take them for hub2's own, and then to be hub for those of hub2's region.
//
//	hub ── hub2 ── spoke1, the same key
func TestNobodyRegistersByWayOfARegion(t *testing.T) { // RG-18
	t.Parallel()
	yes, no := true, false
	c := protected(t, cloud.Options{Spokes: 1, MoreHubs: 1, Settings: func(node string, s *cloud.Settings) {
		if node == "hub2" {
			s.Tunnels[0].NHS = []cloud.NHS{cloud.ServedBy(1)}
			s.Tunnels[0].Redirect, s.Tunnels[0].Shortcut = &yes, &no
		}
	}})
	ctx := t.Context()
	for _, node := range []string{"hub", "hub2"} {
		check(t, c.Start(node))
		check(t, c.Ready(ctx, node))
	}
	until(t, c, patience, func() error { return serversOf(t, c, "hub2", control.NHSUp) })
	codes := make(chan wire.Code, 16)
	x, err := member.Connect(ctx, member.Config{
		Node: c.Spokes[0], Local: cloud.NBMA(1), Hub: cloud.NBMAOfHub(2), Identity: cloud.Identity("spoke1"),
		KeyFile: c.Settings("spoke1").Tunnels[0].IPsec.PSKFile, Key: 42,
		Taken: func(nhrp []byte) {
			if p, err := wire.Decode(nhrp); err == nil && p.Type == wire.RegistrationReply {
				codes <- p.CIEs[0].Code
			}
		},
	})
	check(t, err)
	defer x.Close()
	hub, hub2, own := cloud.HubTunnel(), cloud.TunnelOfHub(2), cloud.TunnelAddress(1)
	for i, r := range []struct {
		to, as, what netip.Addr
		want         wire.Code
	}{
		{hub2, own, own, wire.CodeSuccess},
		{hub, own, own, wire.CodeAdministrativelyProhibited},
		{hub, own, hub2, wire.CodeAdministrativelyProhibited},
		{hub2, hub, hub, wire.CodeAdministrativelyProhibited},
	} {
		p := registering(1000+i, 1)
		p.SourceNBMA, p.DestinationProtocol, p.SourceProtocol, p.CIEs[0].Protocol = cloud.NBMA(1), r.to, r.as, r.what
		check(t, x.Send(octets(t, p)))
		select {
		case code := <-codes:
			if code != r.want {
				t.Errorf("%d, at %v: %v, expected %v", i, r.to, code, r.want)
			}
		case <-time.After(patience):
			t.Fatalf("%d: %v does not answer", i, r.to)
		}
		check(t, has(ctx, c, "hub", hub2))
		if has(ctx, c, "hub", cloud.TunnelAddress(1)) == nil {
			t.Error("hub has spoke1 by hub2")
		}
	}
}
