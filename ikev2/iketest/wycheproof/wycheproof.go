// SPDX-License-Identifier: Apache-2.0

// Package wycheproof holds test vectors of C2SP/wycheproof for the algorithms of
// IKE and ESP. No program imports it.
//
// The folder testdata has the files NAME_test.json of its folder testvectors_v1,
// commit dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166, unchanged but for gzip, and
// their licence.
package wycheproof

import (
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed testdata
var files embed.FS

// Read decodes the set NAME_test.json into what v points to, as json.Unmarshal
// does. Octets are hexadecimal there, for which iketest.Hex is; an error is about
// a set that is not among ours, or a v that does not fit it.
func Read(name string, v any) error {
	f, err := files.Open("testdata/" + name + ".json.gz")
	if err != nil {
		return fmt.Errorf("wycheproof: %w", err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("wycheproof: %s: %w", name, err)
	}
	if err := json.NewDecoder(r).Decode(v); err != nil {
		return fmt.Errorf("wycheproof: %s: %w", name, err)
	}
	return nil
}
