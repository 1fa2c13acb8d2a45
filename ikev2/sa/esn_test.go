// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"
	"time"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// TestSequenceNumbersAreWhatBothOffer: extended ones where both ends have them, and 32 bits
// where one does not, in the first Child SA and after its rekey, at both ends alike.
func TestSequenceNumbersAreWhatBothOffer(t *testing.T) {
	for esp, extended := range map[string]bool{
		"aes128gcm16-esn": true, "aes128gcm16": false, "aes128gcm16-noesn": false,
		"aes128gcm16-esn-noesn": true, "chacha20poly1305-esn": true, "aes128-sha256-esn": true,
	} {
		p := pair.New(1, pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", ESP: esp})
		p.Connect()
		p.Run()
		for _, when := range []string{"first", "rekeyed"} {
			var spis [2][2]uint32
			for i, e := range p.Ends {
				all := e.Machine.Infos(p.Now)
				if len(all) != 1 || len(all[0].Children) != 1 {
					t.Fatalf("%s, %s: %+v", esp, when, all)
				}
				c := all[0].Children[0]
				if c.Extended != extended {
					t.Errorf("%s, %s: end %d has extended sequence numbers: %t", esp, when, i, c.Extended)
				}
				spis[i] = [2]uint32{c.Inbound, c.Outbound}
			}
			if spis[0][0] != spis[1][1] || spis[0][1] != spis[1][0] {
				t.Errorf("%s, %s: SPIs %x", esp, when, spis)
			}
			if when == "first" {
				info := p.Ends[0].Machine.Infos(p.Now)[0]
				p.Input(0, &sa.Rekey{ID: info.ID, Child: info.Children[0].Inbound})
				p.Run()
				p.Wait(time.Minute) // the old one goes
				if again := p.Ends[0].Machine.Infos(p.Now)[0].Children; len(again) != 1 || again[0].Inbound == info.Children[0].Inbound {
					t.Fatalf("%s: no rekey: %+v", esp, again)
				}
			}
		}
		if p.Err() != nil {
			t.Error(p.Err())
		}
	}
}
