// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	"dmvpn/ikev2/wire"
)

// TestPeekSeesWhatParseSees, in every IKE_SA_INIT request of the captures and in all
// that become of one by cutting it or by bending an octet: what is decoded has the same
// nonce and cookie, and what is not whole is refused by both or by Parse alone.
func TestPeekSeesWhatParseSees(t *testing.T) {
	requests, cookies := 0, 0
	for _, c := range captures(t) {
		for _, b := range ikeMessages(c) {
			if h, _, err := wire.ParseHeader(b); err != nil || h.Exchange != wire.IKESAInit || h.Response {
				continue
			}
			requests++
			if comparePeek(t, b) {
				cookies++
			}
			for at := range b {
				bent := bytes.Clone(b)
				bent[at] ^= 0x21
				comparePeek(t, bent)
			}
		}
	}
	if requests < 20 || cookies == 0 {
		t.Errorf("%d requests, %d with a cookie", requests, cookies)
	}
}

func comparePeek(t *testing.T, b []byte) (hasCookie bool) {
	t.Helper()
	if _, _, err := wire.ParseHeader(b); err != nil {
		return false
	}
	nonce, cookie, ok := wire.PeekInit(b)
	m, err := wire.Parse(b)
	if err != nil {
		return false
	}
	want, has := wire.Find[wire.Nonce](m.Payloads)
	if _, _, protected := m.Protected(); protected {
		return false
	}
	if ok != has || has && !bytes.Equal(want, nonce) {
		t.Fatalf("%s: nonce %x, %v", m, nonce, ok)
	}
	n := wire.FindNotify(m.Payloads, wire.Cookie)
	if n != nil && len(n.SPI) == 0 && !bytes.Equal(n.Data, cookie) {
		t.Fatalf("%s: cookie %x", m, cookie)
	}
	return n != nil
}
