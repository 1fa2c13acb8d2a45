// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// ConfigurationType is the kind of a CP payload (RFC 7296, section 3.15).
type ConfigurationType uint8

// Configuration types.
const (
	ConfigurationRequest ConfigurationType = 1
	ConfigurationReply   ConfigurationType = 2
	ConfigurationSet     ConfigurationType = 3
	ConfigurationAck     ConfigurationType = 4
)

// Configuration is the CP payload. A DMVPN takes its addresses from elsewhere: a
// request is not answered, which RFC 7296 allows.
type Configuration struct {
	Type       ConfigurationType
	Attributes []ConfigurationAttribute
}

// ConfigurationAttribute is one attribute, its value as on the wire.
type ConfigurationAttribute struct {
	Type  uint16 // 15 bits
	Value []byte
}

// maxConfiguration bounds the attributes of one CP payload.
const maxConfiguration = 64

func parseConfiguration(body []byte) (Payload, error) {
	c := cursor{b: body}
	p := &Configuration{Type: ConfigurationType(c.uint8())}
	c.take(3) // reserved
	for c.more() {
		if len(p.Attributes) == maxConfiguration {
			return nil, syntax("CP", "more than %d attributes", maxConfiguration)
		}
		t := c.uint16() &^ attributeShort // one reserved bit
		p.Attributes = append(p.Attributes, ConfigurationAttribute{Type: t, Value: c.take(int(c.uint16()))})
	}
	if c.short {
		return nil, syntax("CP", "an attribute is past the end of %d octets", len(body))
	}
	return p, nil
}

// PayloadType is CP.
func (p *Configuration) PayloadType() PayloadType { return PayloadConfiguration }

func (p *Configuration) appendBody(b []byte) ([]byte, error) {
	b = append(b, byte(p.Type), 0, 0, 0)
	for _, a := range p.Attributes {
		if len(a.Value) > MaxMessage {
			return nil, oversize("attribute", len(a.Value), MaxMessage)
		}
		b = binary.BigEndian.AppendUint16(b, a.Type&^attributeShort)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b, nil
}

func (p *Configuration) String() string {
	kind := fmt.Sprintf("type %d", uint8(p.Type))
	switch p.Type {
	case ConfigurationRequest:
		kind = "request"
	case ConfigurationReply:
		kind = "reply"
	case ConfigurationSet:
		kind = "set"
	case ConfigurationAck:
		kind = "ack"
	}
	return fmt.Sprintf("CP(%s, %d attributes)", kind, len(p.Attributes))
}
