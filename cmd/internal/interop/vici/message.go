// SPDX-License-Identifier: Apache-2.0

// Package vici talks to strongSwan's charon over its control socket, as swanctl
// does: src/libcharon/plugins/vici/README.md in strongSwan's tree tells the
// protocol.
package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Message is what a packet carries: names with a string, a []string or a Message.
type Message map[string]any

// The elements of an encoded message.
const (
	sectionStart = 1 + iota
	sectionEnd
	keyValue
	listStart
	listItem
	listEnd
)

var errShort = errors.New("vici: a message ends too early")

// Text gives a value by its name, "" if it is not there or no string.
func (m Message) Text(name string) string {
	s, _ := m[name].(string)
	return s
}

// Section gives the section of that name, nil if there is none.
func (m Message) Section(name string) Message {
	s, _ := m[name].(Message)
	return s
}

// appendTo encodes the message, in the order of its names.
func (m Message) appendTo(b []byte) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if len(name) == 0 || len(name) > 255 {
			return nil, fmt.Errorf("vici: name %q: 1 to 255 octets", name)
		}
		head := func(kind byte) { b = append(append(b, kind, byte(len(name))), name...) }
		switch v := m[name].(type) {
		case string:
			head(keyValue)
			b = appendValue(b, v)
		case []string:
			head(listStart)
			for _, item := range v {
				b = appendValue(append(b, listItem), item)
			}
			b = append(b, listEnd)
		case Message:
			head(sectionStart)
			var err error
			if b, err = v.appendTo(b); err != nil {
				return nil, err
			}
			b = append(b, sectionEnd)
		default:
			return nil, fmt.Errorf("vici: %s: a %T", name, v)
		}
	}
	return b, nil
}

func appendValue(b []byte, v string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
}

// parse decodes a message, or the section of one up to its end, and gives what is
// left. Twice the same name in one section: the last one counts.
func parse(b []byte, inside bool) (Message, []byte, error) {
	m := Message{}
	for {
		if len(b) == 0 {
			if inside {
				return nil, nil, errShort
			}
			return m, nil, nil
		}
		kind := b[0]
		if b = b[1:]; kind == sectionEnd && inside {
			return m, b, nil
		}
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return nil, nil, errShort
		}
		name := string(b[1 : 1+b[0]])
		b = b[1+len(name):]
		var err error
		switch kind {
		case keyValue:
			m[name], b, err = parseValue(b)
		case listStart:
			m[name], b, err = parseList(b)
		case sectionStart:
			m[name], b, err = parse(b, true)
		default:
			err = fmt.Errorf("vici: an element of type %d", kind)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func parseValue(b []byte) (string, []byte, error) {
	if len(b) < 2 {
		return "", nil, errShort
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b)-2 < n {
		return "", nil, errShort
	}
	return string(b[2 : 2+n]), b[2+n:], nil
}

func parseList(b []byte) ([]string, []byte, error) {
	var list []string
	for {
		if len(b) == 0 {
			return nil, nil, errShort
		}
		kind := b[0]
		switch b = b[1:]; kind {
		case listEnd:
			return list, b, nil
		case listItem:
			var item string
			var err error
			if item, b, err = parseValue(b); err != nil {
				return nil, nil, err
			}
			list = append(list, item)
		default:
			return nil, nil, fmt.Errorf("vici: an element of type %d in a list", kind)
		}
	}
}
