// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"encoding/gob"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// spis name an IKE SA.
type spis struct{ i, r wire.SPI }

// learn reads the keys of an end's IKE SAs out of what it exports.
func (w *World) learn(e *End) {
	var exported struct {
		State struct {
			SAs map[wire.SPI]*struct {
				SPIi, SPIr wire.SPI
				Keys       *crypto.Keys
			}
		}
	}
	if err := gob.NewDecoder(bytes.NewReader(e.exported())).Decode(&exported); err != nil {
		w.fail("what %s exports cannot be read: %v", e.Name, err)
		return
	}
	for _, s := range exported.State.SAs {
		if s.Keys == nil {
			continue
		}
		at := spis{s.SPIi, s.SPIr}
		known := w.keys[at]
		if len(known) == 0 || !bytes.Equal(known[len(known)-1].D, s.Keys.D) {
			w.keys[at] = append(known, s.Keys)
		}
	}
}

// open looks into a message: it tries the keys that it knows, the youngest first,
// and then those that the sender has now.
func (w *World) open(m *Message) {
	if m.Keepalive {
		return
	}
	h, _, err := wire.ParseHeader(m.Packets[0])
	if err != nil {
		w.fail("%s sends what is no message: %v", m.From.Name, err)
		return
	}
	m.Header, m.kind = h, letters[h.Exchange]
	first, err := wire.Parse(m.Packets[0])
	if err != nil {
		w.fail("%s sends what it could not read itself: %v", m.From.Name, err)
		return
	}
	if _, _, ok := first.Protected(); !ok {
		m.Payloads = first.Payloads
		return
	}
	at := spis{h.SPIi, h.SPIr}
	for range 2 {
		for i := len(w.keys[at]) - 1; i >= 0; i-- {
			if payloads, ok := unseal(w.keys[at][i], m); ok {
				m.Payloads, m.keys = payloads, w.keys[at][i]
				return
			}
		}
		w.learn(m.From)
	}
	w.fail("%s sends a message that no key of its own opens: %s", m.From.Name, h)
}

// unseal opens all packets of a message.
func unseal(k *crypto.Keys, m *Message) ([]wire.Payload, bool) {
	var text []byte
	var inner wire.PayloadType
	for i, b := range m.Packets {
		msg, err := wire.Parse(b)
		if err != nil {
			return nil, false
		}
		t, err := k.Protection(m.Initiator).Open(b, msg)
		if err != nil {
			return nil, false
		}
		if i == 0 {
			inner, _, _ = msg.Protected()
		}
		text = append(text, t...)
	}
	payloads, err := wire.ParseInner(inner, text)
	return payloads, err == nil
}
