// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"slices"

	"dmvpn/ikev2/wire"
)

// Nothing proves a response to IKE_SA_INIT before IKE_AUTH: somebody on the way may have
// been faster than the peer. Or somebody sent a COOKIE that made us repeat the request, and
// the peer answered it both times, so that its proof is about one of the two. Further
// responses are kept, and tried when the first one leads nowhere (section 2.4).

// keep keeps a further response.
func (t *initiate) keep(m *Machine, s *ikeSA, in *Datagram) {
	i := s.Initial
	same := func(o Datagram) bool { return bytes.Equal(o.Data, in.Data) }
	if bytes.Equal(in.Data, i.Response) || slices.ContainsFunc(i.Others, same) || i.FirstKE == nil {
		m.counters.Replayed++
		return
	}
	msg, err := wire.Parse(in.Data)
	if err != nil {
		m.counters.Syntax++
		return
	}
	if _, ok := wire.Find[*wire.SA](msg.Payloads); !ok || len(i.Others) >= maxOthers || len(in.Data) > maxOther {
		m.counters.Replayed++
		return
	}
	m.report(s, Notice, "a further response to IKE_SA_INIT, from %s: somebody meddles", in.Remote)
	i.Others = append(i.Others, Datagram{Local: in.Local, Remote: in.Remote, Data: bytes.Clone(in.Data)})
	s.Out.Limit = min(s.Out.Limit, max(otherRepeats, s.Out.Repeats))
}

// restart begins anew, once, when the peer refused a proof of an IKE_SA_INIT that we had to
// repeat: it may have answered the one before.
func (t *initiate) restart(m *Machine, s *ikeSA) bool {
	i := s.Initial
	if i.Rounds == 0 || i.Restarted {
		return false
	}
	n := m.attempt(m.connection(s), s.Local, s.Remote, i.Identity)
	if m.SAs[n.own()] != n {
		return false
	}
	n.Initial.Restarted, n.Replaces, n.Remakes = true, s.Replaces, s.Remakes
	m.replaceWant(s, n)
	m.die(s, "")
	return true
}

// another goes on with a further response instead of the one that led to nothing, and says
// whether there was one.
func (t *initiate) another(m *Machine, s *ikeSA, reason string) bool {
	i := s.Initial
	if i == nil || t.Step == stepInit {
		return false
	}
	for len(i.Others) > 0 {
		last := len(i.Others) - 1 // is to our last request, if any is
		in := i.Others[last]
		i.Others = i.Others[:last]
		msg, err := wire.Parse(in.Data)
		if err != nil {
			continue
		}
		if i.KE != nil {
			i.KE.Wipe()
		}
		m.cancel(i.Child)
		s.answered()
		s.Keys.Wipe()
		t.Step, s.Out.Next, s.NextIV = stepInit, 1, 0
		i.KE, i.FirstKE, i.Child, i.Round, i.PI, i.PR = i.FirstKE, nil, nil, 0, nil, nil
		m.report(s, Notice, "%s: trying another response to IKE_SA_INIT", reason)
		if err = t.initAnswered(m, s, &in, msg); err == nil {
			return true
		}
		i.FirstKE = i.KE
		m.report(s, Debug, "IKE_SA_INIT response ignored: %v", err)
	}
	return false
}
