// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// disguise lets an end's IKE_SA_INIT say something else, as another implementation would: its
// AUTH, with the key that A and B share, is about what was said.
func disguise(w *World, e *End, change func(m *Message)) {
	other := w.B
	if e == w.B {
		other = w.A
	}
	said := map[wire.SPI][]byte{}
	for _, arrow := range []string{"→", "←"} {
		back := map[string]string{"→": "←", "←": "→"}[arrow]
		w.On(e.Name+" INIT"+arrow, func(m *Message) {
			change(m)
			m.Reseal()
			said[m.SPIi] = m.Packets[0]
		})
		w.On(e.Name+" AUTH"+arrow, func(m *Message) {
			inits := w.All(other.Name + " INIT" + back)
			id, _ := wire.Find[*wire.Identification](m.Payloads)
			if id == nil || len(inits) == 0 || said[m.SPIi] == nil {
				return
			}
			prf, err := crypto.NewPRF(wire.PRFHMACSHA256)
			if err != nil {
				panic(err)
			}
			key := m.Keys().Pi
			if m.Response {
				key = m.Keys().Pr
			}
			octets := auth.SignedOctets(prf, said[m.SPIi], inits[len(inits)-1].Nonce(), key, id, nil)
			m.Payloads = with(m.Payloads, auth.SignShared(prf, crypto.Secret("between a and b"), octets))
		})
	}
}
