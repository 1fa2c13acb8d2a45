// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dmvpn/cmd/internal/lab/cloud"
)

// authority issues certificates into a folder.
type authority struct {
	t      *testing.T
	dir    string
	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	serial int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.root = &x509.Certificate{Subject: pkix.Name{CommonName: "example CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	a.key = a.issue("ca", a.root, nil)
	return a
}

// issue writes NAME.pem and NAME.key; signed by itself without a signer.
func (a *authority) issue(name string, c, by *x509.Certificate) *ecdsa.PrivateKey {
	a.t.Helper()
	a.serial++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.serial), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	signer := a.key
	if by == nil {
		by, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), signer)
	check(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	check(a.t, os.WriteFile(filepath.Join(a.dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	check(a.t, os.WriteFile(filepath.Join(a.dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return key
}

// member issues a node's certificate, with what it may register.
func (a *authority) member(node string, addresses []string, networks []string) {
	a.t.Helper()
	c := &x509.Certificate{DNSNames: []string{node + ".example.net"}, KeyUsage: x509.KeyUsageDigitalSignature}
	for _, s := range addresses {
		c.IPAddresses = append(c.IPAddresses, net.ParseIP(s))
	}
	for _, s := range networks {
		c.URIs = append(c.URIs, &url.URL{Scheme: "dmvpn", Opaque: s})
	}
	a.issue(node, c, a.root)
}

// use makes a node prove itself with its certificate.
func (a *authority) use(node string, i *cloud.IPsec) {
	i.PSKFile = ""
	for key, file := range map[string]string{"certificate": node + ".pem", "key": node + ".key", "ca": "ca.pem"} {
		i.Lines = append(i.Lines, fmt.Sprintf("%s = %q", key, filepath.Join(a.dir, file)))
	}
}

// TestACertificateSaysWhoMayRegisterWhat: spoke1's names its address and its network, spoke2's
// another address, spoke3's another network.
func TestACertificateSaysWhoMayRegisterWhat(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.member("hub", nil, nil)
	a.member("spoke1", []string{cloud.TunnelAddress(1).String()}, []string{cloud.Network(1).String()})
	a.member("spoke2", []string{cloud.TunnelAddress(9).String()}, []string{cloud.Network(2).String()})
	a.member("spoke3", []string{cloud.TunnelAddress(3).String()}, []string{"10.99.0.0/16"})
	c := protected(t, cloud.Options{Spokes: 3, Settings: func(node string, s *cloud.Settings) {
		a.use(node, s.Tunnels[0].IPsec)
		if node == "hub" {
			s.Tunnels[0].Lines = append(s.Tunnels[0].Lines, fmt.Sprintf("\n[[tunnel.%s.authorize]]\npeer = \"*.example.net\"\nfrom = \"certificate\"", cloud.Device))
		}
	}})
	ctx := t.Context()
	check(t, c.StartAll(ctx))
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	ping(t, c.HubHost, 1)
	turnedAway(t, c, "spoke2")
	until(t, c, patience, func() error {
		_, err := c.Get("spoke3").Ping(cloud.HubTunnel(), 0, time.Second)
		return err
	})
	for n := 2; n <= 3; n++ {
		if c.Routed("hub", cloud.Network(n)) == nil {
			t.Errorf("the hub routes to the LAN of spoke%d", n)
		}
	}
	// What a certificate grants outlives a restart of the daemon that verified it.
	check(t, c.Stop(ctx, "hub"))
	check(t, c.Start("hub"))
	check(t, c.Ready(ctx, "hub"))
	until(t, c, patience, func() error { return errors.Join(c.Registered(ctx, "spoke1"), c.Routed("hub", cloud.Network(1))) })
	until(t, c, patience, func() error { // what stands in the hub's state waits for the SA
		_, err := c.HubHost.Ping(cloud.Host(1), 0, time.Second)
		return err
	})
	turnedAway(t, c, "spoke2")
}
