// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// nested reads the packet in an Error Indication. Its sender may have written
// to it (OpenNHRP counts the hop down first), so the checksum need not be right.
func nested(contents []byte) (*Packet, error) {
	b := bytes.Clone(contents)
	binary.BigEndian.PutUint16(b[offChecksum:], 0)
	binary.BigEndian.PutUint16(b[offChecksum:], Checksum(b[:binary.BigEndian.Uint16(b[offSize:])]))
	return Decode(b)
}

// HD-12: NHRP as it comes out of GRE decodes and encodes to the same octets.
func TestEveryCapturedPacketIsEncodedToTheSameOctets(t *testing.T) {
	for _, c := range captures(t) {
		p, err := Decode(c.nhrp)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		b, err := p.Marshal()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		size := binary.BigEndian.Uint16(c.nhrp[offSize:])
		if !bytes.Equal(b, c.nhrp[:size]) || p.Size() != len(b) {
			t.Errorf("%s: encoded\n%x, was\n%x", c.name, b, c.nhrp[:size])
		}
		if again, _ := p.Clone().Marshal(); !bytes.Equal(again, b) {
			t.Errorf("%s: the clone is encoded\n%x", c.name, again)
		}
	}
}

func TestEveryCapturedPacketReadsAsTheIndexSays(t *testing.T) {
	b, err := os.ReadFile("testdata/INDEX.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	file := ""
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "== "); ok {
			file = strings.TrimSuffix(strings.Fields(rest)[0], ".pcap")
			continue
		}
		lines[file+"#"+strings.Fields(line)[0]] = strings.Join(strings.Fields(line)[2:], " ")
	}
	all := captures(t)
	if len(all) != len(lines) {
		t.Errorf("%d NHRP packets captured, %d in the index", len(all), len(lines))
	}
	for _, c := range all {
		p, err := Decode(c.nhrp)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, rest, _ := strings.Cut(lines[c.name], " NHRP ")
		length, text, _ := strings.Cut(rest, " NHRP ")
		if _, err := strconv.Atoi(length); err != nil {
			t.Errorf("%s: %q", c.name, lines[c.name])
		}
		if want, got := strings.TrimSpace(text), indexLine(t, p); got != want {
			t.Errorf("%s: reads as\n%s, in the index it is\n%s", c.name, got, want)
		}
		if from := fmt.Sprintf("%v → %v ", c.src, c.dst); !strings.HasPrefix(lines[c.name], from) {
			t.Errorf("%s: %s, in the index it is %s", c.name, from, lines[c.name])
		}
	}
}

// indexLine sums a packet up as tshark does.
func indexLine(t *testing.T, p *Packet) string {
	t.Helper()
	line := p.Type.String()
	var extensions []Extension
	if p.Type == ErrorIndication {
		inner, err := nested(p.Contents)
		if err != nil {
			t.Fatal(err)
		}
		names := map[ErrorCode]string{ErrorProtocolAddressUnreachable: "Protocol Address Unreachable",
			ErrorAuthenticationFailure: "Authentication Failure"}
		line += ", " + names[p.ErrorCode] + fmt.Sprintf(", ID=%d", inner.RequestID)
		extensions = append(inner.Extensions, Extension{})
	}
	if !p.Type.Indication() {
		line += fmt.Sprintf(", ID=%d", p.RequestID)
	}
	if p.Type == ResolutionReply || p.Type == RegistrationReply || p.Type == PurgeReply {
		for _, c := range p.CIEs {
			if c.Code == CodeSuccess {
				line += ", Code=Success"
			}
		}
	}
	if p.Extensions == nil {
		return line
	}
	extensions = append(append(extensions, p.Extensions...), Extension{})
	names := map[ExtensionType]string{ExtensionEnd: "End of", ExtensionNATAddress: "Cisco NAT Address",
		ExtensionAuthentication: "NHRP Authentication"}
	line += " {"
	for _, e := range extensions {
		name := names[e.Type]
		if name == "" {
			name = e.Type.String()
		}
		line += " " + name
	}
	return line + " }"
}

