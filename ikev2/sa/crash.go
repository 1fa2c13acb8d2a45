// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/hmac"
	"slices"

	"dmvpn/ikev2/wire"
)

// Quick crash detection (RFC 6290): each end has from the other a token that nobody else
// knows while the IKE SA lives, and that the other one gives away when it knows nothing of
// that IKE SA any more.

// crashToken is ours for an IKE SA (RFC 6290, section 5.1), nil if we make none.
func (m *Machine) crashToken(spii, spir wire.SPI) []byte {
	if len(m.config.CrashSecret) == 0 || spir.IsZero() {
		return nil
	}
	return digest(m.config.CrashSecret, spii[:], spir[:])
}

// token is the notification with it, if we make any.
func (m *Machine) token(spii, spir wire.SPI) []wire.Payload {
	t := m.crashToken(spii, spir)
	if t == nil {
		return nil
	}
	return []wire.Payload{&wire.Notify{Type: wire.QuickCrashDetection, Data: t}}
}

// tellToken gives the peer ours of an IKE SA whose second SPI we did not know when we asked
// for it: who initiates a rekey (RFC 6290, section 4.3).
func (m *Machine) tellToken(s *ikeSA) {
	if len(m.config.CrashSecret) > 0 {
		s.enqueue(&inform{Type: wire.QuickCrashDetection})
	}
}

// crashTokenOf is the peer's in a message, nil if there is none that will do.
func crashTokenOf(payloads []wire.Payload) []byte {
	n := wire.FindNotify(payloads, wire.QuickCrashDetection)
	if n == nil || len(n.Data) < 16 || len(n.Data) > 128 {
		return nil
	}
	return slices.Clone(n.Data)
}

// readToken keeps the peer's.
func (s *ikeSA) readToken(payloads []wire.Payload) {
	if t := crashTokenOf(payloads); t != nil {
		s.CrashToken = t
	}
}

// restarted says whether a message in clear proves that the peer has lost the IKE SA.
func (s *ikeSA) restarted(payloads []wire.Payload) bool {
	n := wire.FindNotify(payloads, wire.QuickCrashDetection)
	return n != nil && len(s.CrashToken) > 0 && hmac.Equal(n.Data, s.CrashToken) && s.Stage != connecting && s.Stage != halfOpen
}

// crashed ends an IKE SA with a peer that has restarted. Who wants that peer connects to it at
// once: it is there.
func (m *Machine) crashed(s *ikeSA) {
	m.report(s, Notice, "the peer has restarted")
	wants := slices.Clone(s.wants)
	m.die(s, "the peer has restarted")
	for _, w := range wants {
		if w.RetryAt != 0 {
			m.retry(w, m.now)
		}
	}
}
