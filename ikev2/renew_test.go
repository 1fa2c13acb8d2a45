// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// TestCredentialsAreRenewedWhileRunning: who had the old key is let in no more, who has the
// new one is, and what stands goes on.
func TestCredentialsAreRenewedWhileRunning(t *testing.T) {
	a, b := connected(t)
	another := connection(t, "net", "b.example.net")
	another.SharedKeys = auth.SharedKeys{{Peer: another.SharedKeys[0].Peer, Key: []byte("the key of the next year")}}
	if err := b.Renew(t.Context(), []*sa.Connection{another}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Rekey(t.Context(), "b.example.net", false); err != nil {
		t.Fatal(err)
	}
	before, _ := agree(a, b)
	if _, err := a.Rekey(t.Context(), "b.example.net", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a rekey of what stands", func() bool { spi, ok := agree(a, b); return ok && spi != before })
	c := newStation(t, "c.example.net")
	c.Connect(c.want(b))
	eventually(t, "the old key is refused", func() bool {
		return strings.Contains(fmt.Sprint(c.told()), "AUTHENTICATION_FAILED")
	})
	fresh := connection(t, "net", "c.example.net")
	fresh.SharedKeys = another.SharedKeys
	if err := c.Renew(t.Context(), []*sa.Connection{fresh}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key is taken", func() bool { return strings.Contains(fmt.Sprint(c.told()), "up b.example.net") })
	stranger := connection(t, "net", "somebody.example.net")
	if err := b.Renew(t.Context(), []*sa.Connection{stranger}); err == nil || !strings.Contains(err.Error(), "takes a restart") {
		t.Errorf("another identity: %v", err)
	}
}

// TestManyNoisyPeersDoNotBlindTheLog: their places are free again when they are quiet.
func TestManyNoisyPeersDoNotBlindTheLog(t *testing.T) {
	l, now := newLimiter(), time.Unix(1000, 0)
	for i := range logPeers {
		for range logBurst + 1 {
			l.allow(now, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), false)
		}
	}
	now = now.Add(2 * logBurst * logEvery)
	for i := range 3 {
		if ok, _ := l.allow(now, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), false); !ok {
			t.Errorf("peer %d has no line", i)
		}
	}
	if len(l.peers) > logPeers/2 {
		t.Errorf("%d peers are kept", len(l.peers))
	}
}
