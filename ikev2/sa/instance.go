// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"

	"dmvpn/ikev2/wire"
)

// instanceNotify is our own status notification in IKE_AUTH, from the numbers of
// private use: the word "dmvpn", the 8 octets of Config.Instance, and the
// connection's tag. Others ignore it (section 3.10.1).
const instanceNotify wire.NotifyType = 0xd17a

var instanceWord = []byte("dmvpn")

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
