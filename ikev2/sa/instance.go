// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"slices"

	"dmvpn/ikev2/wire"
)

// instanceNotify is our own status notification in IKE_AUTH, from the numbers of
// private use: the word "dmvpn", the 8 octets of Config.Instance, and the
// connection's tag. Others ignore it (section 3.10.1).
const instanceNotify wire.NotifyType = 0xd17a

var instanceWord = []byte("dmvpn")

// replacesNotify goes with it in an IKE_AUTH request: the word, and SPIi and SPIr of the
// sender's IKE SA that this one is made to replace.
const replacesNotify wire.NotifyType = 0xd17b

func (m *Machine) replaces(s *ikeSA) []wire.Payload {
	o := m.SAs[s.Remakes]
	if o == nil || o.Stage != established {
		return nil
	}
	return []wire.Payload{&wire.Notify{Type: replacesNotify, Data: slices.Concat(instanceWord, o.SPIi[:], o.SPIr[:])}}
}

// readReplaces takes the peer's, if we have that IKE SA with the same peer.
func (m *Machine) readReplaces(s *ikeSA, payloads []wire.Payload) {
	n := wire.FindNotify(payloads, replacesNotify)
	if n == nil {
		return
	}
	for _, o := range m.of(m.Peers[s.Peer]) {
		if o != s && bytes.Equal(n.Data, slices.Concat(instanceWord, o.SPIi[:], o.SPIr[:])) {
			s.Replaces = o.SPIi
		}
	}
}

func (m *Machine) instance(c *Connection) *wire.Notify {
	data := append(append(bytes.Clone(instanceWord), m.config.Instance[:]...), c.Tag...)
	return &wire.Notify{Type: instanceNotify, Data: data}
}

// readInstance gives what a peer of our kind says of itself.
func readInstance(payloads []wire.Payload) (instance [8]byte, tag []byte) {
	n := wire.FindNotify(payloads, instanceNotify)
	if n == nil {
		return
	}
	rest, ok := bytes.CutPrefix(n.Data, instanceWord)
	if !ok || len(rest) < len(instance) {
		return
	}
	copy(instance[:], rest)
	return instance, rest[len(instance):]
}
