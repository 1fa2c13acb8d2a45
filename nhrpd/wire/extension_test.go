// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// types lists the extensions of a packet in their order.
func types(p *Packet) []ExtensionType {
	var out []ExtensionType
	for _, e := range p.Extensions {
		out = append(out, e.Type)
	}
	return out
}

func TestAnExtensionKeepsItsPlaceWhenItIsMadeAnew(t *testing.T) { // EX-04, AU-01
	p := registration(t)
	copied := *p
	before := types(p)
	secret, err := NewCiscoAuthentication("other")
	if err != nil {
		t.Fatal(err)
	}
	p.SetExtension(secret)
	if got := types(p); !slices.Equal(got, before) {
		t.Errorf("%v became %v", before, got)
	}
	if a, _ := copied.Extension(ExtensionAuthentication).Authentication(); !a.CiscoSecret("test1234") {
		t.Error("the packet that it was copied from has changed with it")
	}
	p.RemoveExtension(ExtensionForwardTransit)
	if got := types(p); !slices.Equal(got, []ExtensionType{3, 5, 9, 7}) || len(copied.Extensions) != 5 {
		t.Errorf("%v remain, %v in the other", got, types(&copied))
	}
	if p.Extension(ExtensionForwardTransit) != nil || p.Index(ExtensionForwardTransit) != -1 {
		t.Error("a removed extension is found")
	}
	none := bare(PurgeRequest)
	none.RemoveExtension(ExtensionNATAddress)
	if none.Extensions != nil {
		t.Error("to remove from nothing makes an extensions part")
	}
}

func TestPlacesOfEntriesAndExtensionsArePlacesInThePacket(t *testing.T) { // EX-06, ER-10
	for _, c := range captures(t) {
		p, err := Decode(c.nhrp)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range p.Extensions {
			at := p.ExtensionOffset(i)
			if kind := ExtensionType(c.nhrp[at])&0x3F<<8 | ExtensionType(c.nhrp[at+1]); kind != e.Type {
				t.Errorf("%s: extension %d is not at %d", c.name, i, at)
			}
		}
		for i, entry := range p.CIEs {
			if at := p.CIEOffset(i); c.nhrp[at] != byte(entry.Code) || c.nhrp[at+1] != entry.PrefixLength {
				t.Errorf("%s: entry %d is not at %d", c.name, i, at)
			}
		}
	}
}

func TestTransitRecordsGrowByOneEntryAHop(t *testing.T) { // RC-07, RC-10
	p := bare(ResolutionRequest)
	record, err := p.NewEntries(ExtensionForwardTransit)
	if err != nil || !record.Compulsory || len(record.Value) != 0 {
		t.Fatalf("%v, %v", record, err)
	}
	p.SetExtension(record)
	before := p.Clone()
	e := p.Extension(ExtensionForwardTransit)
	if err := p.AddEntries(e, CIE{HoldingTime: 60, NBMA: hubNBMA, Protocol: hub}); err != nil {
		t.Fatal(err)
	}
	first := e.Value
	if err := p.AddEntries(e, CIE{Protocol: spoke}); err != nil {
		t.Fatal(err)
	}
	entries, err := p.Entries(e)
	if err != nil || len(entries) != 2 || entries[0].NBMA != hubNBMA || entries[1].Protocol != spoke || entries[1].NBMA.IsValid() {
		t.Errorf("%v, %v", entries, err)
	}
	if len(first) != 20 || len(e.Value) != 36 || len(before.Extension(ExtensionForwardTransit).Value) != 0 {
		t.Errorf("%d and %d octets", len(first), len(e.Value))
	}
	if err := p.AddEntries(e, CIE{Protocol: spoke6}); err == nil || len(e.Value) != 36 {
		t.Errorf("an IPv6 address in an IPv4 record: %v", err)
	}
	e.Value = make([]byte, 65530)
	if err := p.AddEntries(e, CIE{}); err == nil {
		t.Error("a record of 65542 octets")
	}
	p.AddressFamily = 77
	if _, err := p.Entries(e); err == nil {
		t.Error("entries of an unknown family")
	}
	if err := p.AddEntries(e, CIE{}); err == nil {
		t.Error("entries added in an unknown family")
	}
}

