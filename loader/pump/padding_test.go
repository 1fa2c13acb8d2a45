// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"net"
	"testing"
	"time"

	"dmvpn/loader/esp"
	"dmvpn/loader/netnstest"
)

// A peer that hides how much it sends (RFC 4303, sections 2.6 and 2.7): padding behind the
// packet is cut off, and packets that carry nothing are counted and end there.
func TestTrafficFlowConfidentiality(t *testing.T) {
	near, far, pid, _ := newSites(t, nil)
	a, b := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	var server *net.UDPConn
	netnstest.In(t, pid, func() { server = listen(t, "10.0.0.1:5000") })
	check(t, server.SetReadDeadline(time.Now().Add(20*time.Second)))
	var scratch esp.Scratch
	buf := make([]byte, 2000)
	dummies := uint64(0)
	for _, c := range []struct {
		name              string
		inUDP, tunnelMode bool
	}{{"transport mode in UDP", true, false}, {"transport mode", false, false}, {"tunnel mode in UDP", true, true}, {"tunnel mode", false, true}} {
		wrapped(t, near, far, a, b, c.inUDP, c.tunnelMode)
		send := func(next uint8, payload []byte) {
			t.Helper()
			at := a.Out.Front()
			packet := must(a.Out.Seal(&scratch, append(make([]byte, at, 4096), payload...), at, next))(t)
			check(t, near.SendSegments(a.Path(), 0, len(packet), packet))
		}
		for _, padding := range []int{0, 1, 255, 1000} {
			payload := greWith(0x2000, ipv4InGRE, udp4("10.0.0.11", "10.0.0.1", 5000, []byte(c.name)))
			next := uint8(protocolGRE)
			if c.tunnelMode {
				payload, next = append(a.Tunnel.Append(nil, 0, len(payload)), payload...), esp.NextIPv4
			}
			send(next, append(payload, make([]byte, padding)...))
			if n, err := server.Read(buf); err != nil || string(buf[:n]) != c.name {
				t.Fatalf("%s, %d octets of padding: %q, %v; dropped %s", c.name, padding, buf[:n], err, far.drops())
			}
			send(esp.NextNone, make([]byte, padding))
			dummies++
		}
	}
	netnstest.Eventually(t, "every dummy is counted", func() bool { return far.dummies.Load() == dummies })
	if got, sent := b.In.Stats(), a.Out.Stats(); got.Packets != sent.Packets {
		t.Errorf("%d of %d packets came", got.Packets, sent.Packets)
	}
	if d := near.drops() + far.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
