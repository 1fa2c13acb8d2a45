// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// goldenPrivate is the octets that docs/nhrp-wire.md shows: the block that
// begins with our vendor id.
func goldenPrivate(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../docs/nhrp-wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "```\n02444d ")
	text, _, ended := strings.Cut(text, "```")
	if !found || !ended {
		t.Fatal("docs/nhrp-wire.md shows no golden octets")
	}
	return unhex(t, "02444d "+text)
}

func TestOurVendorPrivateExtensionIsTheseOctets(t *testing.T) { // EX-11
	own := Private{Port: 50000, Identity: "spoke1.lab.example", MTU: 1400, Group: "branch", Probe: ProbeReplier, NoMulticast: true}
	e, err := NewPrivate(own)
	if err != nil {
		t.Fatal(err)
	}
	if want := goldenPrivate(t); !bytes.Equal(e.Value, want) || e.Type != ExtensionVendorPrivate || e.Compulsory {
		t.Errorf("encoded\n%x, want\n%x", e.Value, want)
	}
	if got, err := e.Private(); err != nil || got != own {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOurVendorPrivateExtensionRead(t *testing.T) {
	head := "02444d56504e01"
	for _, c := range []struct {
		name, octets string
		want         Private
		fault        error
	}{
		{"nothing given", head, Private{}, nil},
		{"port alone", head + "010002 1194", Private{Port: 4500}, nil},
		{"a requester that answers probes", head + "050001 01", Private{Probe: ProbeRequester}, nil},
		{"a word about probes that is not known", head + "050001 ff", Private{Probe: 255}, nil},
		{"a word about probes of no octet", head + "050000", Private{}, ErrExtension},
		{"a word about probes of 2 octets", head + "050002 0001", Private{}, ErrExtension},
		{"a client that wants no multicast", head + "060000", Private{NoMulticast: true}, nil},
		{"the same with an octet", head + "060001 00", Private{}, ErrExtension},
		{"an element that is not known", head + "7f0003 aabbcc 030002 0578", Private{MTU: 1400}, nil},
		{"an element between hubs", head + "810001 aa 030002 0578", Private{MTU: 1400}, nil},
		{"a newer version", "02444d56504e02 010002 1194 090000", Private{Port: 4500}, nil},
		{"the last of two counts", head + "010002 1194 010002 c350", Private{Port: 50000}, nil},
		{"an identity of 255 octets", head + "0200ff" + strings.Repeat("61", 255), Private{Identity: strings.Repeat("a", 255)}, nil},
		{"an identity of 256 octets", head + "020100" + strings.Repeat("61", 256), Private{}, ErrExtension},
		{"version 0", "02444d56504e00", Private{}, ErrExtension},
		{"no version", "02444d56504e", Private{}, ErrExtension},
		{"a port of 1 octet", head + "010001 11", Private{}, ErrExtension},
		{"a length past the end", head + "010003 1194", Private{}, ErrExtension},
		{"2 octets left", head + "0100", Private{}, ErrExtension},
		{"another vendor", "00000c56504e01", Private{}, ErrForeign},
		{"another with our id", "02444d00000001", Private{}, ErrForeign},
		{"empty", "", Private{}, ErrForeign},
	} {
		e := Extension{Type: ExtensionVendorPrivate, Value: unhex(t, c.octets)}
		if got, err := e.Private(); got != c.want || !errors.Is(err, c.fault) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	e := Extension{Type: ExtensionNATAddress, Value: unhex(t, head)}
	if _, err := e.Private(); !errors.Is(err, ErrForeign) {
		t.Errorf("another extension type: %v", err)
	}
	for _, long := range []Private{{Identity: strings.Repeat("a", 256)}, {Group: strings.Repeat("a", 256)}} {
		if _, err := NewPrivate(long); err == nil {
			t.Error("a text of 256 octets is taken")
		}
	}
}

func TestOurVendorPrivateExtensionAmongOthers(t *testing.T) { // EX-03, EX-04, EX-11
	p := bare(RegistrationRequest)
	foreign := NewVendor(Vendor{ID: [3]byte{0, 0, 12}, Data: []byte("foreign")})
	p.Extensions = []Extension{foreign}
	if _, ok := p.Private(); ok {
		t.Error("a foreign extension is taken for ours")
	}
	for _, own := range []Private{{Port: 1}, {Port: 2, Group: "g"}} {
		if err := p.SetPrivate(own); err != nil {
			t.Fatal(err)
		}
		p.SetExtension(Extension{Type: 0x3801})
		got, ok := p.Private()
		if !ok || got != own || len(p.Extensions) != 3 || p.Index(ExtensionVendorPrivate) != 0 || p.Index(0x3801) != 2 {
			t.Errorf("%v in %v", got, p)
		}
		if !bytes.Equal(p.Extensions[0].Value, foreign.Value) {
			t.Errorf("the foreign one is now %x", p.Extensions[0].Value)
		}
	}
	if err := p.SetPrivate(Private{Group: strings.Repeat("a", 256)}); err == nil || len(p.Extensions) != 3 {
		t.Error("a group of 256 octets is taken")
	}
}

func TestWhatIsBetweenHubsDoesNotReachAClient(t *testing.T) { // EX-11
	e := Extension{Type: ExtensionVendorPrivate, Value: unhex(t, "02444d56504e01 010002 1194 810003 aabbcc 030002 0578 ff0000")}
	before := bytes.Clone(e.Value)
	old := e.Value
	e.ForClient()
	if want := unhex(t, "02444d56504e01 010002 1194 030002 0578"); !bytes.Equal(e.Value, want) || !bytes.Equal(old, before) {
		t.Errorf("%x", e.Value)
	}
	foreign := NewVendor(Vendor{ID: [3]byte{0, 0, 12}, Data: []byte{0x81, 0, 0}})
	kept := bytes.Clone(foreign.Value)
	foreign.ForClient()
	if !bytes.Equal(foreign.Value, kept) {
		t.Errorf("a foreign one became %x", foreign.Value)
	}
}
