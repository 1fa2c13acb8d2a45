// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"net/netip"
	"testing"

	"dmvpn/loader/netnstest"
)

// TestGRECostsNoAllocation, with key and without, by IPv4 and IPv6.
func TestGRECostsNoAllocation(t *testing.T) {
	netnstest.Enter(t)
	payload := make([]byte, 100)
	for name, local := range map[string]string{"IPv4": "127.0.0.1", "IPv6": "::1"} {
		t.Run(name, func(t *testing.T) {
			at := netip.MustParseAddr(local)
			c := conn(t, Config{Local: at})
			h := Header{Protocol: ProtocolIPv4, Key: 42, HasKey: true}
			send := func() {
				h.HasKey = !h.HasKey
				if err := c.Send(at, h, 0xc0, payload); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(200, send); n != 0 {
				t.Errorf("%v allocations for a packet", n)
			}
		})
	}
}
