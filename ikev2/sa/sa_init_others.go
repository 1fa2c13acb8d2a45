// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"bytes"
	"crypto/sha256"
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

// material is what the keys depend on in a response to IKE_SA_INIT.
func material(msg *wire.Message) [32]byte {
	nonce, _ := wire.Find[wire.Nonce](msg.Payloads)
	h := sha256.New()
	h.Write(msg.SPIr[:])
	h.Write(nonce) // of at most 256 octets; where it ends the KE data's length tells
	if ke, ok := wire.Find[*wire.KeyExchange](msg.Payloads); ok {
		h.Write(ke.Data)
	}
	return [32]byte(h.Sum(nil))
}

// restart begins anew, once.
func (t *initiate) restart(m *Machine, s *ikeSA) bool {
	i := s.Initial
	if i.Restarted {
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
// whether there was one. Where one leads to the same keys once more, for somebody has bent a
// copy of it, the peer has taken what we sent under them: instead all begins anew.
func (t *initiate) another(m *Machine, s *ikeSA, reason string) bool {
	i := s.Initial
	if i == nil || t.Step == stepInit {
		return false
	}
	bent := false
	for len(i.Others) > 0 {
		last := len(i.Others) - 1 // is to our last request, if any is
		in := i.Others[last]
		i.Others = i.Others[:last]
		msg, err := wire.Parse(in.Data)
		if err != nil {
			continue
		}
		if slices.Contains(i.Tried, material(msg)) {
			bent = true
			continue
		}
		if i.KE != nil {
			i.KE.Wipe()
		}
		m.cancel(i.Child)
		s.answered()
		s.Keys.Wipe()
		t.Step, s.Out.Next = stepInit, 1
		i.KE, i.FirstKE, i.Child, i.Round, i.PI, i.PR = i.FirstKE, nil, nil, 0, nil, nil
		m.report(s, Notice, "%s: trying another response to IKE_SA_INIT", reason)
		if err = t.initAnswered(m, s, &in, msg); err == nil {
			return true
		}
		i.FirstKE = i.KE
		m.report(s, Debug, "IKE_SA_INIT response ignored: %v", err)
	}
	return bent && t.restart(m, s)
}
