// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/tables"
)

// void takes ESP packets and inner packets, and keeps the last ESP.
type void struct{ last []byte }

func (v *void) SendSegments(_ *esp.Path, _ uint8, size int, b []byte) error {
	v.last = append(v.last[:0], b[:size]...)
	return nil
}

// Nothing is allocated for a packet on its way into ESP, whole or as a GSO packet, nor on
// its way out, in UDP or not.
func TestESPAllocatesNothing(t *testing.T) {
	for name, at := range map[string]string{"in UDP": "192.0.2.1:4500", "raw": "192.0.2.1:0"} {
		t.Run(name, func(t *testing.T) { allocatesNothing(t, netip.MustParseAddrPort(at)) })
	}
}

func allocatesNothing(t *testing.T, at netip.AddrPort) {
	w := newWire(t)
	id := w.admit(t, peer1, "10.0.0.1")
	null := must(os.OpenFile(os.DevNull, os.O_RDWR, 0))(t)
	defer null.Close()
	to := &void{}
	p := New(Config{Tunnel: w.tunnel, Header: header, MTU: 1400, Queues: []*Queue{NewQueue(null)}, Tables: w.tables, Protected: true, MSSClamp: true, ESP: to})
	database := esp.NewDatabase(rand.Reader, nil)
	spi := must(database.Reserve())(t)
	a := &esp.Association{Peer: 1, Owner: &Secured{Pump: p, Peer: id},
		In:  must(esp.NewInbound(esp.InboundConfig{SPI: spi, Transform: gcm}))(t),
		Out: must(esp.NewOutbound(esp.OutboundConfig{SPI: spi, Transform: gcm}))(t)}
	check(t, database.Install(a, esp.Path{Remote: netip.AddrPortFrom(at.Addr(), 4500), Encapsulation: at.Port() != 0}))
	p.Secure(id, a)
	s := newSealer(p)

	small := must2(parseInner(udp4("10.0.0.11", "10.0.0.1", 5000, make([]byte, 100))))
	if n := testing.AllocsPerRun(200, func() { s.protect(id, vnet{}, small); s.end() }); n != 0 {
		t.Errorf("a packet that leaves: %v allocations", n)
	}
	large, v := superPacket(20, 1300)
	if n := testing.AllocsPerRun(50, func() { s.protect(id, v, large); s.end() }); n != 0 {
		t.Errorf("a GSO packet of 20 segments that leaves: %v allocations", n)
	}
	toAll := []tables.PeerID{id}
	p.config.Multicast = func(bool) []tables.PeerID { return toAll }
	group := must2(parseInner(udp4("10.0.0.11", "224.0.0.5", 5000, make([]byte, 100))))
	if n := testing.AllocsPerRun(200, func() { p.replicate(s, vnet{}, group) }); n != 0 {
		t.Errorf("a packet that is copied: %v allocations", n)
	}
	o := NewOpener(OpenerConfig{Database: database, Tables: w.tables})
	now := time.Now()
	buf := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(200, func() {
		s.protect(id, vnet{}, small)
		s.end()
		o.Begin(now)
		o.Open(append(buf[:0], to.last...), 0, at, at)
		o.End()
	})
	if n != 0 {
		t.Errorf("a packet that arrives: %v allocations", n)
	}
	if got := a.In.Stats(); got.Packets < 200 || got.Integrity+got.Replayed+got.Malformed != 0 {
		t.Errorf("the packets did not take the way: %+v", got)
	}
	if d := w.drops(t); d != "" {
		t.Errorf("dropped: %s", d)
	}
}

// Nor for a copy of multicast on its way into GRE in clear.
func TestPlainMulticastAllocatesNothing(t *testing.T) {
	w := newWire(t)
	to := []tables.PeerID{w.admit(t, peer1, "10.0.0.1"), w.admit(t, peer2, "10.0.0.2")}
	w.pump.config.Multicast = func(bool) []tables.PeerID { return to }
	s := newSealer(w.pump)
	group := must2(parseInner(udp4("10.0.0.11", "224.0.0.5", 5000, make([]byte, 100))))
	if n := testing.AllocsPerRun(200, func() { w.pump.replicate(s, vnet{}, group) }); n != 0 {
		t.Errorf("a packet that is copied: %v allocations", n)
	}
	if got := must(w.tables.Stats(to[1]))(t).TxPackets; got < 200 {
		t.Errorf("%d copies were sent; dropped: %s", got, w.drops(t))
	}
}

func must2(p inner, ok bool) inner {
	if !ok {
		panic("not a packet")
	}
	return p
}

// superPacket is TCP as the kernel hands it over with GSO.
func superPacket(segments, size int) (inner, vnet) {
	b := append([]byte{0x45, 0, 0, 0, 0, 9, 0x40, 0, 64, protocolTCP, 0, 0}, 10, 0, 0, 11, 10, 0, 0, 1)
	tcp := make([]byte, tcpHeader)
	binary.BigEndian.PutUint16(tcp[2:], 5001)
	tcp[12], tcp[13] = 5<<4, flagACK
	b = append(append(b, tcp...), bytes.Repeat([]byte{7}, segments*size)...)
	p := inner{b, ipHeader}
	p.seal()
	return p, vnet{gsoType: gsoTCPv4, gsoSize: uint16(size), headers: ipHeader + tcpHeader}
}
