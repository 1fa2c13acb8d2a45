// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"strings"
)

// Message is one IKE message. If it is protected, its last payload is an
// *Encrypted or a *Fragment, and the payloads inside are parsed by ParseInner
// when they are open.
type Message struct {
	Header
	Payloads []Payload
}

// Parse decodes one datagram, without the non-ESP marker. On an error the
// message is nil; ParseHeader says whom to answer, if anybody.
func Parse(b []byte) (*Message, error) {
	h, first, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	payloads, err := parseChain(first, b[HeaderSize:], true)
	if err != nil {
		return nil, err
	}
	return &Message{Header: h, Payloads: payloads}, nil
}

// Append encodes the message behind b. It fails only if a field cannot hold
// what it was given.
func (m *Message) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = m.appendHeader(b, First(m.Payloads))
	b, err := AppendInner(b, m.Payloads)
	if err != nil {
		return nil, err
	}
	n := len(b) - start
	if n > MaxMessage {
		return nil, oversize("message", n, MaxMessage)
	}
	binary.BigEndian.PutUint32(b[start+24:], uint32(n))
	return b, nil
}

// Protected gives the first payload's type and the body of the SK payload or
// fragment that the message ends with, and false if it has none.
func (m *Message) Protected() (inner PayloadType, body []byte, ok bool) {
	if len(m.Payloads) == 0 {
		return 0, nil, false
	}
	switch p := m.Payloads[len(m.Payloads)-1].(type) {
	case *Encrypted:
		return p.Inner, p.Body, true
	case *Fragment:
		return p.Inner, p.Body, true
	}
	return 0, nil, false
}

// String is the header and the payloads in brackets, in the order of the wire.
func (m *Message) String() string { return m.Header.String() + " " + Describe(m.Payloads) }

// Describe prints payloads in brackets, for messages and for what was inside of
// an SK payload. It shows no key, nonce or signature.
func Describe(payloads []Payload) string {
	var s strings.Builder
	s.WriteByte('[')
	for i, p := range payloads {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(p.String())
	}
	s.WriteByte(']')
	return s.String()
}
