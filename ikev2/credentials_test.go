// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	stdcrypto "crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dmvpn/ikev2/auth"
)

// write makes a file that only its owner can read.
func write(t *testing.T, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("PRIVATE KEY", der)
}

func newEC(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// refused wants an error that names the file and has some words.
func refused(t *testing.T, err error, path, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v; want %s and %q in it", err, path, words)
	}
}

func TestKeysOfEveryFormatAreRead(t *testing.T) {
	ec, rsa2048 := newEC(t, elliptic.P256()), newRSA(t, 2048)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	parameters := inPEM("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	cases := []struct {
		name string
		key  stdcrypto.Signer
		file []byte
	}{
		{"ECDSA in PKCS #8", ec, pkcs8(t, ec)},
		{"RSA in PKCS #8", rsa2048, pkcs8(t, rsa2048)},
		{"Ed25519 in PKCS #8", ed, pkcs8(t, ed)},
		{"RSA in PKCS #1", rsa2048, inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048))},
		{"ECDSA in SEC 1", ec, inPEM("EC PRIVATE KEY", sec1)},
		{"ECDSA in SEC 1 behind its parameters, as openssl writes it", ec, append(parameters, inPEM("EC PRIVATE KEY", sec1)...)},
		{"with text around it", ec, append([]byte("the spoke's key\n"), pkcs8(t, ec)...)},
	}
	for _, c := range cases {
		key, err := LoadKey(write(t, "spoke.key", c.file))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.key.Public().(interface {
			Equal(stdcrypto.PublicKey) bool
		}).Equal(key.Public()) {
			t.Errorf("%s: another key", c.name)
		}
	}
}

func TestKeyFilesThatWillNotDo(t *testing.T) {
	ec, tiny := newEC(t, elliptic.P256()), newRSA(t, 1024)
	locked := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}})
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "no private key in PEM"},
		{"a certificate alone", inPEM("CERTIFICATE", []byte{0x30}), "no private key in PEM"},
		{"two keys", append(pkcs8(t, ec), pkcs8(t, newEC(t, elliptic.P256()))...), "more than one key"},
		{"encrypted in PKCS #8", inPEM("ENCRYPTED PRIVATE KEY", []byte{0x30}), "openssl pkey -in"},
		{"encrypted by openssl of old", locked, "openssl pkey -in"},
		{"OpenSSH's", inPEM("OPENSSH PRIVATE KEY", []byte{1}), "OpenSSH's format"},
		{"broken", inPEM("PRIVATE KEY", []byte{0x30, 0}), "openssl pkey -in"},
		{"for key exchange alone", pkcs8(t, exchange), "cannot sign"},
		{"too weak", pkcs8(t, tiny), "1024 bits"},
		{"on a curve that is too small", pkcs8(t, newEC(t, elliptic.P224())), "P-224"},
		{"too large a file", make([]byte, 1<<20), "is it the right one?"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "spoke.key", c.file)
			_, err := LoadKey(path)
			refused(t, err, path, c.want)
		})
	}
}

// TestSecretsThatOthersCanReadAreRefused: keys and shared keys alike.
func TestSecretsThatOthersCanReadAreRefused(t *testing.T) {
	key, shared := write(t, "spoke.key", pkcs8(t, newEC(t, elliptic.P256()))), write(t, "psk", []byte("lab"))
	load := map[string]func(string) error{
		key:    func(path string) error { _, err := LoadKey(path); return err },
		shared: func(path string) error { _, err := LoadSharedKey(path); return err },
	}
	for path, f := range load {
		for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644, 0o620, 0o601} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			refused(t, f(path), path, "chmod 600")
		}
		for _, mode := range []os.FileMode{0o600, 0o400} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := f(path); err != nil {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
		refused(t, f(path+".old"), path, "no such file")
		refused(t, f(filepath.Dir(path)), filepath.Dir(path), "no regular file")
		fifo := path + ".fifo"
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, f(fifo), fifo, "no regular file")
	}
}

func TestSharedKeysAreRead(t *testing.T) {
	cases := []struct{ file, want string }{
		{"lab-preshared-key", "lab-preshared-key"},
		{"lab-preshared-key\n", "lab-preshared-key"},
		{"lab-preshared-key\r\n", "lab-preshared-key"},
		{" with blanks ", " with blanks "},
		{"0x6C6162", "lab"},
		{"0sbGFi\n", "lab"},
		{"0", "0"},
	}
	for _, c := range cases {
		key, err := LoadSharedKey(write(t, "psk", []byte(c.file)))
		if err != nil || string(key) != c.want {
			t.Errorf("%q: %q, %v", c.file, string(key), err)
		}
	}
	for _, bad := range []string{"", "\n", "one\ntwo\n", "one\n\n", "a\x00b", "0x", "0x6", "0xyz", "0s", "0s!"} {
		path := write(t, "psk", []byte(bad))
		key, err := LoadSharedKey(path)
		if refused(t, err, path, "shared key file"); err == nil {
			t.Errorf("%q became %q", bad, string(key))
		} else if bad == "one\ntwo\n" && strings.Contains(err.Error(), "two") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

func TestOurOwnCertificateAndKeyBelongTogether(t *testing.T) {
	key, id := newEC(t, elliptic.P256()), identity(t, "spoke1.example.net")
	root := newAuthority(t, "root", nil)
	middle := newAuthority(t, "middle", root)
	leaf := middle.issue(t, leafOf("spoke1.example.net"), key)
	file := write(t, "spoke.pem", inPEM("CERTIFICATE", leaf), inPEM("CERTIFICATE", middle.Raw))
	keyFile := write(t, "spoke.key", pkcs8(t, key))
	chain, signer, err := LoadOwn(file, keyFile, id, now)
	if err != nil || len(chain) != 2 || !key.PublicKey.Equal(signer.Public()) {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	// A peer with the root alone takes what we would send.
	trust := &auth.Trust{Roots: []*x509.Certificate{root.Certificate}}
	if err := trust.Verify(chain, id, now); err != nil {
		t.Error(err)
	}
	other := write(t, "other.key", pkcs8(t, newEC(t, elliptic.P256())))
	_, _, err = LoadOwn(file, other, id, now)
	refused(t, err, other, "not of the first certificate in "+file)
	_, _, err = LoadOwn(file, keyFile, identity(t, "hub.example.net"), now)
	refused(t, err, file, "does not name hub.example.net")
	_, _, err = LoadOwn(file, keyFile, id, now.AddDate(1, 0, 0))
	refused(t, err, file, "is valid from")
	_, _, err = LoadOwn(file, file+".old", id, now)
	refused(t, err, file, "no such file")

	turned := write(t, "turned.pem", inPEM("CERTIFICATE", middle.Raw), inPEM("CERTIFICATE", leaf))
	_, err = LoadCertificates(turned)
	refused(t, err, turned, "put our own first")
	var many []byte
	for range auth.MaxCertificates + 1 {
		many = append(many, inPEM("CERTIFICATE", leaf)...)
	}
	long := write(t, "long.pem", many)
	_, err = LoadCertificates(long)
	refused(t, err, long, "peers take 8")
}
