// SPDX-License-Identifier: Apache-2.0

package esp

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"
)

// Who comes from elsewhere, or without UDP, is told of once, by the newest packet alone.
func TestWhoComesByAnotherWay(t *testing.T) {
	udp, raw := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("192.0.2.1:0")
	for _, c := range []struct {
		name   string
		path   Path
		remote netip.AddrPort
		newest bool
		told   bool
	}{
		{"as expected", Path{Remote: udp, Encapsulation: true}, udp, true, false},
		{"another port", Path{Remote: udp, Encapsulation: true}, netip.MustParseAddrPort("192.0.2.1:1024"), true, true},
		{"another port, late", Path{Remote: udp, Encapsulation: true}, netip.MustParseAddrPort("192.0.2.1:1024"), false, false},
		{"without UDP", Path{Remote: udp, Encapsulation: true}, raw, true, true},
		{"without UDP, late", Path{Remote: udp, Encapsulation: true}, raw, false, false},
		{"without UDP, from another address", Path{Remote: udp, Encapsulation: true}, netip.MustParseAddrPort("192.0.2.9:0"), true, false},
		{"without UDP, as expected", Path{Remote: udp}, raw, true, false},
		{"in UDP, where none is expected", Path{Remote: udp}, udp, true, false},
	} {
		d := NewDatabase(rand.Reader, nil)
		spi, err := d.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		a := &Association{In: &Inbound{SPI: spi}}
		if err := d.Install(a, c.path); err != nil {
			t.Fatal(err)
		}
		if told := a.Arrived(time.Now(), c.remote, c.newest); told != c.told {
			t.Errorf("%s: told %v", c.name, told)
		}
		if a.Arrived(time.Now(), c.remote, c.newest) {
			t.Errorf("%s: told again", c.name)
		}
	}
}
