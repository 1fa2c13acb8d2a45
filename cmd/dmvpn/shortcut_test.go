// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"
)

// TestAnArgumentOfClearIsAPrefixOrAnAddress: one that is none is an error before anybody is asked.
func TestAnArgumentOfClearIsAPrefixOrAnAddress(t *testing.T) {
	for args, want := range map[string]string{
		"shortcut clear spoke2":              `"spoke2" is neither a prefix nor an address`,
		"shortcut clear 10.10.2.0/24 spoke2": `"spoke2" is neither a prefix nor an address`,
		"shortcuts clear 10.10.2.0/33":       `"10.10.2.0/33" is neither a prefix nor an address`,
		"shortcut clear 10.10.2.0/24":        "dmvpnd is not running",
		"shortcut clear":                     "dmvpnd is not running",
		"shortcut clean":                     `unknown command "clean" for "dmvpn shortcut"`,
	} {
		c := command()
		c.SetArgs(append(strings.Fields(args), "--run-dir", t.TempDir()))
		c.SetOut(io.Discard)
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dmvpn %s: %v, want %s", args, err, want)
		}
	}
}
