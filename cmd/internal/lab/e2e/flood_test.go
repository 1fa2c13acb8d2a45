// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// dropped gives what a node has dropped, by reason.
func dropped(t *testing.T, c *cloud.Cloud, node string) map[string]uint64 {
	t.Helper()
	sum := map[string]uint64{}
	check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) error {
		all, err := client.Drops(ctx)
		for _, d := range all {
			sum[d.Reason] += d.Packets
		}
		return err
	}))
	return sum
}

// TestBogusESPIsCountedAndHarmsNobody: in the name of a peer somebody sends ESP of all the
// kinds that must be dropped. Each packet is counted for what it is, and the peer's own
// stream, beside them and behind the same SA, loses nothing.
//
//	host1 ── spoke1 ────────── internet ────────── hub ── host0
//	                   a stranger ┘ sends as spoke1
func TestBogusESPIsCountedAndHarmsNobody(t *testing.T) {
	const rounds, burst = 50, 64
	c := guarded(t, cloud.Options{Spokes: 1})
	genuine := onTheWire(t, c)
	stream, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 500, 200)
	check(t, err)
	stranger, err := c.Internet.Inject("hub")
	check(t, err)
	defer stranger.Close()
	sas := childSAs(t, c)
	want := dropped(t, c, "hub")
	for round := range uint32(rounds) {
		for _, bogus := range lab.Bogi {
			var frames [][]byte
			for n := range uint32(burst) {
				frames = append(frames, bogus.Frame(genuine, round*burst+n))
			}
			check(t, stranger.Send(frames...))
			want[bogus.Reason] += burst
			// No more than a socket's buffer holds is on its way.
			until(t, c, patience, func() error {
				if got := dropped(t, c, "hub")[bogus.Reason]; got < want[bogus.Reason] {
					return fmt.Errorf("%s: %d are counted as %s, not %d", bogus.Name, got, bogus.Reason, want[bogus.Reason])
				}
				return nil
			})
		}
	}
	spotless(t, "beside bogus ESP", stream.Stop())
	if got := dropped(t, c, "hub"); !maps.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
	// The same Child SA is there, and knows what came by it.
	sa := control.ESPDrops{Replay: rounds * burst, Integrity: rounds * burst, Truncated: rounds * burst}
	for spi := range sas {
		sas[spi] = sa
	}
	if now := childSAs(t, c); !maps.Equal(now, sas) {
		t.Errorf("the Child SAs are %+v, want %+v", now, sas)
	}
}

// TestAnUnknownSPIEndsInTheProgramAndIsAnswered: the daemon's socket never sees the packets,
// and IKE tells the peer, in the SA with it.
func TestAnUnknownSPIEndsInTheProgramAndIsAnswered(t *testing.T) {
	t.Parallel()
	const packets = 64
	c := guarded(t, cloud.Options{Spokes: 1})
	genuine := onTheWire(t, c)
	stranger, err := c.Internet.Inject("hub")
	check(t, err)
	defer stranger.Close()
	received := func() (n uint64) {
		check(t, c.Ask(t.Context(), "hub", func(ctx context.Context, client *control.Client) error {
			ike, err := client.IKE(ctx)
			n = ike.Counters["esp-udp-received"]
			return err
		}))
		return n
	}
	before := received()
	var frames [][]byte
	for n := range uint32(packets) {
		frames = append(frames, lab.Bogi[0].Frame(genuine, n))
	}
	check(t, stranger.Send(frames...))
	until(t, c, patience, func() error {
		trace, err := c.Dmvpn(t.Context(), "hub", "ike", "trace", "--last")
		if n := dropped(t, c, "hub")["unknown-spi"]; err == nil && n < packets {
			err = fmt.Errorf("%d of %d packets are counted", n, packets)
		}
		if err == nil && !strings.Contains(trace, "INVALID_SPI") {
			err = errors.New("nobody was told INVALID_SPI")
		}
		return err
	})
	if n := received() - before; n >= packets {
		t.Errorf("the socket received %d packets", n)
	}
}

// onTheWire is an ESP packet of spoke1's that has come to the hub.
func onTheWire(t *testing.T, c *cloud.Cloud) []byte {
	t.Helper()
	return onTheWireTo(t, c, c.Hub, cloud.HubNBMA())
}

// onTheWireTo is an ESP packet that has come to a node when host1 pings the hub's host.
func onTheWireTo(t *testing.T, c *cloud.Cloud, n *lab.Node, at netip.Addr) []byte {
	t.Helper()
	capture, err := n.Capture(cloud.Underlay, func(f lab.Frame) bool { return !f.Outgoing && lab.IsESP(f.Data, at) })
	check(t, err)
	ping(t, c.Hosts[0], 0)
	_, err = capture.Settle(patience)
	check(t, err)
	frames := capture.Close()
	if len(frames) == 0 {
		t.Fatalf("no ESP came to %s", n.Name)
	}
	return frames[len(frames)-1].Data
}

// childSAs are the inbound SPIs of the hub's Child SAs, with what they dropped.
func childSAs(t *testing.T, c *cloud.Cloud) map[string]control.ESPDrops {
	t.Helper()
	all := map[string]control.ESPDrops{}
	check(t, c.Ask(t.Context(), "hub", func(ctx context.Context, client *control.Client) error {
		ike, err := client.IKE(ctx)
		for _, s := range ike.SAs {
			for _, child := range s.Children {
				all[child.Inbound] = child.Dropped
			}
		}
		return err
	}))
	return all
}
