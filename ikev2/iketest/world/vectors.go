// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"encoding/hex"
	"slices"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// aeadVector is the length of an initialization vector of AES-GCM and ChaCha20-Poly1305
// (RFC 5282, section 3.1; RFC 7634, section 3).
const aeadVector = 8

// checkVectors fails if an end seals two different datagrams with one initialization vector
// under one key, over all IKE SAs of all ends: that would give an AEAD's authentication key away.
func (w *World) checkVectors(m *Message) {
	if m.keys == nil || !m.keys.Suite.AEAD() {
		return
	}
	key := m.keys.Er
	if m.Initiator {
		key = m.keys.Ei
	}
	for _, b := range m.Packets {
		msg, err := wire.Parse(b)
		if err != nil {
			continue // open has said so
		}
		_, body, _ := msg.Protected()
		at := hex.EncodeToString(slices.Concat(key, body[:aeadVector]))
		if old, used := w.vectors[at]; used && !bytes.Equal(old, b) {
			w.fail("the vector %x seals twice under one key: %s", body[:aeadVector], m)
		}
		w.vectors[at] = b
	}
}

// checkChildKeys fails if an end is to send by an SA with a key that any other SA has: ESP
// counts its vectors from the beginning with each SA.
func (w *World) checkChildKeys(e *End, c *sa.Child) {
	at := string(c.Out.Encryption)
	if old := w.outbound[at]; old != 0 {
		w.fail("%s: the SA %08x has the key that %08x sends by", e.Name, c.Inbound, old)
	}
	w.outbound[at] = c.Inbound
}
