// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/nhrpd/wire"
)

// TestAFirstRegistrationEndsWhatGoesInClear: the hub has a default route onto the underlay, and its host sends
// towards a LAN that the hub has not heard of. With the reply that says that the LAN is registered,
// nothing to it is on the hub's wire in clear any more; with `guard` nothing ever was.
//
//	host0 ══ 1000/s to host1 ══> hub ── default route ──> internet
//	                              └──── tunnel ── spoke1 (comes later) ── host1
func TestAFirstRegistrationEndsWhatGoesInClear(t *testing.T) {
	t.Parallel()
	settings := func(guard string) func(string, *cloud.Settings) {
		return func(node string, s *cloud.Settings) {
			u := &s.Tunnels[0]
			if node == "hub" {
				if guard != "" {
					u.Keys = append(u.Keys, guard)
				}
				return
			}
			for n := range 24 { // so that the reply is known by its length under ESP
				u.Networks = append(u.Networks, fmt.Sprintf("10.20.%d.0/24", n))
			}
		}
	}
	const guard = `guard = ["10.10.0.0/16"]`
	for _, row := range []struct {
		name  string
		guard bool
		build func(*testing.T) *cloud.Cloud
		reply func(lab.Frame) bool
	}{
		{"in clear", false, func(t *testing.T) *cloud.Cloud {
			return build(t, cloud.Options{Spokes: 1, Settings: settings("")})
		}, isNetworksReply},
		{"encrypted", false, func(t *testing.T) *cloud.Cloud {
			return build(t, cloud.Options{Spokes: 1, Protected: true, Settings: settings("")})
		}, isLongESP},
		{"encrypted and guarded", true, func(t *testing.T) *cloud.Cloud {
			return protected(t, cloud.Options{Spokes: 1, Settings: settings(guard)})
		}, isLongESP},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := row.build(t)
			ctx := t.Context()
			capture, err := c.Hub.Capture(cloud.Underlay, func(f lab.Frame) bool { return f.Outgoing && (toSite1(f) || row.reply(f)) })
			check(t, err)
			defer capture.Close()
			check(t, c.Start("hub"))
			check(t, c.Ready(ctx, "hub"))
			stream, err := c.HubHost.Stream(c.Hosts[0], netip.AddrPortFrom(cloud.Host(1), 4000), 1000, 64)
			check(t, err)
			until(t, c, patience, func() error {
				if r := stream.Snapshot(); r.Sent < 200 || !row.guard && len(capture.Frames()) < 100 {
					return fmt.Errorf("%d are sent and %d on the wire: the hub's default route is not taken yet", r.Sent, len(capture.Frames()))
				}
				return nil
			})
			check(t, c.Start("spoke1"))
			check(t, c.Ready(ctx, "spoke1"))
			until(t, c, patience, func() error { return c.AllRegistered(ctx) })
			until(t, c, patience, func() error {
				if n := stream.Received(); n < 1000 {
					return fmt.Errorf("%d packets came through", n)
				}
				return nil
			})
			t.Logf("%v", stream.Stop())
			if missed, err := capture.Settle(patience); err != nil || missed > 0 {
				t.Fatalf("%d frames of the hub's wire are not known, %v", missed, err)
			}
			before, after, replied := 0, 0, false
			for _, f := range capture.Frames() {
				switch {
				case row.reply(f):
					replied = true
				case replied:
					after++
				default:
					before++
				}
			}
			t.Logf("%d in clear before the reply, %d behind it", before, after)
			if !replied || after > 0 || before > 0 == row.guard {
				t.Errorf("replied %v; in clear: %d before the reply, %d behind it", replied, before, after)
			}
		})
	}
}

// toSite1 says whether a frame on an underlay wire is a packet to spoke1's LAN as it is.
func toSite1(f lab.Frame) bool {
	const ethernet, destination = 14, 16
	if len(f.Data) < ethernet+20 || f.Data[12] != 0x08 || f.Data[13] != 0 {
		return false
	}
	return cloud.Network(1).Contains(netip.AddrFrom4([4]byte(f.Data[ethernet+destination:])))
}

// isNetworksReply says whether a frame is the Registration Reply, in clear, of several prefixes.
func isNetworksReply(f lab.Frame) bool {
	const ethernet, ip, gre = 14, 20, 8 // with a key
	if _, _, ok := lab.GRE(f.Data); !ok || len(f.Data) < ethernet+ip+gre || f.Data[ethernet+ip+2] != 0x20 || f.Data[ethernet+ip+3] != 0x01 {
		return false
	}
	p, err := wire.Decode(f.Data[ethernet+ip+gre:])
	return err == nil && p.Type == wire.RegistrationReply && len(p.CIEs) > 1 && !p.CIEs[0].Code.NAK()
}

// isLongESP says whether a frame is ESP longer than a packet of the stream's. Several of those in one frame
// are too: they are no sooner there than the route is.
func isLongESP(f lab.Frame) bool { return len(f.Data) > 400 && lab.IsESPInUDP(f.Data) }

// TestAHubThatCannotRouteSaysSo: the hub's tunnel device is down when a spoke comes, so that the kernel takes no
// route by it. The spoke is told, the hub says why, nothing goes in clear, and all is well when it is up.
func TestAHubThatCannotRouteSaysSo(t *testing.T) {
	t.Parallel()
	c := protected(t, cloud.Options{Spokes: 1, Settings: func(node string, s *cloud.Settings) {
		if node == "hub" {
			s.Tunnels[0].Keys = append(s.Tunnels[0].Keys, `guard = ["10.10.0.0/16"]`)
		}
	}})
	ctx := t.Context()
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	check(t, c.Hub.SetUp(cloud.Device, false))
	check(t, c.Start("spoke1"))
	check(t, c.Ready(ctx, "spoke1"))
	says := func(node, what string) error {
		if !strings.Contains(c.Log(node, 1000), what) {
			return fmt.Errorf("%s does not say %q", node, what)
		}
		return nil
	}
	until(t, c, patience, func() error {
		return errors.Join(says("hub", "install route failed"), says("hub", "network is down"), says("spoke1", "does not take 10.10.1.0/24 from us"))
	})
	for range 10 {
		if _, err := c.HubHost.Ping(cloud.Host(1), 0, 50*time.Millisecond); err == nil {
			t.Error("a packet came through")
		}
	}
	check(t, c.Hub.SetUp(cloud.Device, true))
	until(t, c, 2*patience, func() error { return c.AllRegistered(ctx) })
	ping(t, c.HubHost, 1)
}
