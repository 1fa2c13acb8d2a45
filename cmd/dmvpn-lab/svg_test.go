// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// TestThePictureShowsWhatStands: each state has its line and its label, and what is
// written is XML.
func TestThePictureShowsWhatStands(t *testing.T) {
	at := func(a, b string) [2]netip.AddrPort {
		return [2]netip.AddrPort{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}
	}
	drawn := scene{map[pair]link{
		{0, 1}: {state: stateHub, at: at("192.0.2.1:4500", "198.18.1.1:4500"), suite: "aes256gcm16-x25519"},
		{0, 2}: {state: stateHub, at: at("192.0.2.1:4500", "198.19.1.1:54077")},
		{0, 3}: {state: stateNone},
		{1, 2}: {state: stateCut, at: at("198.18.1.1:4500", "198.19.1.1:54077"), packets: 1234},
		{1, 3}: {state: stateGone},
		{2, 3}: {state: stateCut, at: at("192.168.1.2:4500", "192.168.1.3:4500")},
	}}.picture()
	for _, want := range []string{
		">198.19.1.1:54077</text>", ">no SA</text>", ">198.18.1.1:4500 ↔ 198.19.1.1:54077</text>", ">1234 packets, direct</text>",
		">192.168.1.2 ↔ 192.168.1.3</text>", ">spoke1 ↔ spoke3</text>", ">expired: by the hub</text>", ">aes256gcm16 · x25519</text>",
		"prefers-color-scheme: dark", light.cut, dark.cut,
	} {
		if !strings.Contains(drawn, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	for p, w := range ways {
		if strings.Count(drawn, `d="`+w+`"`) == 0 {
			t.Errorf("no link between %d and %d", p.from, p.to)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(drawn)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsWrittenIsNoMarkup(t *testing.T) {
	s := &sheet{}
	s.text("name", 1, 2, `<a & "b">`)
	if got := s.body.String(); got != "<text class=\"name\" x=\"1\" y=\"2\">&lt;a &amp; &quot;b&quot;&gt;</text>\n" {
		t.Error(got)
	}
}
