// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/wire"
)

// exchanges that a header may name instead of the one that is expected.
var exchanges = []wire.ExchangeType{0, wire.IKESAInit, wire.IKEAuth, wire.CreateChildSA, wire.Informational, wire.IKEIntermediate, wire.IKEFollowupKE, 99}

// FuzzInside: whatever a peer that has the keys puts inside of SK, in every exchange, as a
// request or as a response, to an end that is half-open, connecting or established, and is
// the original initiator or not: the machine stays whole, it goes on from its export, and
// left alone it ends with nothing. With prove, a valid AUTH stands in front, so that
// what comes behind an IKE_AUTH that is believed is reached too.
func FuzzInside(f *testing.F) {
	for i, o := range moments() {
		f.Add(uint8(i), uint8(0), uint8(o.first), false, o.text)
		if o.header.Exchange == wire.IKEAuth {
			f.Add(uint8(i), uint8(0), uint8(o.first), true, o.text)
		}
	}
	f.Fuzz(func(t *testing.T, at, exchange, first uint8, prove bool, text []byte) {
		o := moments()[int(at)%len(moments())]
		e := o.end(t)
		h, kind := o.header, wire.PayloadType(first)
		if x := exchanges[int(exchange)%len(exchanges)]; x != 0 {
			h.Exchange = x
		}
		if prove {
			kind, text = proved(e, h, kind, text)
		}
		if len(text) > wire.MaxMessage/2 {
			return
		}
		keys := o.keys(e)
		in := o.datagrams[0]
		in.Data = seal(keys, h, kind, text, 0, 0)
		e.input(&in)
		e.reimport()
		e.input(&in)
		o.deliver(e)
		e.desert()
	})
}

// proved puts the AUTH of the first ID payload in front.
func proved(e *end, h wire.Header, first wire.PayloadType, text []byte) (wire.PayloadType, []byte) {
	payloads, err := wire.ParseInner(first, text)
	id, ok := wire.Find[*wire.Identification](payloads)
	if err != nil || !ok {
		return first, text
	}
	b, err := wire.AppendInner(nil, []wire.Payload{e.machine.Proof(h, id, pair.Key)})
	if err != nil {
		return first, text
	}
	b[0] = byte(first)
	return wire.PayloadAuthentication, append(b, text...)
}
