// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/sa"
)

// TestCasesHeldKeys: the keys of a Child SA that waits for the end of a contest are wiped when
// it is installed and when it is refused.
func TestCasesHeldKeys(t *testing.T) {
	Run(t, Case{Name: "held keys are wiped", Options: Options{Alone: true, ESP: "aes128-sha256", Both: grouped}, Loss: true,
		Ways: []string{"the older end lives", "it is gone"}, Run: func(w *World) {
			w.Strangers()
			w.B.Connect(w.A)
			w.Run(10 * time.Second)
			policy := *w.B.Connection()
			c := w.Add("C", "198.51.100.3", sa.Config{Connections: []*sa.Connection{&policy}})
			if w.Way == "it is gone" {
				w.B.Kill()
			}
			c.Connect(w.A)
			w.Deliver("C INIT→", "A INIT← SA", "C AUTH→")
			keys := w.A.Machine.HeldKeys()
			w.True(len(keys) == 4, "a Child SA waits: %d keys", len(keys))
			for _, k := range keys {
				w.True(len(bytes.Trim(k, "\x00")) > 0, "it has its keys")
			}
			w.Run(time.Minute)
			w.True(len(w.A.Machine.HeldKeys()) == 0, "the contest has ended")
			for _, k := range keys {
				w.True(!w.Counts() || len(bytes.Trim(k, "\x00")) == 0, "%d octets of a key are left", len(k))
			}
			w.True((w.A.Peer("b.test").Peer.Remote == c.Endpoint()) == (w.Way == "it is gone"), "the one that lives has the peer")
		}})
}
