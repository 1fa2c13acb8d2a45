// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net/netip"
	"strings"
)

// String is the packet in one line, as an operator reads it in a log:
//
//	Registration Request id 1 flags nat hop 255 from 10.0.0.11 (198.51.100.11) to 10.0.0.1; success hold 7200; Responder Address
//
// Authentication data is never shown, foreign text is quoted.
func (p Packet) String() string {
	var b strings.Builder
	p.writeHead(&b)
	for i := range p.CIEs {
		b.WriteString("; ")
		b.WriteString(p.CIEs[i].String())
	}
	for i := range p.Extensions {
		b.WriteString("; ")
		b.WriteString(p.describe(&p.Extensions[i]))
	}
	return b.String()
}

func (p *Packet) writeHead(b *strings.Builder) {
	b.WriteString(p.Type.String())
	if p.Type.Indication() {
		if p.Type == ErrorIndication || p.ErrorCode != 0 {
			fmt.Fprintf(b, " %v at octet %d", p.ErrorCode, p.ErrorOffset)
		}
	} else {
		fmt.Fprintf(b, " id %d", p.RequestID)
		if names := FlagNames(p.Type, p.Flags); names != "" {
			b.WriteString(" flags " + names)
		}
	}
	fmt.Fprintf(b, " hop %d from %v (%v", p.HopCount, show(p.SourceProtocol), show(p.SourceNBMA))
	if len(p.SourceSubaddress) > 0 {
		fmt.Fprintf(b, " sub %x", p.SourceSubaddress)
	}
	fmt.Fprintf(b, ") to %v", show(p.DestinationProtocol))
	if p.Type.Indication() {
		b.WriteString(" about " + about(p.Type, p.Contents))
	}
}

// show is an address, "-" for a field of length zero.
func show(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// about is what the contents of an indication are the beginning of.
func about(t Type, contents []byte) string {
	switch {
	case t == ErrorIndication:
		if p := peek(contents); p != nil && p.SourceProtocol.IsValid() {
			var b strings.Builder
			p.writeHead(&b)
			return b.String()
		}
	case len(contents) >= 20 && contents[0]>>4 == 4:
		return fmt.Sprintf("%v → %v protocol %d", address(contents[12:16]), address(contents[16:20]), contents[9])
	case len(contents) >= 40 && contents[0]>>4 == 6:
		return fmt.Sprintf("%v → %v protocol %d", address(contents[8:24]), address(contents[24:40]), contents[6])
	}
	return fmt.Sprintf("%d octets", len(contents))
}

// FlagNames is the flags of a packet type by name, with commas between; those
// without a name in hexadecimal; empty for none and for indications.
func FlagNames(t Type, flags uint16) string {
	type name struct {
		bit  uint16
		text string
	}
	var names []name
	switch t {
	case ResolutionRequest, ResolutionReply:
		names = []name{{FlagRouter, "router"}, {FlagAuthoritative, "authoritative"},
			{FlagDestinationStable, "destination-stable"}, {FlagUnique, "unique"},
			{FlagSourceStable, "source-stable"}, {FlagNAT, "nat"}}
	case RegistrationRequest, RegistrationReply:
		names = []name{{FlagRegistrationUnique, "unique"}, {FlagNAT, "nat"}}
	case PurgeRequest, PurgeReply:
		names = []name{{FlagPurgeNoReply, "no-reply"}}
	default:
		return ""
	}
	var out []string
	for _, n := range names {
		if flags&n.bit != 0 {
			out = append(out, n.text)
			flags &^= n.bit
		}
	}
	if flags != 0 {
		out = append(out, fmt.Sprintf("0x%04x", flags))
	}
	return strings.Join(out, ",")
}

// String is the entry in a few words: code, what it is about, and the fields
// that are not zero. Without an address it is about the header's.
func (c CIE) String() string {
	return strings.TrimSpace(c.Code.String() + c.fields())
}

// fields is what String says after the code.
func (c *CIE) fields() string {
	var b strings.Builder
	if c.Protocol.IsValid() {
		fmt.Fprintf(&b, " %v", c.Protocol)
	}
	switch {
	case c.PrefixLength == 0 || c.PrefixLength == HostPrefix:
	case c.Protocol.IsValid():
		fmt.Fprintf(&b, "/%d", c.PrefixLength)
	default:
		fmt.Fprintf(&b, " /%d", c.PrefixLength)
	}
	if c.NBMA.IsValid() {
		fmt.Fprintf(&b, " nbma %v", c.NBMA)
	}
	if len(c.Subaddress) > 0 {
		fmt.Fprintf(&b, " sub %x", c.Subaddress)
	}
	for _, field := range []struct {
		name  string
		value uint16
	}{{"hold", c.HoldingTime}, {"mtu", c.MTU}, {"preference", uint16(c.Preference)}, {"unused", c.Unused}} {
		if field.value != 0 {
			fmt.Fprintf(&b, " %s %d", field.name, field.value)
		}
	}
	return b.String()
}

// describe is an extension with what its value says in the families of p.
func (p *Packet) describe(e *Extension) string {
	if !e.Type.hasEntries() {
		return e.String()
	}
	entries, err := p.Entries(e)
	switch {
	case err != nil:
		return e.String() + " malformed"
	case len(entries) == 0:
		return e.name()
	}
	text := make([]string, len(entries))
	for i := range entries {
		text[i] = entries[i].String()
		if entries[i].Code == CodeSuccess {
			text[i] = strings.TrimSpace(entries[i].fields())
		}
	}
	return e.name() + " [" + strings.Join(text, ", ") + "]"
}

// name is the type, and a word if the compulsory bit is not as usual.
func (e *Extension) name() string {
	usual := e.Type != ExtensionNATAddress && e.Type != ExtensionVendorPrivate
	switch {
	case e.Type.Known() && e.Compulsory == usual:
		return e.Type.String()
	case e.Compulsory:
		return e.Type.String() + " compulsory"
	}
	return e.Type.String() + " optional"
}

// String is the extension in a few words. Its value is shown only where it is
// known to be no secret.
func (e Extension) String() string {
	switch e.Type {
	case ExtensionAuthentication:
		if a, err := e.Authentication(); err == nil {
			return e.name() + " [" + a.String() + "]"
		}
	case ExtensionVendorPrivate:
		if own, err := e.Private(); err == nil {
			return e.name() + " [" + own.String() + "]"
		}
		if v, err := e.Vendor(); err == nil {
			return fmt.Sprintf("%s [vendor %x, %d octets]", e.name(), v.ID, len(v.Data))
		}
	}
	return fmt.Sprintf("%s [%d octets]", e.name(), len(e.Value))
}

// String names the elements that are given; text is quoted.
func (p Private) String() string {
	var out []string
	if p.Port != 0 {
		out = append(out, fmt.Sprintf("port %d", p.Port))
	}
	if p.Identity != "" {
		out = append(out, fmt.Sprintf("identity %q", p.Identity))
	}
	if p.MTU != 0 {
		out = append(out, fmt.Sprintf("mtu %d", p.MTU))
	}
	if p.Group != "" {
		out = append(out, fmt.Sprintf("group %q", p.Group))
	}
	switch p.Probe {
	case ProbeNot:
	case ProbeRequester:
		out = append(out, "requester answers probes")
	case ProbeReplier:
		out = append(out, "replier answers probes")
	default:
		out = append(out, fmt.Sprintf("probe %d", p.Probe))
	}
	if p.NoMulticast {
		out = append(out, "no multicast")
	}
	return "dmvpn " + strings.Join(out, " ")
}
