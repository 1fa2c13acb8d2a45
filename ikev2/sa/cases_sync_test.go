// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	. "dmvpn/ikev2/iketest/world"
	"dmvpn/ikev2/wire"
)

// messageIDSync is IKEV2_MESSAGE_ID_SYNC (RFC 6311, section 5.2), which we do not speak.
const messageIDSync wire.NotifyType = 16422

// checks lets an end make so many liveness checks.
func checks(w *World, e, other *End, n int) {
	for range n {
		w.Run(11 * time.Second) // hints are heeded once in a while
		hintOf(e, other)
		w.Deliver(e.Name+" I→", other.Name+" I←")
	}
}

// TestCasesSync is what there is of section 9: message ids are not synchronised.
func TestCasesSync(t *testing.T) {
	// A's and B's liveness checks before, the id that B says it will send next, and the one that
	// it says it expects.
	ways := []string{"0,0:0,2", "0,0:1,3", "1,0:0,3", "1,0:5,8", "0,1:1,2", "0,1:2,2", "1,1:1,3", "1,1:2,4", "1,2:2,4"}
	Run(t,
		Case{Name: "ike_mid_sync/test_disabled", Options: Options{Alone: true, Either: true}, Ways: ways, Run: func(w *World) {
			var byA, byB int
			var send, expect uint32
			if _, err := fmt.Sscanf(w.Way, "%d,%d:%d,%d", &byA, &byB, &send, &expect); err != nil {
				w.T.Fatal(err)
			}
			supported := func(m *Message) { m.Payloads = append(m.Payloads, &wire.Notify{Type: wire.MessageIDSyncSupported}) }
			w.On("B AUTH→", supported)
			w.On("B AUTH←", supported)
			w.Began().Connect(w.Waited())
			w.Settle()
			w.Never("A AUTH→ "+wire.MessageIDSyncSupported.String(), "A AUTH← "+wire.MessageIDSyncSupported.String())
			checks(w, w.A, w.B, byA)
			checks(w, w.B, w.A, byB)
			w.Run(11 * time.Second)
			before := w.A.IKE()
			hintOf(w.B, w.A)
			w.Bend("B I→", func(m *Message) {
				data := append([]byte{1, 2, 3, 4}, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, send), expect)...)
				m.MessageID, m.Payloads = 0, []wire.Payload{&wire.Notify{Type: messageIDSync, Data: data}}
			})
			w.Calm()
			for _, m := range w.All("A I←") {
				w.True(m.Notify(messageIDSync) == nil, "A says nothing of ids: %s", m)
			}
			w.True(w.A.IKE().ID == before.ID, "the IKE SA stays")
			w.Drain()
			checks(w, w.A, w.B, 1) // both ways go on where they were
			checks(w, w.B, w.A, 1)
			w.A.Rekey(w.A.SA())
			w.Deliver("A C→", "B C←", "A D→", "B D←")
			w.EndIKE(1)
			w.EndDowns(1, 0)
			w.Flows()
		}},
	)
}
