// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/config"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// files are keys and certificates in a folder: an authority, a certificate of
// hub.example.net, two shared keys.
func files(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("psk", []byte("group key\n"))
	write("own.psk", []byte("0x6f776e206b6579"))
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	above, key := newKey(), newKey()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "hub"}, DNSNames: []string{"hub.example.net"},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	for name, pair := range map[string][2]any{"ca.pem": {ca, &above.PublicKey}, "hub.pem": {leaf, &key.PublicKey}} {
		der, err := x509.CreateCertificate(rand.Reader, pair[0].(*x509.Certificate), ca, pair[1], above)
		if err != nil {
			t.Fatal(err)
		}
		write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("hub.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return folder
}

// read makes a connection of the keys of [ipsec]; FOLDER stands for the files'.
func read(t *testing.T, folder, keys string) (*sa.Connection, error) {
	t.Helper()
	s, err := config.ParseIPsec("test.toml", []byte("[ipsec]\n"+strings.ReplaceAll(keys, "FOLDER", folder)))
	if err != nil {
		t.Fatal(err)
	}
	return Connection("dmvpn0", &s, time.Now())
}

func TestAConnectionIsWhatIsConfigured(t *testing.T) {
	folder := files(t)
	c, err := read(t, folder, `
identity = "hub.example.net"
psk-file = "FOLDER/psk"
certificate = "FOLDER/hub.pem"
key = "FOLDER/hub.key"
ca = "FOLDER/ca.pem"
peers = ["*.example.net", "O=Example, CN=x"]
ike = "aes128-sha256-ecp256"
esp = ["aes128gcm16-esn", "aes128-sha256"]
ike-lifetime = "never"
child-lifetime = "10m"
child-bytes = 10000000
dpd = "never"
keepalive = "7s"
mode = "tunnel"
encapsulation = "udp"
fragment-size = 1400
childless = true
[[ipsec.secret]]
peer = "spoke1.example.net"
psk-file = "FOLDER/own.psk"
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "dmvpn0" || c.Local.String() != "hub.example.net" || len(c.Chain) != 1 || c.Key == nil || len(c.Trust.Roots) != 1 || len(c.Peers) != 2 {
		t.Errorf("%+v", c)
	}
	if len(c.IKE) != 1 || c.IKE[0].String() != "aes128-sha256-prfsha256-ecp256" || len(c.ESP) != 2 || c.ESP[0].String() != "aes128gcm16-esn" {
		t.Errorf("proposals %v %v", c.IKE, c.ESP)
	}
	if c.Mode != sa.Tunnel || !c.ForceEncapsulation || !c.Childless || c.FragmentSize != 1400 || c.Liveness != 0 || c.Keepalive != 7*time.Second {
		t.Errorf("%+v", c)
	}
	l := c.Lifetimes
	if l.IKESoft != 0 || l.IKEHard != 0 || l.ChildSoft != 10*time.Minute || l.ChildHard != 11*time.Minute || l.SoftBytes != 10_000_000 || l.HardBytes != 11_000_000 || l.SoftPackets != 0 {
		t.Errorf("lifetimes %+v", l)
	}
	for who, want := range map[string]string{"spoke1.example.net": "own key", "spoke2.example.net": "group key"} {
		id, err := auth.ParseIdentity(who)
		if err != nil {
			t.Fatal(err)
		}
		key, group, err := c.SharedKeys.Find(id)
		if err != nil || string(key) != want || group != (want == "group key") {
			t.Errorf("key of %s: %q, of a group %v, %v", who, string(key), group, err)
		}
	}
}

func TestWhoIsNotNamedHasTheHostsName(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c, err := read(t, files(t), `psk-file = "FOLDER/psk"`)
	if name == "localhost" || name == "(none)" {
		if err == nil || !strings.Contains(err.Error(), "write identity") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil || c.Local.String() != name {
		t.Errorf("%v, %v", c, err)
	}
	if c.Liveness != sa.DefaultLiveness || c.Lifetimes.IKESoft != sa.DefaultIKESoft || len(c.IKE) == 0 || len(c.ESP) == 0 {
		t.Errorf("defaults %+v", c)
	}
}

func TestFilesThatWillNotDoAreNamed(t *testing.T) {
	folder := files(t)
	for _, c := range []struct{ keys, want string }{
		{`psk-file = "FOLDER/none"`, "dmvpn0: ipsec: ike: shared key file: open FOLDER/none: no such file"},
		{"identity = \"spoke.example.net\"\ncertificate = \"FOLDER/hub.pem\"\nkey = \"FOLDER/hub.key\"\nca = \"FOLDER/ca.pem\"",
			"FOLDER/hub.pem: the certificate of \"CN=hub\" does not name spoke.example.net"},
		{"identity = \"hub.example.net\"\ncertificate = \"FOLDER/hub.pem\"\nkey = \"FOLDER/psk\"\nca = \"FOLDER/ca.pem\"", "key file FOLDER/psk has no private key"},
		{"psk-file = \"FOLDER/psk\"\nidentity = \"x\"\nca = \"FOLDER/hub.pem\"", "is no authority's"},
	} {
		_, err := read(t, folder, c.keys)
		if want := strings.ReplaceAll(c.want, "FOLDER", folder); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
