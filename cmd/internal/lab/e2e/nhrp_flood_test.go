// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
	"dmvpn/cmd/internal/lab/member"
	"dmvpn/nhrpd/wire"
)

// flooded is how long a registration lasts beside a flood, which is there for two of them.
const flooded = 6 * time.Second

// TestAFloodOfNHRPTakesNothingFromTheSpokes: somebody who knows the word asks the hub for more
// than it answers, for longer than a registration lasts. The spokes' registrations are renewed
// beside it, a shortcut is made, and their traffic loses nothing.
func TestAFloodOfNHRPTakesNothingFromTheSpokes(t *testing.T) {
	modes(t, func(t *testing.T, m mode) {
		if m.encrypted {
			aMemberFloods(t, m)
		} else {
			aStrangerFloods(t, m)
		}
	})
}

// aStrangerFloods: as fast as it goes, from ever new addresses. On a protected tunnel NHRP in
// clear comes to nobody: forged_test.go.
//
//	host1 ── spoke1 ────────── internet ────────── hub ── host0
//	                   a stranger ┘ sends as 198.19.0.0/16
func aStrangerFloods(t *testing.T, m mode) {
	c := underFlood(t, m, 2)
	sent := 0
	survives(t, c, func() error {
		var flood [][]byte
		for range 256 {
			flood = append(flood, fromNowhere(t, sent))
			sent++
		}
		return c.Internet.Forge(flood...)
	})
	counters := nhrpCounters(t, c)
	limited := counters.Dropped["rate-strangers"]
	t.Logf("%d questions, %d beyond the rate of strangers, %d unread", sent, limited, counters.Unread)
	if sent < 20000 || limited == 0 {
		t.Errorf("of %d questions %d were beyond the rate: this was no flood", sent, limited)
	}
	counted(t, c, "rate-strangers", "resolution-request", "registered")
}

// aMemberFloods: spoke3 runs no daemon of ours. In its own SA come registrations, of its own
// address and of spoke1's, and requests for spoke2's network and for what nobody has, twenty times
// as many as one peer may send.
//
//	host1 ── spoke1 ── internet ── hub ── host0
//	spoke3, the same key ┘
func aMemberFloods(t *testing.T, m mode) {
	const perPeer, every = 100, 10 * time.Millisecond // a second; the daemon's own limit of each kind
	c := underFlood(t, m, 3)
	var registered, refused, answered atomic.Int64
	x, err := member.Connect(t.Context(), member.Config{
		Node: c.Spokes[2], Local: cloud.NBMA(3), Hub: cloud.HubNBMA(), Identity: cloud.Identity("spoke3"),
		KeyFile: c.Settings("spoke3").Tunnels[0].IPsec.PSKFile, Key: 42,
		Taken: func(nhrp []byte) {
			switch p, err := wire.Decode(nhrp); {
			case err != nil:
			case p.Type == wire.RegistrationReply && p.CIEs[0].Code == wire.CodeSuccess:
				registered.Add(1)
			case p.Type == wire.RegistrationReply:
				refused.Add(1)
			case p.Type == wire.ResolutionReply || p.Type == wire.ErrorIndication:
				answered.Add(1)
			}
		},
	})
	check(t, err)
	defer x.Close()
	sent, began := 0, time.Now()
	pace := time.NewTicker(every)
	defer pace.Stop()
	survives(t, c, func() error {
		<-pace.C
		// In bursts that a socket has room for, however late they are.
		for n := 0; n < 256 && sent < int(time.Since(began).Seconds()*2*20*perPeer); n++ {
			if err := x.Send(octets(t, demanding(sent))); err != nil {
				return err
			}
			sent++
		}
		return nil
	})
	counters := nhrpCounters(t, c)
	t.Logf("%d packets; %d registrations, %d refused, %d questions answered; %d beyond the rate, %d unread",
		sent, registered.Load(), refused.Load(), answered.Load(), counters.Dropped["rate"], counters.Unread)
	// Who is a member gets his share, and nobody else's address.
	if registered.Load() == 0 || refused.Load() == 0 || answered.Load() == 0 {
		t.Error("the flood was not answered: it was of no member")
	}
	if most := int64(4 * flooded.Seconds() * perPeer); refused.Load()+registered.Load() > most || answered.Load() > most {
		t.Errorf("more than %d were answered", most)
	}
	if least := uint64(sent) / 2; counters.Dropped["rate"]+counters.Unread < least {
		t.Errorf("of %d packets %d were beyond the rate: this was no flood", sent, counters.Dropped["rate"])
	}
	codes := []string{"registration-reply-sent-code-4", "resolution-reply-sent-code-12"}
	for _, code := range codes {
		if counters.Codes[code] == 0 {
			t.Errorf("%s is not counted: %v", code, counters.Codes)
		}
	}
	for _, kind := range []string{"registration-request", "resolution-request"} {
		if i := slices.IndexFunc(counters.Types, func(c control.NHRPType) bool { return c.Type == kind }); i < 0 || counters.Types[i].Dropped == 0 {
			t.Errorf("of %s nothing is counted: %+v", kind, counters.Types)
		}
	}
	counted(t, c, append(codes, "rate", "registration-request", "resolution-request", "registered")...)
}

