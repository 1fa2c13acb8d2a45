// SPDX-License-Identifier: Apache-2.0

package iketest

import "encoding/binary"

// Liar is a message one of whose lengths or counts is not so.
type Liar struct {
	Name string
	Data []byte
}

// Liars makes them of an IKE_SA_INIT request that begins with an SA payload whose first
// transform has an attribute (RFC 7296, sections 3.1 to 3.3).
func Liars(request []byte) []Liar {
	const payload, proposal, transform, attribute = 28, 32, 40, 48
	change := func(name string, at int, value ...byte) Liar {
		b := append([]byte(nil), request...)
		copy(b[at:], value)
		return Liar{name, b}
	}
	length := func(at int, by int) []byte {
		return binary.BigEndian.AppendUint16(nil, uint16(int(binary.BigEndian.Uint16(request[at:]))+by))
	}
	size := len(request)
	return []Liar{
		change("header length of more", 24, binary.BigEndian.AppendUint32(nil, uint32(size+1))...),
		change("header length of less", 24, binary.BigEndian.AppendUint32(nil, uint32(size-1))...),
		change("header length 0", 24, 0, 0, 0, 0),
		change("header length of 32 bits", 24, 0xff, 0xff, 0xff, 0xff),
		{"datagram that is cut", request[:size-1]},
		{"datagram with more behind", append(append([]byte(nil), request...), 0)},
		{"header alone", request[:28]},
		{"half a header", request[:20]},
		change("payload length 0", payload+2, 0, 0),
		change("payload length 1", payload+2, 0, 1),
		change("payload length 2", payload+2, 0, 2),
		change("payload length 3", payload+2, 0, 3),
		change("payload length past the end", payload+2, 0xff, 0xff),
		change("payload length of one more", payload+2, length(payload+2, 1)...),
		change("next payload that is not there", payload+int(binary.BigEndian.Uint16(request[payload+2:])), 0),
		change("proposal length 0", proposal+2, 0, 0),
		change("proposal length of less", proposal+2, length(proposal+2, -1)...),
		change("proposal length past its payload", proposal+2, length(proposal+2, 4)...),
		change("proposal that says another follows", proposal, 2),
		change("SPI length past the proposal", proposal+6, 0xff),
		change("one transform more", proposal+7, request[proposal+7]+1),
		change("one transform less", proposal+7, request[proposal+7]-1),
		change("255 transforms", proposal+7, 255),
		change("transform that says it is the last", transform, 0),
		change("transform length 0", transform+2, 0, 0),
		change("transform length of less", transform+2, length(transform+2, -1)...),
		change("transform length past the proposal", transform+2, 0xff, 0xff),
		change("attribute past its transform", attribute, 0x00, 0x0e, 0x00, 0x20),
	}
}