func TestMalformedValuesOfExtensionsAreRefused(t *testing.T) { // NA-04, EX-12, AU-04
	p := bare(ResolutionReply)
	entries := func(e *Extension) error { _, err := p.Entries(e); return err }
	authentication := func(e *Extension) error { _, err := e.Authentication(); return err }
	vendor := func(e *Extension) error { _, err := e.Vendor(); return err }
	entry := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct {
		name   string
		read   func(*Extension) error
		kind   ExtensionType
		value  []byte
		fault  error
		code   ErrorCode
		offset int
	}{
		{"NAT of 1 octet", entries, ExtensionNATAddress, []byte{1}, ErrTruncated, ErrorInvalidExtension, 0},
		{"NAT of 11 octets", entries, ExtensionNATAddress, entry[:11], ErrTruncated, ErrorInvalidExtension, 0},
		{"NAT with an NBMA address of 3", entries, ExtensionNATAddress, append([]byte{8: 3}, entry...), ErrLength, ErrorInvalidExtension, 8},
		{"record whose second entry is cut", entries, ExtensionForwardTransit, append(bytes.Clone(entry), entry[:5]...), ErrTruncated, ErrorProtocolError, 12},
		{"record of 300 elements", entries, ExtensionReverseTransit, bytes.Repeat(entry, 300), ErrTooMany, ErrorProtocolError, 12 * MaxCIEs},
		{"two responders", entries, ExtensionResponderAddress, bytes.Repeat(entry, 2), ErrEntries, ErrorInvalidExtension, 0},
		{"authentication of no octets", authentication, ExtensionAuthentication, nil, ErrExtension, ErrorAuthenticationFailure, 0},
		{"authentication of 3 octets", authentication, ExtensionAuthentication, entry[:3], ErrExtension, ErrorAuthenticationFailure, 0},
		{"vendor of 2 octets", vendor, ExtensionVendorPrivate, entry[:2], ErrExtension, ErrorInvalidExtension, 0},
	} {
		err := c.read(&Extension{Type: c.kind, Value: c.value})
		var fault *DecodeError
		if !errors.As(err, &fault) || !errors.Is(err, c.fault) || fault.Code != c.code || fault.Offset != c.offset {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCiscoAuthentication(t *testing.T) { // AU-02, AU-04
	for _, secret := range []string{"", "123456789"} {
		if _, err := NewCiscoAuthentication(secret); err == nil {
			t.Errorf("%d octets are taken", len(secret))
		}
	}
	e, err := NewCiscoAuthentication("test1234")
	if err != nil || !bytes.Equal(e.Value, append([]byte{0, 0, 0, 1}, "test1234"...)) || !e.Compulsory {
		t.Fatalf("%x, %v", e.Value, err)
	}
	a, err := e.Authentication()
	if err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]bool{"test1234": true, "test123": false, "test12345": false, "": false, "wrong999": false} {
		if a.CiscoSecret(secret) != want {
			t.Errorf("%q matches: %v", secret, !want)
		}
	}
	for name, other := range map[string]Authentication{
		"another index": {SPI: 2, Data: a.Data}, "reserved bits": {Reserved: 1, SPI: 1, Data: a.Data}, "no data": {SPI: 1},
	} {
		if other.CiscoSecret("test1234") {
			t.Errorf("%s matches", name)
		}
	}
	if got := (Authentication{SPI: 256, Data: make([]byte, 20)}).String(); got != "keyed spi 256, 20 octets" {
		t.Error(got)
	}
}

// Every secret of the captures is the one that its sender was given.
func TestCapturedSecrets(t *testing.T) {
	right, wrong := 0, 0
	for _, c := range captures(t) {
		p, err := Decode(c.nhrp)
		if err != nil {
			t.Fatal(err)
		}
		e := p.Extension(ExtensionAuthentication)
		if e == nil {
			continue
		}
		a, err := e.Authentication()
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case a.CiscoSecret("test1234"):
			right++
		case a.CiscoSecret("wrong999"):
			wrong++
		default:
			t.Errorf("%s: %v", c.name, p)
		}
	}
	if right == 0 || wrong == 0 {
		t.Errorf("%d right and %d wrong secrets", right, wrong)
	}
}

func TestVendorPrivateOfOthersComesBack(t *testing.T) { // EX-03
	p := bare(ResolutionRequest)
	p.Extensions = []Extension{NewVendor(Vendor{ID: [3]byte{0, 0, 12}, Data: []byte("a")}), NewVendor(Vendor{ID: [3]byte{1, 2, 3}})}
	got, err := Decode(marshal(t, p))
	if err != nil {
		t.Fatal(err)
	}
	first, err := got.Extensions[0].Vendor()
	if err != nil || first.ID != [3]byte{0, 0, 12} || string(first.Data) != "a" || got.Extensions[0].Compulsory {
		t.Errorf("%v, %v", first, err)
	}
	second, err := got.Extensions[1].Vendor()
	if err != nil || second.ID != [3]byte{1, 2, 3} || second.Data != nil {
		t.Errorf("%v, %v", second, err)
	}
}