// underFlood is a cloud with spoke1 and spoke2 registered, whose registrations last flooded.
func underFlood(t *testing.T, m mode, spokes int) *cloud.Cloud {
	t.Helper()
	c := m.build(t, cloud.Options{Spokes: spokes, Settings: func(_ string, s *cloud.Settings) { s.Tunnels[0].HoldingTime = flooded }})
	for _, node := range []string{"hub", "spoke1", "spoke2"} {
		check(t, c.Start(node))
		check(t, c.Ready(t.Context(), node))
	}
	for n, spoke := range []string{"spoke1", "spoke2"} {
		until(t, c, patience, func() error { return c.Registered(t.Context(), spoke) })
		until(t, c, patience, func() error { return c.Routed("hub", cloud.Network(n+1)) })
	}
	return c
}

// survives floods for two holding times, by calling flood again and again, and checks that nobody
// has lost anything.
func survives(t *testing.T, c *cloud.Cloud, flood func() error) {
	t.Helper()
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
	flooding, end := context.WithTimeout(ctx, 2*flooded)
	defer end()
	var flooder sync.WaitGroup
	var failed error
	flooder.Go(func() {
		for flooding.Err() == nil && failed == nil {
			failed = flood()
		}
	})
	shortcut(t, c, 1, 2) // two questions, and their answers
	flooder.Wait()
	check(t, failed)
	spotless(t, "beside the flood", stream.Stop())
	for i, spoke := range []string{"spoke1", "spoke2"} {
		if n := replies(spoke); n < before[i]+3 {
			t.Errorf("%s: %d registrations were answered in two holding times", spoke, n-before[i])
		}
		if log := c.Log(spoke, 1000); strings.Contains(log, "is down") {
			t.Errorf("%s lost its server:\n%s", spoke, log)
		}
	}
}

// nhrpCounters are the hub's.
func nhrpCounters(t *testing.T, c *cloud.Cloud) control.NHRPCounters {
	t.Helper()
	return countersOf(t, c, "hub")
}

func countersOf(t *testing.T, c *cloud.Cloud, node string) control.NHRPCounters {
	t.Helper()
	var all []control.NHRPCounters
	check(t, c.Ask(t.Context(), node, func(ctx context.Context, client *control.Client) (err error) {
		all, err = client.NHRPCounters(ctx)
		return err
	}))
	return all[0]
}

// counted checks what an operator is shown at the hub.
func counted(t *testing.T, c *cloud.Cloud, words ...string) {
	t.Helper()
	out, err := c.Dmvpn(t.Context(), "hub", "nhrp", "counters")
	check(t, err)
	for _, want := range words {
		if !strings.Contains(out, want) {
			t.Errorf("dmvpn nhrp counters lacks %s:\n%s", want, out)
		}
	}
}

// asking is a Resolution Request of a spoke's.
func asking(n, spoke int, nbma, what netip.Addr) *wire.Packet {
	return &wire.Packet{
		AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: wire.ResolutionRequest, RequestID: uint32(n),
		SourceNBMA: nbma, SourceProtocol: cloud.TunnelAddress(spoke), DestinationProtocol: what, CIEs: []wire.CIE{{HoldingTime: 60}},
	}
}

// demanding is one of the four kinds of packets of spoke3's flood.
func demanding(n int) *wire.Packet {
	const nobody = 99
	switch n % 4 {
	case 0:
		return asking(n, 3, cloud.NBMA(3), cloud.Host(2))
	case 1:
		return asking(n, 3, cloud.NBMA(3), cloud.TunnelAddress(nobody))
	}
	as := 3
	if n%4 == 3 {
		as = 1
	}
	return registering(n, as)
}

// octets are those of a packet with the word that everybody has.
func octets(t *testing.T, p *wire.Packet) []byte {
	word, err := wire.NewCiscoAuthentication("test1234")
	if err == nil {
		p.SetExtension(word)
	}
	nhrp, errMarshal := p.Marshal()
	if err != nil || errMarshal != nil {
		t.Error(err, errMarshal)
	}
	return nhrp
}

// fromNowhere is a Resolution Request in GRE, each from another address.
func fromNowhere(t *testing.T, n int) []byte {
	from := netip.AddrFrom4([4]byte{198, 19, byte(n >> 8), byte(n)})
	nhrp := octets(t, asking(n, 1, from, cloud.Host(2)))
	gre := binary.BigEndian.AppendUint32([]byte{0x20, 0, 0x20, 0x01}, 42) // with a key
	return lab.IPv4{From: from, To: cloud.HubNBMA(), Protocol: 47}.Packet(append(gre, nhrp...))
}
