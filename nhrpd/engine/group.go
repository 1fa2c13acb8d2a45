// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"dmvpn/nhrpd/wire"
)

// A client says in its registrations which group it is of: a word of the operator's, by
// which the server's side tells its clients apart.

// sayGroup puts our group into a registration of ours.
func (m *Machine) sayGroup(p *wire.Packet) {
	if m.cfg.Group == "" {
		return
	}
	own, _ := p.Private()
	if own.Group = m.cfg.Group; p.SetPrivate(own) != nil {
		m.count("encode-failed")
	}
}

// group is the client's in a registration, "" where it has none or one that cannot be shown.
func group(p *wire.Packet) string {
	own, _ := p.Private()
	if !utf8.ValidString(own.Group) || strings.ContainsFunc(own.Group, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return ""
	}
	return own.Group
}
