// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"dmvpn/ikev2/auth"
)

const (
	patternRemedy = `write an identity, "*.example.net", "*@example.net" or "*"`
	maxPSK        = 1024 // octets
	minPSK        = 8    // octets; shorter ones are guessed
)

// credentials reads who we are, what proves it, and what proves a peer. What a
// tunnel has of one kind stands instead of the default of that kind.
func (t *table) credentials(s *IPsec) {
	const remedy = `write a name such as "spoke1.example.net", an address, an e-mail address or a distinguished name`
	if id := t.text("identity", remedy); id != "" {
		s.Identity = id
		if _, err := auth.ParseIdentity(id); err != nil {
			t.doc.failValue(join(t.path, "identity"), withoutPrefix(err), remedy)
		}
	}
	if own := t.secret("*"); own.given() {
		s.PSK = own
	}
	secrets := t.subs("secret", "write [["+t.path+".secret]], and peer and psk-file below")
	if len(secrets) > 0 {
		s.Secrets = nil
	}
	for _, each := range secrets {
		s.Secrets = append(s.Secrets, readSecret(each))
	}
	certificate, key := t.file("certificate"), t.file("key")
	switch {
	case certificate != "" && key == "":
		t.failMissing("key", "name the file of the certificate's private key")
	case certificate == "" && key != "":
		t.failMissing("certificate", "name the file of the key's certificate")
	case certificate != "":
		s.Certificate, s.Key = certificate, key
	}
	s.CA = t.files("ca", s.CA)
	s.CRL = t.files("crl", s.CRL)
}

// readSecret reads one [[ipsec.secret]].
func readSecret(t *table) Secret {
	if _, ok := t.values["peer"]; !ok {
		t.failMissing("peer", patternRemedy)
	}
	peer := t.text("peer", patternRemedy)
	if peer != "" {
		t.checkPattern(join(t.path, "peer"), peer)
	}
	s := t.secret(peer)
	if !s.given() && t.values["psk"] == nil && t.values["psk-file"] == nil {
		t.failMissing("psk-file", "name a file that has the key and that nobody else can read")
	}
	t.done()
	return s
}

// secret reads psk-file or psk.
func (t *table) secret(peer string) Secret {
	s := Secret{Peer: peer, File: t.file("psk-file")}
	const remedy = "write psk-file and the path of a file that has the key"
	path := join(t.path, "psk")
	s.Text = t.text("psk", remedy)
	switch {
	case s.Text == "":
	case s.File != "":
		t.doc.failValue(path, "psk-file is there already", "write one of the two")
	case len(s.Text) < minPSK || len(s.Text) > maxPSK:
		t.doc.failValue(path, fmt.Sprintf("%d octets are no good key", len(s.Text)),
			fmt.Sprintf("write %d to %d: head -c 32 /dev/urandom | base64 -w0 makes one", minPSK, maxPSK))
	default:
		t.doc.warnValue(path, "the key stands in the configuration itself", "put it into a file of mode 600 and write psk-file")
	}
	return s
}

func (t *table) checkPattern(path, text string) bool {
	if _, err := auth.ParsePattern(text); err != nil {
		t.doc.failValue(path, withoutPrefix(err), patternRemedy)
		return false
	}
	return true
}

// withoutPrefix is an error of ikev2 as it reads behind a key's name.
func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "ike: ") }

const fileRemedy = "write an absolute path"

// file gives an absolute path, "" if it is absent or wrong.
func (t *table) file(key string) string {
	s := t.text(key, fileRemedy)
	if s == "" || t.absolute(join(t.path, key), s) {
		return s
	}
	return ""
}

// files gives the paths of one text or of an array of such, or otherwise if there is
// none.
func (t *table) files(key string, otherwise []string) []string {
	v, given := t.values[key]
	if _, list := v.([]any); !list || !given {
		if s := t.file(key); s != "" {
			return []string{s}
		}
		return otherwise
	}
	var all []string
	t.texts(key, fileRemedy, func(path, s string) {
		if t.absolute(path, s) {
			all = append(all, s)
		}
	})
	return all
}

func (t *table) absolute(path, s string) bool {
	if filepath.IsAbs(s) {
		return true
	}
	t.doc.failValue(path, fmt.Sprintf("%q is not an absolute path", s), fileRemedy)
	return false
}

// checkIPsec refuses what is good by itself and does not do together.
func (d *document) checkIPsec(path string, s *IPsec) {
	shared := s.PSK.given() || len(s.Secrets) > 0
	own, ca := s.Certificate != "", len(s.CA) > 0
	at := d.places.keys[path]
	switch {
	case !shared && !own && !ca:
		d.fail(at, path, "there is nothing to prove an identity with", "write psk-file, or certificate, key and ca")
	case !shared && !own:
		d.fail(at, path, "there is nothing to prove our own identity with", "write certificate and key, or psk-file")
	case !shared && !ca:
		d.fail(at, path, "there is nothing to check a peer's identity with", "write ca and the file of the authority, or psk-file")
	}
	if len(s.CRL) > 0 && !ca {
		d.failInherited(path, "crl", "a revocation list without an authority does nothing", "write ca too")
	}
	if own && s.Identity == "" {
		d.failInherited(path, "certificate", "which identity it proves is not said", "write identity and the name that the certificate has")
	}
	for i, a := range s.Secrets {
		for _, b := range s.Secrets[:i] {
			if a.Peer == b.Peer {
				d.failInherited(path, fmt.Sprintf("secret[%d].peer", i), fmt.Sprintf("%q is named twice", a.Peer), "write one secret for each")
			}
		}
	}
}

// failInherited reports a key of a tunnel's table, or of [ipsec] where the tunnel has
// it from there.
func (d *document) failInherited(path, key, what, remedy string) {
	for _, p := range []string{join(path, key), join("ipsec", key)} {
		if at, ok := d.places.values[p]; ok {
			d.fail(at, p, what, remedy)
			return
		}
	}
	d.fail(d.places.keys[path], join(path, key), what, remedy)
}
