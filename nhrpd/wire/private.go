// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Private is our own vendor-private extension. It says of the system that its
// packet speaks for (the client in a registration and its reply, the requester in
// a Resolution Request, the responder in its reply) what NHRP has no field for. Port
// and Identity are a server's word, never the system's own. The zero value of a field
// means that it is not given.
//
// Layout, all numbers in network byte order:
//
//	02 44 4d            vendor id, locally administered
//	56 50 4e            "VPN": sets us apart from others with that id
//	01                  version
//	type(1) length(2) value …
//
// Elements that are not known are stepped over, and so is what a newer version
// adds. Those with the top bit of the type set are for hubs among each other.
type Private struct {
	Port     uint16 // type 1: UDP source port that the server observed
	Identity string // type 2: authenticated IKE identity, at most 255 octets
	MTU      uint16 // type 3: of the tunnel, in octets
	Group    string // type 4: nhrp.group, at most 255 octets
	Probe    Probe  // type 5: that it answers Probe Requests
	// NoMulticast, type 6, in a registration: the client wants no copies of multicast.
	NoMulticast bool
}

// Probe says whose word it is that a system answers Probe Requests: who does not know
// our extension sends a request's back with its reply, which then says nothing of the
// replier.
type Probe uint8

// Values of Probe.
const (
	ProbeNot       Probe = iota // not announced
	ProbeRequester              // who made the request answers probes
	ProbeReplier                // who made the reply does
)

var privateMagic = []byte{0x02, 'D', 'M', 'V', 'P', 'N'}

const (
	privateVersion = 1
	privateHeader  = 7
	elementHeader  = 3

	elementPort     = 1
	elementIdentity = 2
	elementMTU      = 3
	elementGroup    = 4
	elementProbe    = 5
	elementNoGroups = 6
	elementHubOnly  = 0x80

	maxPrivateText = 255
)

// Private reads our own extension. The error is a *DecodeError, with ErrForeign
// if the extension is not ours: another vendor's is not to be touched.
func (e *Extension) Private() (Private, error) {
	var p Private
	err := e.elements(func(kind byte, value []byte, at int) *DecodeError {
		switch kind {
		case elementPort, elementMTU:
			if len(value) != 2 {
				return fault(ErrExtension, at, "element %d of %d octets, not 2", kind, len(value))
			}
			number := binary.BigEndian.Uint16(value)
			if kind == elementPort {
				p.Port = number
			} else {
				p.MTU = number
			}
		case elementProbe:
			if len(value) != 1 {
				return fault(ErrExtension, at, "element %d of %d octets, not 1", kind, len(value))
			}
			p.Probe = Probe(value[0])
		case elementNoGroups:
			if len(value) != 0 {
				return fault(ErrExtension, at, "element %d of %d octets, not 0", kind, len(value))
			}
			p.NoMulticast = true
		case elementIdentity, elementGroup:
			if len(value) > maxPrivateText {
				return fault(ErrExtension, at, "element %d of %d octets, at most %d", kind, len(value), maxPrivateText)
			}
			if kind == elementIdentity {
				p.Identity = string(value)
			} else {
				p.Group = string(value)
			}
		}
		return nil
	})
	if err != nil {
		err.Code = ErrorInvalidExtension
		return Private{}, err
	}
	return p, nil
}

// elements calls visit for each element; at is the element's place in the value.
func (e *Extension) elements(visit func(kind byte, value []byte, at int) *DecodeError) *DecodeError {
	if e.Type != ExtensionVendorPrivate || !bytes.HasPrefix(e.Value, privateMagic) {
		return fault(ErrForeign, 0, "%v", e.Type)
	}
	if len(e.Value) < privateHeader || e.Value[privateHeader-1] == 0 {
		return fault(ErrExtension, 0, "our vendor-private extension without a version")
	}
	for at := privateHeader; at < len(e.Value); {
		left := len(e.Value) - at
		if left < elementHeader {
			return fault(ErrExtension, at, "%d octets left", left)
		}
		length := int(binary.BigEndian.Uint16(e.Value[at+1:]))
		if left < elementHeader+length {
			return fault(ErrExtension, at, "element of %d octets, %d left", length, left-elementHeader)
		}
		value := e.Value[at+elementHeader : at+elementHeader+length]
		if err := visit(e.Value[at], value, at); err != nil {
			return err
		}
		at += elementHeader + length
	}
	return nil
}

// NewPrivate makes our vendor-private extension, not compulsory. It fails if a
// text exceeds 255 octets.
func NewPrivate(p Private) (Extension, error) {
	value := append(slices.Clone(privateMagic), privateVersion)
	number := func(kind byte, n uint16) {
		if n != 0 {
			value = append(value, kind, 0, 2, byte(n>>8), byte(n))
		}
	}
	text := func(kind byte, s string) {
		if s != "" {
			value = append(append(value, kind, 0, byte(len(s))), s...)
		}
	}
	for name, s := range map[string]string{"identity": p.Identity, "group": p.Group} {
		if len(s) > maxPrivateText {
			return Extension{}, fmt.Errorf("nhrp: %s of %d octets, at most %d", name, len(s), maxPrivateText)
		}
	}
	number(elementPort, p.Port)
	text(elementIdentity, p.Identity)
	number(elementMTU, p.MTU)
	text(elementGroup, p.Group)
	if p.Probe != ProbeNot {
		value = append(value, elementProbe, 0, 1, byte(p.Probe))
	}
	if p.NoMulticast {
		value = append(value, elementNoGroups, 0, 0)
	}
	return Extension{Type: ExtensionVendorPrivate, Value: value}, nil
}

// Private gives our own vendor-private extension of the packet; false if it has
// none or it cannot be read.
func (p *Packet) Private() (Private, bool) {
	for i := range p.Extensions {
		if own, err := p.Extensions[i].Private(); err == nil {
			return own, true
		}
	}
	return Private{}, false
}

// SetPrivate puts our vendor-private extension in the place of those that the
// packet has, or at the end, and leaves those of other vendors alone.
func (p *Packet) SetPrivate(own Private) error {
	e, err := NewPrivate(own)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Extensions, ours)
	p.RemovePrivate()
	if i < 0 {
		i = len(p.Extensions)
	}
	p.Extensions = slices.Insert(p.Extensions, i, e)
	return nil
}

func ours(e Extension) bool {
	return e.Type == ExtensionVendorPrivate && bytes.HasPrefix(e.Value, privateMagic)
}

// RemovePrivate takes our vendor-private extension out of the packet, if it has one.
func (p *Packet) RemovePrivate() {
	p.Extensions = slices.DeleteFunc(slices.Clone(p.Extensions), ours)
}

// ForClient takes from our own extension what is between hubs only; a hub does
// it before it sends to a client. Extensions of others stay as they are.
func (e *Extension) ForClient() {
	value := make([]byte, 0, len(e.Value))
	err := e.elements(func(kind byte, v []byte, at int) *DecodeError {
		if kind&elementHubOnly == 0 {
			value = append(value, e.Value[at:at+elementHeader+len(v)]...)
		}
		return nil
	})
	if err == nil {
		e.Value = append(slices.Clone(e.Value[:privateHeader]), value...)
	}
}
