// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
)

// Cleared is how many a Clear ended.
type Cleared struct {
	Shortcuts int
	Negatives int // negative entries
}

// Cleared says what the last Clear ended.
func (m *Machine) Cleared() Cleared { return m.cleared }

// clear ends shortcuts as if they were idle: packets go by the hub, and the next Traffic Indication
// makes them anew. What is asked for already is answered, and may be one of them. Registrations
// and maps are no shortcuts.
func (m *Machine) clear(in Clear) {
	for _, s := range m.allShortcuts() {
		if in.means(s.Prefix.Overlaps) {
			m.removeShortcut(s, "cleared", true)
			m.cleared.Shortcuts++
		}
	}
	for a := range m.negatives.All() {
		if in.means(host(a).Overlaps) {
			m.negatives.Delete(a)
			m.cleared.Negatives++
		}
	}
}

// means says whether one of its prefixes is meant: without any all are.
func (in Clear) means(overlaps func(netip.Prefix) bool) bool {
	return len(in.Within) == 0 || slices.ContainsFunc(in.Within, overlaps)
}

// Clears says whether there is anything that a Clear of a prefix ends.
func (s Snapshot) Clears(p netip.Prefix) bool {
	return slices.ContainsFunc(s.Shortcuts, func(x ShortcutInfo) bool { return x.Prefix.Overlaps(p) }) ||
		slices.ContainsFunc(s.Negatives, func(n NegativeInfo) bool { return p.Contains(n.Destination) })
}
