// SPDX-License-Identifier: Apache-2.0

package sa

import "bytes"

// Two ends that each make a Child SA for the same selectors at once have two. That is
// legal (section 2.8), and neither is deleted for it: packets leave by the one whose
// lowest nonce is the higher, at both ends, and the other is not rekeyed when it has
// idled to its limit.

// better is a Child SA that was made beside another one for the same selectors, and
// is to be used instead of it; nil: there is none.
func (s *ikeSA) better(c *childSA) *childSA {
	for _, o := range s.Children {
		if o != c && c.Low != nil && o.Low != nil && (o.Stage == active || o.Stage == waiting) && bytes.Compare(o.Low, c.Low) > 0 &&
			covers(o.Here, c.Here) && covers(c.Here, o.Here) && covers(o.There, c.There) && covers(c.There, o.There) {
			return o
		}
	}
	return nil
}

// idles says whether a Child SA may end at its limit: packets leave by a better one.
func (m *Machine) idles(s *ikeSA, c *childSA) bool {
	p := m.Peers[s.Peer]
	return p != nil && p.Current != c.Inbound && s.better(c) != nil
}
