// SPDX-License-Identifier: Apache-2.0

package sa

import "slices"

// A map of Go never gets smaller, however little is left in it. So the machine makes its
// maps anew when most of what was in them has gone: after a flood its memory is what it
// was before.

// roomy is the number of IKE SAs for which it is not worth the trouble.
const roomy = 16

// shrink is called when an input has been handled. What it costs is paid by the SAs that
// went.
func (m *Machine) shrink() {
	m.peak = max(m.peak, len(m.SAs))
	if m.peak <= roomy || len(m.SAs) > m.peak/4 {
		return
	}
	m.peak = len(m.SAs)
	m.SAs, m.Peers, m.Recent = anew(m.SAs), anew(m.Peers), anew(m.Recent)
	m.load.from = anew(m.load.from)
	x := &m.index
	x.at, x.inbound, x.peers, x.wantsAt, x.wantsFor = anew(x.at), anew(x.inbound), anew(x.peers), anew(x.wantsAt), anew(x.wantsFor)
	for a, list := range x.at {
		x.at[a] = slices.Clone(list)
	}
	x.attempts, m.timers, m.Wants = slices.Clone(x.attempts), slices.Clone(m.timers), slices.Clone(m.Wants)
}

// anew is a map with the same content and no more room than it needs.
func anew[K comparable, V any](old map[K]V) map[K]V {
	fresh := make(map[K]V, len(old))
	for k, v := range old {
		fresh[k] = v
	}
	return fresh
}
