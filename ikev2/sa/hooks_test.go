// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// SetMessageIDs lets the IKE SA with a number have used so many message ids.
func (m *Machine) SetMessageIDs(id uint64, out, in uint32) {
	s := m.find(id)
	s.Out.Next, s.In.Next = out, in
}

// Kept is how many fragments an end keeps of an IKE SA's messages that are not whole, and how
// many octets they have.
func (m *Machine) Kept(spii wire.SPI) (n, octets int) {
	for _, s := range m.SAs {
		if s.SPIi == spii {
			n += len(s.In.Fragments.Kept) + len(s.Out.Fragments.Kept)
			octets += s.In.Fragments.Octets + s.Out.Fragments.Octets
		}
	}
	return n, octets
}

// Chains is how many of the peer's chains of IKE_FOLLOWUP_KE wait for the next one.
func (m *Machine) Chains(id uint64) int { return len(m.find(id).Chains) }

// HeldKeys are those of Child SAs that wait for the end of a contest, as they are held.
func (m *Machine) HeldKeys() (all []crypto.Secret) {
	for _, s := range m.SAs {
		if s.Held != nil {
			all = append(all, s.Held.In.Encryption, s.Held.In.Integrity, s.Held.Out.Encryption, s.Held.Out.Integrity)
		}
	}
	return all
}
