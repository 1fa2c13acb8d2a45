// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"dmvpn/ikev2/wire"
)

// Identity is who a peer claims to be (RFC 7296, section 3.5).
type Identity struct {
	Type wire.IDType
	Data string // the payload's octets
}

// IdentityOf is the identity in an ID payload.
func IdentityOf(p *wire.Identification) Identity {
	return Identity{p.Type, string(p.Data)}
}

// Payload makes IDi, or IDr for the responder.
func (i Identity) Payload(responder bool) *wire.Identification {
	return &wire.Identification{Responder: responder, Type: i.Type, Data: []byte(i.Data)}
}

func (i Identity) String() string {
	if i.Type == wire.IDDN {
		return describeDN([]byte(i.Data))
	}
	return i.Payload(false).Identity()
}

// Name is a text that equal identities have in common and no other one has: ParseIdentity
// makes an equal identity of it, but for one that no configuration can write, which is in
// hexadecimal. Case does not count in a domain name, and Name has it in lower case.
func (i Identity) Name() string {
	switch i.Type {
	case wire.IDFQDN:
		i.Data = foldName(i.Data)
	case wire.IDEmail:
		if local, domain, at := strings.Cut(i.Data, "@"); at {
			i.Data = local + "@" + foldName(domain)
		}
	}
	text := i.String()
	if parsed, err := ParseIdentity(text); err == nil && parsed.Equal(i) {
		return text
	}
	if i.Type == wire.IDDN && i.Equal(i) {
		return fmt.Sprintf("id(%d):dn:%x", uint8(i.Type), spellDN([]byte(i.Data)))
	}
	return fmt.Sprintf("id(%d):%x", uint8(i.Type), i.Data)
}

// Equal compares as RFC 4945 wants it: names without regard to case, an e-mail's
// domain too, distinguished names part by part, everything else by octets.
func (i Identity) Equal(o Identity) bool {
	if i.Type != o.Type {
		return false
	}
	switch i.Type {
	case wire.IDFQDN:
		return equalName(i.Data, o.Data)
	case wire.IDEmail:
		local, domain, at := strings.Cut(i.Data, "@")
		local2, domain2, at2 := strings.Cut(o.Data, "@")
		return local == local2 && at == at2 && equalName(domain, domain2)
	case wire.IDDN:
		return equalDN([]byte(i.Data), []byte(o.Data))
	}
	return i.Data == o.Data
}

// Folded is a text that equal identities have in common. Others may have the same, for
// which Equal decides.
func (i Identity) Folded() string {
	text := i.Data
	switch i.Type {
	case wire.IDFQDN, wire.IDEmail:
		text = foldName(text) // an e-mail's local part too: Equal tells them apart
	case wire.IDDN:
		text = foldDN([]byte(text))
	}
	return string(rune(i.Type)) + text
}

// equalName compares in ASCII: no letter of another script is folded into one.
func equalName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func foldName(text string) string {
	b := []byte(text)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

// ParseIdentity reads an identity as the configuration has it: an IP address, an
// e-mail address, a distinguished name (C=CH, O=Example, CN=hub), keyid: and
// hexadecimal digits, or else a domain name. A leading "fqdn:", "email:" or "dn:"
// forces the kind.
func ParseIdentity(text string) (Identity, error) {
	kind, rest, prefixed := strings.Cut(text, ":")
	if !prefixed {
		kind, rest = "", text
	}
	switch kind {
	case "fqdn":
		return name(rest)
	case "email":
		return Identity{wire.IDEmail, rest}, nil
	case "dn":
		return distinguished(rest)
	case "keyid":
		b, err := hex.DecodeString(rest)
		if err != nil || len(b) == 0 {
			return Identity{}, fmt.Errorf("ike: identity %q: behind keyid: come hexadecimal digits", text)
		}
		return Identity{wire.IDKeyID, string(b)}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		if a.Is4() {
			return Identity{wire.IDIPv4, string(a.AsSlice())}, nil
		}
		return Identity{wire.IDIPv6, string(a.AsSlice())}, nil
	}
	switch {
	case strings.Contains(text, "="):
		return distinguished(text)
	case strings.Contains(text, "@"):
		return Identity{wire.IDEmail, text}, nil
	}
	return name(text)
}

func name(text string) (Identity, error) {
	if text == "" || len(text) > 253 {
		return Identity{}, fmt.Errorf("ike: identity %q: a name has 1 to 253 characters", text)
	}
	for _, c := range []byte(text) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return Identity{}, fmt.Errorf("ike: identity %q: no name may have %q; for another kind write email:, dn: or keyid: in front", text, c)
		}
	}
	return Identity{wire.IDFQDN, text}, nil
}

func distinguished(text string) (Identity, error) {
	b, err := parseDN(text)
	return Identity{wire.IDDN, string(b)}, err
}

// Pattern is an identity, or a set of them: "*" for all, "*.example.net" for the
// names and "*@example.net" for the e-mail addresses with that end.
type Pattern struct {
	exact  Identity
	suffix string // with its dot or @; "" and all for everybody
	kind   wire.IDType
	all    bool
}

// ParsePattern reads a pattern, or an identity as ParseIdentity does.
func ParsePattern(text string) (Pattern, error) {
	switch {
	case text == "*":
		return Pattern{all: true}, nil
	case strings.HasPrefix(text, "*.") && len(text) > 2:
		return Pattern{suffix: text[1:], kind: wire.IDFQDN}, nil
	case strings.HasPrefix(text, "*@") && len(text) > 2:
		return Pattern{suffix: text[1:], kind: wire.IDEmail}, nil
	case strings.HasPrefix(text, "*"):
		return Pattern{}, fmt.Errorf("ike: identity %q: a star stands alone or before a dot or an @", text)
	}
	i, err := ParseIdentity(text)
	return Pattern{exact: i}, err
}

// Group says whether several identities may fit.
func (p Pattern) Group() bool { return p.all || p.suffix != "" }

// Matches says whether an identity belongs to the pattern. A star stands for at
// least one character.
func (p Pattern) Matches(i Identity) bool {
	if p.all {
		return true
	}
	if p.suffix == "" {
		return p.exact.Equal(i)
	}
	n := len(i.Data) - len(p.suffix)
	return i.Type == p.kind && n > 0 && equalName(i.Data[n:], p.suffix)
}
