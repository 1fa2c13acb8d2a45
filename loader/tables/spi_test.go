// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"net/netip"
	"slices"
	"testing"
)

func TestTheNextDaemonForgetsTheSPIsOfTheOneBefore(t *testing.T) {
	m := maps(t, 4)
	before := tables(t, m)
	must(t, before.AddSPI(0x01020304))
	must(t, before.AddSPI(0x01020305))
	must(t, before.DeleteSPI(0x01020304))
	must(t, before.DeleteSPI(0x01020304)) // twice is no error
	known := func(spi uint32) bool {
		var v uint32
		return m[MapSPI].Lookup(spi, &v) == nil
	}
	if known(0x01020304) || !known(0x01020305) {
		t.Errorf("known: %t, %t; want only the second", known(0x01020304), known(0x01020305))
	}
	must(t, tables(t, m).ForgetSPIs())
	if known(0x01020305) {
		t.Error("an SPI of the daemon before is known")
	}
}

func TestWhoseESPIsJudged(t *testing.T) {
	m := maps(t, 4)
	tt := tables(t, m)
	other := netip.MustParseAddr("192.0.2.2")
	must(t, tt.JudgeESP(local, tunnelA, false))
	must(t, tt.JudgeESP(other, tunnelA, false))
	must(t, tt.JudgeESP(local, tunnelB, true))
	var v espLocal
	must(t, m[MapESP].Lookup(toAddress(local), &v))
	if want := (espLocal{tunnelB, espUDP | espRaw}); v != want {
		t.Errorf("%+v, want %+v", v, want)
	}
	must(t, tt.IgnoreESP(local))
	must(t, tt.IgnoreESP(local)) // twice is no error
	all, err := tables(t, m).JudgedESP()
	must(t, err)
	if want := []netip.Addr{other}; !slices.Equal(all, want) {
		t.Errorf("judged at %v, want %v", all, want)
	}
}
