// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// guarded is the wire's tunnel under ESP, with an association at peer1.
func guarded(t *testing.T, w *wire) (p *Pump, a *esp.Association, id tables.PeerID, database *esp.Database) {
	t.Helper()
	id = w.admit(t, peer1, "10.0.0.1")
	p = New(Config{Tunnel: w.tunnel, Header: header, MTU: 1400, Conn: w.pump.conns[0].Load(), Tables: w.tables, Protected: true})
	database = esp.NewDatabase(rand.Reader, nil)
	spi := must(database.Reserve())(t)
	a = &esp.Association{Peer: 1, Owner: &Secured{Pump: p, Peer: id},
		In:  must(esp.NewInbound(esp.InboundConfig{SPI: spi, Transform: gcm}))(t),
		Out: must(esp.NewOutbound(esp.OutboundConfig{SPI: 0xc0ffee, Transform: gcm}))(t)}
	check(t, database.Install(a, esp.Path{Remote: netip.AddrPortFrom(peer1, 4500), Encapsulation: true}))
	p.Secure(id, a)
	return p, a, id, database
}

// mtuOf is the MTU of a peer, 0 for the tunnel's.
func mtuOf(t *testing.T, w *wire, id tables.PeerID) int {
	t.Helper()
	peer, ok := w.tables.Peer(id)
	if !ok {
		t.Fatalf("no peer %d", id)
	}
	return peer.MTU
}

// What is inside an outer packet of 1400 octets fills it up to ESP's padding.
func TestTheLargestPacketInside(t *testing.T) {
	w := newWire(t)
	p, a, _, database := guarded(t, w)
	for _, c := range []struct {
		name              string
		inUDP, tunnelMode bool
		want              int
	}{
		{"transport mode in UDP", true, false, 1330},
		{"transport mode", false, false, 1338},
		{"tunnel mode in UDP", true, true, 1310},
		{"tunnel mode", false, true, 1318},
	} {
		a.Tunnel = nil
		if c.tunnelMode {
			a.Tunnel = must(esp.NewTunnel(local, peer1, protocolGRE))(t)
		}
		database.Move(a.In.SPI, esp.Path{Remote: netip.AddrPortFrom(peer1, 4500), Encapsulation: c.inUDP})
		got := p.inside(a, 1400)
		outer := func(n int) int {
			n = 20 + a.Out.Sealed(n+p.greLength()+tunnelLength(a))
			if c.inUDP {
				n += 8
			}
			return n
		}
		if got != c.want || outer(got) > 1400 || outer(got+1) <= 1400 {
			t.Errorf("%s: %d, outside %d, and of one octet more %d", c.name, got, outer(got), outer(got+1))
		}
	}
}

// Only who has seen a packet of ours lowers an MTU.
func TestAHintNamesAPacketOfOurs(t *testing.T) {
	w := newWire(t)
	p, a, id, database := guarded(t, w)
	netnstest.Run(t, "ip route replace 192.0.2.1/32 dev w0 mtu 1400")
	must(a.Out.Reserve(1000))(t)
	udp, raw := netip.AddrPortFrom(peer1, 4500), netip.AddrPortFrom(peer1, 0)
	quote := func(spi, sequence uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, spi), sequence)
	}
	for _, c := range []struct {
		name   string
		inUDP  bool
		remote netip.AddrPort
		quote  []byte
		taken  bool
	}{
		{"the last packet", true, udp, quote(0xc0ffee, 1000), true},
		{"the first packet", true, udp, quote(0xc0ffee, 1), true},
		{"with more of it", true, udp, append(quote(0xc0ffee, 500), make([]byte, 56)...), true},
		{"a packet that is not sent yet", true, udp, quote(0xc0ffee, 1001), false},
		{"number 0", true, udp, quote(0xc0ffee, 0), false},
		{"an SPI that we do not send with", true, udp, quote(0xc0ffef, 1000), false},
		{"our own SPI", true, udp, quote(a.In.SPI, 1000), false},
		{"IKE", true, udp, quote(0, 1000), false},
		{"no sequence number", true, udp, quote(0xc0ffee, 1000)[:7], false},
		{"nothing", true, udp, nil, false},
		{"to somebody else", true, netip.AddrPortFrom(peer2, 4500), quote(0xc0ffee, 1000), false},
		{"to another port", true, netip.AddrPortFrom(peer1, 4501), quote(0xc0ffee, 1000), false},
		{"without UDP, which it went in", true, raw, quote(0xc0ffee, 1000), false},
		{"without UDP", false, raw, quote(0xc0ffee, 1000), true},
		{"in UDP, which it did not go in", false, udp, quote(0xc0ffee, 1000), false},
	} {
		check(t, w.tables.Widen(id))
		database.Move(a.In.SPI, esp.Path{Remote: udp, Encapsulation: c.inUDP})
		want := 0
		if c.taken {
			want = p.inside(a, 1400)
		}
		if taken := NewPathHints(database).Take(underlay.Hint{Remote: c.remote, MTU: 600, Quote: c.quote}); taken != c.taken || mtuOf(t, w, id) != want {
			t.Errorf("%s: taken %v, MTU %d, not %d", c.name, taken, mtuOf(t, w, id), want)
		}
	}
	x := NewPathHints(database)
	taken := 0
	for range 10 * hintRate {
		if x.Take(underlay.Hint{Remote: raw, Quote: quote(0xc0ffee, 1000)}) {
			taken++
		}
	}
	if taken == 10*hintRate {
		t.Error("every hint of a flood was looked at")
	}
}

// A lowered MTU holds for ten minutes after the last time that it was lowered.
func TestTheMTURisesAgain(t *testing.T) {
	w := newWire(t)
	p, _, id, _ := guarded(t, w)
	check(t, w.tables.Describe(id, netip.Addr{}, 1390)) // which the peer asked for
	synctest.Test(t, func(t *testing.T) {
		lower := func(mtu int) {
			peer, _ := w.tables.Peer(id)
			p.lower(peer, mtu)
		}
		for _, step := range []struct {
			lower int // 0: not
			wait  time.Duration
			want  int // after the wait
		}{
			{1330, 9 * time.Minute, 1330},
			{1300, 9 * time.Minute, 1300}, // anew
			{1350, 59 * time.Second, 1300},
			{0, time.Second, 1390},
			{1395, 0, 1390},
			{100, mtuLifetime - 1, smallestMTU},
			{0, 1, 1390},
		} {
			if step.lower != 0 {
				lower(step.lower)
			}
			time.Sleep(step.wait)
			synctest.Wait()
			if got := mtuOf(t, w, id); got != step.want {
				t.Errorf("lowered to %d, after %v: %d, not %d", step.lower, step.wait, got, step.want)
			}
		}
	})
}
