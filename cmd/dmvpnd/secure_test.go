// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
	"dmvpn/loader"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/pump"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// TestARegistrationTakesEffectWithItsSA: it has come by an SA that IKE has made and not spoken of yet. Its next
// hop stands when it is answered, and goes with the SA where IKE never says that the peer is up.
func TestARegistrationTakesEffectWithItsSA(t *testing.T) {
	_, device := tunnelAlone(t)
	plane, err := loader.Open(loader.Options{BPFFS: netnstest.BPFFS(t), Instance: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Close()
	if err := plane.Tables.SetTunnel(tables.Tunnel{IfIndex: device.Index, UnderlayIfIndex: 1, Local: netip.MustParseAddr("192.0.2.1"), MTU: 1400, Protected: true}); err != nil {
		t.Fatal(err)
	}
	d := &daemon{plane: plane}
	d.installer = newInstaller(d)
	d.ike = ike.New(ike.Config{Installer: d.installer, CrashSecret: filepath.Join(t.TempDir(), "secret"), Log: zerolog.Nop()})
	defer d.ike.Close()
	tunnel := &tunnel{daemon: d, device: device, problems: map[string]string{}}
	tunnel.config.Name, tunnel.config.IPsec = "dmvpn0", &config.IPsec{}
	if tunnel.authorizer, err = newAuthorizer(nil); err != nil {
		t.Fatal(err)
	}
	tunnel.plain = &dataPlane{tables: plane.Tables, tunnel: device.Index, device: device, pump: tunnel.currentPump}
	tunnel.secure = newSecure(tunnel, tunnel.plain)
	tunnel.pump = pump.New(pump.Config{Tunnel: device.Index, MTU: 1400, Tables: plane.Tables, Protected: true})
	d.tunnels = append(d.tunnels, tunnel)

	identity, err := auth.ParseIdentity("spoke.example.net")
	if err != nil {
		t.Fatal(err)
	}
	hop := netip.MustParseAddr("10.0.0.12")
	local, remote := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("198.51.100.12:4500")
	peer := sa.Peer{ID: 7, Connection: "dmvpn0", Identity: identity, Local: local, Remote: remote}
	bind := engine.Bind{NextHop: hop, To: endpointOf(identity.Name(), remote)}
	key := make(crypto.Secret, 16+4)
	arrives := func() uint32 {
		t.Helper()
		spi, err := d.installer.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.installer.Install(&sa.Child{
			Peer: peer, Inbound: spi, Outbound: 4711, Suite: crypto.Suite{Encryption: wire.EncryptionAESGCM16, KeyLength: 128},
			In: crypto.DirectionKeys{Encryption: key}, Out: crypto.DirectionKeys{Encryption: key}, Local: local, Remote: remote, Encapsulation: true,
		}); err != nil {
			t.Fatal(err)
		}
		d.installer.Activate(spi)
		return spi
	}
	bound := func(when string, want bool) {
		t.Helper()
		if _, ok := plane.Tables.Bound(device.Index, hop); ok != want {
			t.Errorf("%s: bound %v, want %v", when, ok, want)
		}
	}
	register := func() {
		t.Helper()
		if err := tunnel.secure.Bind(bind); err != nil {
			t.Fatal(err)
		}
	}
	register()
	bound("without an SA", false)
	spi := arrives()
	register()
	bound("by an SA that IKE has not spoken of", true)
	if _, err := tunnel.secure.path(bind.To); err != nil {
		t.Errorf("the reply: %v", err)
	}
	d.installer.Remove(spi)
	bound("the SA is gone, and IKE never said that the peer is up", false)
	spi = arrives()
	register()
	(handler{d}).Up(peer)
	bound("IKE has said that it is up", true)
	d.installer.Retire(spi)
	bound("its SA is made anew", true)
	(handler{d}).Down(peer, "the test says so")
	bound("IKE has said that it is down", false)
}
