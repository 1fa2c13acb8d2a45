// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io"
)

// What may hold authentication data prints as String does, whatever the verb,
// and is that text in JSON. So no log and no answer of the control API shows a
// secret by accident.

// Format prints String for every verb but %+v, which prints Dump.
func (p Packet) Format(s fmt.State, verb rune) {
	if verb == 'v' && s.Flag('+') {
		io.WriteString(s, p.Dump())
		return
	}
	io.WriteString(s, p.String())
}

// Format prints String for every verb.
func (e Extension) Format(s fmt.State, _ rune) { io.WriteString(s, e.String()) }

// Format prints String for every verb.
func (a Authentication) Format(s fmt.State, _ rune) { io.WriteString(s, a.String()) }

// MarshalText gives String.
func (p Packet) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText gives String.
func (e Extension) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// MarshalText gives String.
func (a Authentication) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