func TestEveryCapturedPacketHasTheFieldsThatTsharkSees(t *testing.T) {
	b, err := os.ReadFile("testdata/fields.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	header := strings.Split(rows[0], "\t")
	all := captures(t)
	if len(all) != len(rows)-1 {
		t.Fatalf("%d packets captured, %d rows", len(all), len(rows)-1)
	}
	for i, row := range rows[1:] {
		cells := strings.Split(row, "\t")
		if name := cells[0] + "#" + cells[1]; all[i].name != name {
			t.Fatalf("packet %s in the row of %s", all[i].name, name)
		}
		p, err := Decode(all[i].nhrp)
		if err != nil {
			t.Errorf("%s: %v", all[i].name, err)
			continue
		}
		got := fields{"ip.src": {all[i].src.String()}, "ip.dst": {all[i].dst.String()}}
		got.add(t, p, all[i].nhrp)
		for column, name := range header[2:] {
			if have, want := strings.Join(got[name], ","), cells[column+2]; have != want {
				t.Errorf("%s: %s is %q, tshark says %q", all[i].name, name, have, want)
			}
		}
	}
}

// fields are the values of tshark's fields in the order of the wire.
type fields map[string][]string

func (f fields) put(name, format string, value any) {
	f[name] = append(f[name], fmt.Sprintf(format, value))
}

func (f fields) add(t *testing.T, p *Packet, raw []byte) {
	t.Helper()
	f.put("nhrp.hdr.afn", "0x%04x", p.AddressFamily)
	f.put("nhrp.hdr.pro.type", "0x%04x", p.ProtocolType)
	f.put("nhrp.hdr.hopcnt", "%d", p.HopCount)
	f.put("nhrp.hdr.pktsz", "%d", p.Size())
	f.put("nhrp.hdr.chksum", "0x%04x", binary.BigEndian.Uint16(raw[offChecksum:]))
	extensions := 0
	if len(p.Extensions) > 0 {
		extensions = p.ExtensionOffset(0)
	}
	f.put("nhrp.hdr.extoff", "%d", extensions)
	f.put("nhrp.hdr.version", "%d", Version)
	f.put("nhrp.hdr.op.type", "%d", uint8(p.Type))
	f.put("nhrp.hdr.shtl", "%d", p.SourceNBMA.BitLen()/8)
	f.put("nhrp.hdr.sstl", "%d", len(p.SourceSubaddress))
	switch p.Type {
	case ErrorIndication:
		f.put("nhrp.err.code", "%d", uint16(p.ErrorCode))
		f.put("nhrp.err.offset", "%d", p.ErrorOffset)
	case TrafficIndication: // the packet inside is IPv4
		f.put("ip.src", "%v", address(p.Contents[12:16]))
		f.put("ip.dst", "%v", address(p.Contents[16:20]))
	default:
		f.put("nhrp.flags", "0x%04x", p.Flags)
		f.put("nhrp.reqid", "0x%08x", p.RequestID)
	}
	f.put("nhrp.src.nbma.addr", "%v", p.SourceNBMA)
	f.put("nhrp.src.prot.addr", "%v", p.SourceProtocol)
	f.put("nhrp.dst.prot.addr", "%v", p.DestinationProtocol)
	f.entries(p.CIEs)
	if p.Type == ErrorIndication {
		inner, err := nested(p.Contents)
		if err != nil {
			t.Fatal(err)
		}
		f.add(t, inner, p.Contents)
	}
	if p.Extensions == nil {
		return
	}
	for i := range p.Extensions {
		e := &p.Extensions[i]
		f.extension(e.Type, e.Compulsory, len(e.Value))
		switch e.Type {
		case ExtensionAuthentication:
			a, err := e.Authentication()
			if err != nil {
				t.Fatal(err)
			}
			f.put("nhrp.auth_ext.spi", "%d", a.SPI)
		default:
			entries, err := p.Entries(e)
			if err != nil {
				t.Fatal(err)
			}
			f.entries(entries)
		}
	}
	f.extension(ExtensionEnd, p.EndMark&compulsoryBit == 0, 0)
}

func (f fields) extension(t ExtensionType, compulsory bool, length int) {
	f.put("nhrp.ext.type", "0x%04x", uint16(t))
	f.put("nhrp.ext.c", "%s", map[bool]string{true: "1", false: "0"}[compulsory])
	f.put("nhrp.ext.len", "%d", length)
}

func (f fields) entries(entries []CIE) {
	for _, c := range entries {
		f.put("nhrp.code", "%d", uint8(c.Code))
		f.put("nhrp.prefix", "%d", c.PrefixLength)
		f.put("nhrp.unused", "%d", c.Unused)
		f.put("nhrp.mtu", "%d", c.MTU)
		f.put("nhrp.htime", "%d", c.HoldingTime)
		f.put("nhrp.pref", "%d", c.Preference)
		if c.NBMA.IsValid() {
			f.put("nhrp.client.nbma.addr", "%v", c.NBMA)
		}
		if c.Protocol.IsValid() {
			f.put("nhrp.client.prot.addr", "%v", c.Protocol)
		}
	}
}
