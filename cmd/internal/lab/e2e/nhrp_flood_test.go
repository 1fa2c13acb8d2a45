// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/nhrpd/wire"
)

// TestAFloodOfNHRPTakesNothingFromTheSpokes: from ever new addresses somebody who knows the
// word asks the hub for addresses, as fast as it goes, for longer than a registration lasts. The
// spokes' registrations are renewed beside it, and their traffic loses nothing. On a protected
// tunnel NHRP in clear comes to nobody: forged_test.go.
//
//	host1 ── spoke1 ────────── internet ────────── hub ── host0
//	                   a stranger ┘ sends as 198.19.0.0/16
func TestAFloodOfNHRPTakesNothingFromTheSpokes(t *testing.T) {
	t.Parallel()
	const holding = 6 * time.Second
	c := up(t, cloud.Options{Spokes: 2, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].HoldingTime = holding }})
	ctx := t.Context()
	replies := func(spoke string) (n uint64) {
		t.Helper()
		check(t, c.Ask(ctx, spoke, func(ctx context.Context, client *control.Client) error {
			servers, err := client.NHS(ctx)
			if err == nil && (len(servers) != 1 || servers[0].State != control.NHSUp && servers[0].State != control.NHSRenewing) {
				err = fmt.Errorf("its server is %+v", servers)
			}
			if err == nil {
				n = servers[0].Replies
			}
			return err
		}))
		return n
	}
	stream, err := c.Hosts[0].Stream(c.HubHost, netip.AddrPortFrom(cloud.Host(0), 4000), 100, 200)
	check(t, err)
	before := [2]uint64{replies("spoke1"), replies("spoke2")}
	sent := 0
	for end := time.Now().Add(2 * holding); time.Now().Before(end); {
		var flood [][]byte
		for range 256 {
			flood = append(flood, question(t, sent))
			sent++
		}
		check(t, c.Internet.Forge(flood...))
	}
	spotless(t, "beside the flood", stream.Stop())
	for i, spoke := range []string{"spoke1", "spoke2"} {
		if n := replies(spoke); n < before[i]+3 {
			t.Errorf("%s: %d registrations were answered in two holding times", spoke, n-before[i])
		}
		if log := c.Log(spoke, 1000); strings.Contains(log, "is down") {
			t.Errorf("%s lost its server:\n%s", spoke, log)
		}
	}
	var counters []control.NHRPCounters
	check(t, c.Ask(ctx, "hub", func(ctx context.Context, client *control.Client) (err error) {
		counters, err = client.NHRPCounters(ctx)
		return err
	}))
	limited := counters[0].Dropped["rate-strangers"]
	t.Logf("%d questions, %d beyond the rate of strangers, %d unread", sent, limited, counters[0].Unread)
	if sent < 20000 || limited == 0 {
		t.Errorf("of %d questions %d were beyond the rate: this was no flood", sent, limited)
	}
	out, err := c.Dmvpn(ctx, "hub", "nhrp", "counters")
	check(t, err)
	for _, want := range []string{"rate-strangers", "resolution-request", "registered"} {
		if !strings.Contains(out, want) {
			t.Errorf("dmvpn nhrp counters lacks %s:\n%s", want, out)
		}
	}
}

// question is a Resolution Request in GRE, each from another address.
func question(t *testing.T, n int) []byte {
	t.Helper()
	from := netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})
	p := &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.ResolutionRequest, RequestID: uint32(n),
		SourceNBMA: from, SourceProtocol: cloud.TunnelAddress(1), DestinationProtocol: cloud.Host(2), CIEs: []wire.CIE{{HoldingTime: 60}},
	}
	word, err := wire.NewCiscoAuthentication("test1234")
	check(t, err)
	p.SetExtension(word)
	nhrp, err := p.Marshal()
	check(t, err)
	const header, gre = 20, 8
	b := make([]byte, header+gre, header+gre+len(nhrp))
	b[0], b[8], b[9] = 0x45, 64, 47
	binary.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], cloud.HubNBMA().AsSlice())
	binary.BigEndian.PutUint16(b[header:], 0x2000) // with a key
	binary.BigEndian.PutUint16(b[header+2:], 0x2001)
	binary.BigEndian.PutUint32(b[header+4:], 42)
	return append(b, nhrp...)
}
