// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The octets are those that docs/nhrp-wire.md shows.
func TestAProbeRequestIsTheseOctets(t *testing.T) {
	document, err := os.ReadFile("../../docs/nhrp-wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(document), "## Probes")
	_, text, opened := strings.Cut(text, "```\n")
	text, _, closed := strings.Cut(text, "```")
	if !found || !opened || !closed {
		t.Fatal("docs/nhrp-wire.md shows no Probe Request")
	}
	want := unhex(t, regexp.MustCompile(`#.*`).ReplaceAllString(text, ""))
	p := bare(ProbeRequest)
	if got := marshal(t, p); !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x, want\n%x", got, want)
	}
	got, err := Decode(want)
	if err != nil || got.Dump() != p.Dump() {
		t.Errorf("decoded %v, %v", got, err)
	}
}
