// SPDX-License-Identifier: Apache-2.0

package sa

// SetMessageIDs lets the IKE SA with a number have used so many message ids.
func (m *Machine) SetMessageIDs(id uint64, out, in uint32) {
	s := m.find(id)
	s.Out.Next, s.In.Next = out, in
}
