// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// Message is one IKE message on the wire, with all of its fragments, as its sender
// made it.
type Message struct {
	From          *End
	Local, Remote netip.AddrPort // as the sender has them
	source        netip.AddrPort // as the receiver sees it
	unbent        *Message       // as it was sent
	wire.Header
	Payloads  []wire.Payload // what is inside; nil if the World has no key for it
	Packets   [][]byte
	Keepalive bool
	Sent      time.Time // for the first time

	kind string // of the exchange: INIT AUTH X C F D I
	keys *crypto.Keys
}

// letters of the exchanges; INFORMATIONAL is D or I by what the request has.
var letters = map[wire.ExchangeType]string{
	wire.IKESAInit: "INIT", wire.IKEAuth: "AUTH", wire.IKEIntermediate: "X",
	wire.CreateChildSA: "C", wire.IKEFollowupKE: "F", wire.Informational: "I",
}

// Name is the sender and the exchange, with an arrow: "A C→" is A's request,
// "B C←" the response to it.
func (m *Message) Name() string {
	arrow := "→"
	if m.Response {
		arrow = "←"
	}
	return m.From.Name + " " + m.kind + arrow
}

// String is what the log shows.
func (m *Message) String() string {
	if m.Keepalive {
		return m.From.Name + " keepalive"
	}
	return fmt.Sprintf("%s %d %.4s %.4s %s", m.Name(), m.MessageID, m.SPIi, m.SPIr, wire.Describe(m.Payloads))
}

// words are what a pattern may ask of a message besides its name: the names of its
// notifications; SA, IKE or ESP by the protocol of the proposal; D, IKE or ESP by
// that of the deletion; KE, Nonce, TSi and so on; ∅ for nothing at all; =ID for the
// message id. A word behind an exclamation mark is one that it must not have.
func (m *Message) words() []string {
	all := []string{fmt.Sprintf("=%d", m.MessageID)}
	if len(m.Payloads) == 0 {
		return append(all, "∅")
	}
	for _, p := range m.Payloads {
		switch p := p.(type) {
		case *wire.Notify:
			all = append(all, p.Type.String())
		case *wire.Delete:
			all = append(all, "D", p.Protocol.String())
		case *wire.SA:
			all = append(all, "SA")
			if len(p.Proposals) > 0 {
				all = append(all, p.Proposals[0].Protocol.String())
			}
		default:
			all = append(all, p.PayloadType().String())
		}
	}
	return all
}

// matches says whether the message is what a pattern names, and has its words.
func (m *Message) matches(pattern string) (name, all bool) {
	want := strings.Fields(pattern)
	if len(want) < 2 || m.Name() != want[0]+" "+want[1] {
		return false, false
	}
	have := m.words()
	for _, w := range want[2:] {
		word, no := strings.CutPrefix(w, "!")
		if slices.Contains(have, word) == no {
			return true, false
		}
	}
	return true, true
}

// is says whether two are the same octets from the same sender to the same place.
func (m *Message) is(o *Message) bool {
	return m.From == o.From && m.Remote == o.Remote && slices.EqualFunc(m.Packets, o.Packets, bytes.Equal)
}

// Reseal makes the packets anew out of Header and Payloads, as somebody would who
// has the sender's keys.
func (m *Message) Reseal() {
	w := m.From.world
	if plain(m.Exchange) || m.keys == nil {
		b, err := (&wire.Message{Header: m.Header, Payloads: m.Payloads}).Append(nil)
		if err != nil {
			w.fail("%s cannot be made: %v", m, err)
		}
		m.Packets = [][]byte{b}
		return
	}
	p := m.keys.Protection(m.Initiator)
	p.Next = 1<<62 | uint64(m.MessageID) // the same each time that it is repeated
	b, err := p.Seal(m.Header, m.Payloads, m.From.dice)
	if err != nil {
		w.fail("%s cannot be sealed: %v", m, err)
	}
	m.Packets = [][]byte{b}
}

func plain(x wire.ExchangeType) bool { return x == wire.IKESAInit }

// Notify is the message's notification of a type, or nil.
func (m *Message) Notify(t wire.NotifyType) *wire.Notify { return wire.FindNotify(m.Payloads, t) }

// Without takes all notifications of some types out. Reseal follows.
func (m *Message) Without(types ...wire.NotifyType) {
	m.Payloads = slices.DeleteFunc(slices.Clone(m.Payloads), func(p wire.Payload) bool {
		n, ok := p.(*wire.Notify)
		return ok && slices.Contains(types, n.Type)
	})
}

// Nonce is the message's nonce, nil without.
func (m *Message) Nonce() []byte {
	n, _ := wire.Find[wire.Nonce](m.Payloads)
	return n
}

// SPI is that of the message's first proposal, nil without.
func (m *Message) SPI() []byte {
	offer, ok := wire.Find[*wire.SA](m.Payloads)
	if !ok || len(offer.Proposals) == 0 {
		return nil
	}
	return offer.Proposals[0].SPI
}

// copy is one that can be bent without a trace in the original.
func (m *Message) copy() *Message {
	c := *m
	c.Packets = slices.Clone(m.Packets)
	if m.keys != nil {
		c.Payloads, _ = unseal(m.keys, m)
	} else if first, err := wire.Parse(m.Packets[0]); err == nil {
		c.Payloads = first.Payloads
	}
	return &c
}

// Keys are those that the message was sealed with; nil if it is in clear.
func (m *Message) Keys() *crypto.Keys { return m.keys }
