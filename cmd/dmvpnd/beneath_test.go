// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader/netnstest"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
	"dmvpn/nhrpd/wire"
)

// TestOneMemberTakesNoMoreThanItsShareOfUnreachableRoutes: one registers and withdraws ever new
// prefixes until it is told that there is no room; another member has a new one registered, with what
// leads nowhere under it, and the log says it once. The machine, the routes and the kernel are real.
func TestOneMemberTakesNoMoreThanItsShareOfUnreachableRoutes(t *testing.T) {
	x := groundFor(t, "192.0.2.11/24")
	h, d, plane, under, unreachable, state := x.host, x.device, x.plane, x.under, x.unreachable, x.state
	mirror := mirrorOf(t, h)
	var said, logged bytes.Buffer
	guards := &beneath{said: map[string]bool{}, tunnel: &tunnel{
		daemon: &daemon{mirror: mirror, unreachable: unreachable}, config: config.Tunnel{Name: "dmvpn0", Protected: true}, log: zerolog.New(&said),
	}}
	own := netip.MustParsePrefix("10.0.0.11/24")
	replies := make(chan *wire.Packet, 16)
	s := nhrpd.New(nhrpd.Config{
		Engine: engine.Config{Tunnel: "dmvpn0", Address: own, MTU: 1400, Authenticated: true}, Random: random,
		DataPlane: &share{plane: &dataPlane{tables: plane.Tables, tunnel: d.Index, device: d, pump: new(tunnel).currentPump}, shares: newShares()},
		Router: &router{host: h, mirror: mirror, tunnel: d.Index, own: own, under: guards.stand,
			beside: newBeside(h, mirror.Zebra, func() bool { return false })},
		Sender: heard(replies), State: state, Resolver: net.DefaultResolver, Log: zerolog.New(&logged).Level(zerolog.WarnLevel),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, under.Address, netip.Addr{}) }()
	stop := func() {
		if cancel(); <-ended != nil {
			t.Error("the service ended with an error")
		}
	}
	id := uint32(100)
	ask := func(n byte, kind wire.Type, entries ...wire.CIE) (codes []wire.Code) {
		t.Helper()
		p := &wire.Packet{
			AddressFamily: wire.FamilyIPv4, ProtocolType: wire.ProtocolIPv4, HopCount: 255, Type: kind, CIEs: entries,
			SourceNBMA: netip.AddrFrom4([4]byte{198, 18, n, 1}), SourceProtocol: netip.AddrFrom4([4]byte{10, 0, 0, n}), DestinationProtocol: own.Addr(),
		}
		from := engine.Endpoint{NBMA: p.SourceNBMA, Port: 4500, Identity: "spoke" + string('0'+rune(n))}
		netnstest.Eventually(t, "it is answered", func() bool { // of more than a peer may send in a second nothing is heard
			id += 2000
			p.RequestID = id
			data, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			s.Deliver(engine.Packet{From: from, Data: data})
			for again := time.After(2 * time.Second); ; {
				select {
				case r := <-replies:
					if r.RequestID != id {
						continue
					}
					for _, c := range r.CIEs {
						codes = append(codes, c.Code)
					}
					return true
				case <-again:
					return false
				}
			}
		})
		return codes
	}
	const full = wire.CodeInsufficientResources
	host := wire.CIE{PrefixLength: wire.HostPrefix, HoldingTime: 600}
	lan := func(n int) wire.CIE {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 100<<24|64<<16|uint32(n)<<6)
		return wire.CIE{PrefixLength: 26, HoldingTime: 600, Protocol: netip.AddrFrom4(a)}
	}
	ask(3, wire.RegistrationRequest, host)
	ask(2, wire.RegistrationRequest, host)
	const atOnce = 32
	for n := 0; n < instance.LearnedOfOne; n += atOnce {
		var all []wire.CIE
		for i := range atOnce {
			all = append(all, lan(n+i))
		}
		if codes := ask(3, wire.RegistrationRequest, all...); slices.Max(codes) != 0 || len(codes) != atOnce {
			t.Fatalf("from %d: %v", n, codes)
		}
		ask(3, wire.PurgeRequest, all...)
	}
	for range 3 {
		if codes := ask(3, wire.RegistrationRequest, lan(instance.LearnedOfOne), lan(5)); !slices.Equal(codes, []wire.Code{full, 0}) {
			t.Errorf("what is beyond its share, and what stands: %v", codes)
		}
	}
	if codes := ask(2, wire.RegistrationRequest, lan(instance.LearnedOfOne+1)); !slices.Equal(codes, []wire.Code{0}) {
		t.Errorf("another member: %v", codes)
	}
	stop()
	routes := netnstest.Run(t, "ip route show")
	refused, other := lan(instance.LearnedOfOne).Protocol.String()+"/26", lan(instance.LearnedOfOne+1).Protocol.String()+"/26"
	if strings.Contains(routes, refused) || !strings.Contains(routes, "unreachable "+other) || strings.Count(routes, other) != 2 {
		t.Errorf("%s and %s: %s", refused, other, routes)
	}
	if n := strings.Count(routes, "unreachable"); n != instance.LearnedOfOne+1 {
		t.Errorf("%d stand unreachable", n)
	}
	if n, lines := guards.refused.Load(), strings.Count(said.String(), "\n"); n != 3 || lines != 1 || !strings.Contains(said.String(), `"identity":"spoke3"`) {
		t.Errorf("%d refused, and the log has %s", n, said.String())
	}
	if strings.Contains(logged.String(), "install route failed") {
		t.Errorf("each is logged: %s", logged.String())
	}
}

// heard takes what is sent that answers a client.
type heard chan *wire.Packet

// Send implements nhrpd.Sender.
func (a heard) Send(_ engine.Endpoint, data []byte) error {
	p, err := wire.Decode(data)
	if err == nil && (p.Type == wire.RegistrationReply || p.Type == wire.PurgeReply) {
		select {
		case a <- p:
		default: // nobody waits for so many
		}
	}
	return err
}
