// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
)

// attributes of a distinguished name by the letters in front of the "=".
var attributes = map[string]asn1.ObjectIdentifier{
	"C": {2, 5, 4, 6}, "ST": {2, 5, 4, 8}, "L": {2, 5, 4, 7}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "CN": {2, 5, 4, 3},
	"SN": {2, 5, 4, 4}, "serialNumber": {2, 5, 4, 5}, "E": {1, 2, 840, 113549, 1, 9, 1},
}

// parseDN makes DER of "C=CH, O=Example, CN=hub", the parts in the certificate's
// order, separated by commas or, if it begins with one, by slashes.
func parseDN(text string) ([]byte, error) {
	separator := ","
	if strings.HasPrefix(text, "/") {
		separator, text = "/", text[1:]
	}
	var all pkix.RDNSequence
	for part := range strings.SplitSeq(text, separator) {
		letters, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		oid, ok := attributes[letters]
		if !ok || value == "" {
			return nil, fmt.Errorf("ike: distinguished name %q: %q is none of C, ST, L, O, OU, CN, SN, serialNumber, E with a value", text, strings.TrimSpace(part))
		}
		all = append(all, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
	}
	return asn1.Marshal(all)
}

// sequence decodes DER that is one distinguished name and nothing behind it.
func sequence(der []byte) (pkix.RDNSequence, bool) {
	var all pkix.RDNSequence
	rest, err := asn1.Unmarshal(der, &all)
	return all, err == nil && len(rest) == 0
}

// equalDN compares attribute by attribute: whether a text is a PrintableString
// or a UTF8String does not matter, its case does.
func equalDN(a, b []byte) bool {
	x, okX := sequence(a)
	y, okY := sequence(b)
	if !okX || !okY || len(x) != len(y) || len(x) == 0 {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			v, isText := x[i][j].Value.(string)
			w, isText2 := y[i][j].Value.(string)
			if !x[i][j].Type.Equal(y[i][j].Type) || !isText || !isText2 || v != w {
				return false
			}
		}
	}
	return true
}

// foldDN is the same text for equal names; what is no name is equal to nothing.
func foldDN(der []byte) string {
	all, _ := sequence(der)
	var text strings.Builder
	for _, set := range all {
		for _, a := range set {
			value, _ := a.Value.(string)
			fmt.Fprintf(&text, "%s=%s/", a.Type, value)
		}
	}
	return text.String()
}

// spellDN is one text for equal names, and no other name's.
func spellDN(der []byte) string {
	all, _ := sequence(der)
	var text strings.Builder
	for _, set := range all {
		for _, a := range set {
			value, _ := a.Value.(string)
			fmt.Fprintf(&text, "%s=%q,", a.Type, value)
		}
		text.WriteByte(';')
	}
	return text.String()
}

// describeDN prints a name of a peer; what could forge a log line is quoted.
func describeDN(der []byte) string {
	all, ok := sequence(der)
	if !ok {
		return fmt.Sprintf("dn:%x", der)
	}
	var name pkix.Name
	name.FillFromRDNSequence(&all)
	text := name.String()
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%q", text)
		}
	}
	return text
}
