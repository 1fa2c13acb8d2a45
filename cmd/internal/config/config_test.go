// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddresses = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
}

func TestAWholeFileIsReadAsWritten(t *testing.T) {
	file := filepath.Join("testdata", "spoke.toml")
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File: file,
		Daemon: Daemon{Instance: "left", RunDir: "/run/left", BPFFS: "/run/bpf",
			LogLevel: "debug", Queues: 3},
		Tunnels: []Tunnel{{
			Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")}, Key: 42, HasKey: true,
			Underlay:       Underlay{Device: "eth0", Address: netip.MustParseAddr("198.51.100.11"), Only: 4, Mark: 7, VRF: "wan"},
			MTU:            1380,
			Authentication: "test1234",
			Networks:       []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24")},
			Summaries:      []netip.Prefix{netip.MustParsePrefix("10.10.1.0/25")},
			Redirect:       true, Shortcut: false,
			HoldingTime: 90 * time.Second, Idle: time.Minute, IdleBytes: 1000, Probe: time.Second, Unique: true, Group: "branch", MSSClamp: false,
			Multicast:      Multicast{Dynamic: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("203.0.113.23")}, Rate: 500, Burst: 50},
			IfState:        true,
			Maps:           []Map{{netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("203.0.113.22")}},
			MaxConnections: 1, Fallback: time.Minute,
			NHS: []NHS{
				{NBMA: "192.0.2.1", Protocols: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Routes: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}},
				{NBMA: "hub2.example.net", Priority: 2, Cluster: 3},
			},
		}},
	}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	got, err := Parse("hub.toml", []byte(`
[tunnel.dmvpn0]
address = "10.0.0.1/24"
protection = "none"
underlay = { device = "eth0" }
[tunnel.dmvpn1]
address = "10.0.1.2/24"
key = 0
protection = "none"
underlay.device = "eth0"
[[tunnel.dmvpn1.nhs]]
nbma = "192.0.2.1"
`))
	if err != nil {
		t.Fatal(err)
	}
	hub := Tunnel{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Underlay: Underlay{Device: "eth0"},
		Redirect: true, HoldingTime: 2 * time.Hour, Idle: 5 * time.Minute, IdleBytes: 16384, Probe: 200 * time.Millisecond, ProbeIdle: 30 * time.Second, Fallback: 75 * time.Second, MSSClamp: true,
		Multicast: Multicast{Dynamic: true, Rate: 10000, Burst: 10000}}
	spoke := hub
	spoke.Name, spoke.Addresses, spoke.HasKey = "dmvpn1", []netip.Prefix{netip.MustParsePrefix("10.0.1.2/24")}, true
	spoke.Redirect, spoke.Shortcut, spoke.NHS = false, true, []NHS{{NBMA: "192.0.2.1"}}
	spoke.Underlay.Only = 4 // for nobody is at the other end of IPv6
	want := &Config{File: "hub.toml", Tunnels: []Tunnel{hub, spoke},
		Daemon: Daemon{Instance: "default", RunDir: "/run/dmvpn", BPFFS: "/sys/fs/bpf", LogLevel: "info", Queues: min(runtime.NumCPU(), 8)}}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Error(diff)
	}
}

func TestATunnelHasAnAddressOfEachFamily(t *testing.T) {
	got, err := Parse("f.toml", []byte(`
[tunnel.dmvpn0]
address = ["10.0.0.11/24", "fd00::11/64"]
protection = "none"
underlay = { device = "eth0" }
networks = ["10.10.1.0/24", "fd10:1::/64"]
[[tunnel.dmvpn0.nhs]]
nbma = "192.0.2.1"
protocol = ["fd00::1", "10.0.0.1"]
routes = ["10.10.0.0/16", "fd10::/16"]
[[tunnel.dmvpn0.nhs]]
nbma = "192.0.2.2"
protocol = "fd00::2"
[[tunnel.dmvpn0.nhs]]
nbma = "192.0.2.3"
[[tunnel.dmvpn0.map]]
protocol = "fd00::13"
nbma = "203.0.113.33"
`))
	if err != nil {
		t.Fatal(err)
	}
	four, six := netip.MustParseAddr("10.10.1.1"), netip.MustParseAddr("2001:db8::1")
	u := &got.Tunnels[0]
	for _, c := range []struct {
		like     netip.Addr
		own      string
		in, out  string
		servers  []bool
		protocol string
	}{
		{four, "10.0.0.11/24", "10.0.0.77", "10.0.1.77", []bool{true, false, true}, "10.0.0.1"},
		{six, "fd00::11/64", "fd00::77", "fd00:0:0:1::77", []bool{true, true, true}, "fd00::1"},
	} {
		if own := u.Address(c.like); own.String() != c.own {
			t.Errorf("%v: our address is %v", c.like, own)
		}
		if in, out := u.InCloud(netip.MustParseAddr(c.in)), u.InCloud(netip.MustParseAddr(c.out)); !in || out {
			t.Errorf("%s in the cloud: %v, %s: %v", c.in, in, c.out, out)
		}
		for i, n := range u.NHS {
			if n.Serves(c.like) != c.servers[i] {
				t.Errorf("nhs %d serves %v: %v", i, c.like, n.Serves(c.like))
			}
		}
		if a := u.NHS[0].Protocol(c.like); a.String() != c.protocol {
			t.Errorf("%v: the first server's address is %v", c.like, a)
		}
	}
	if a := u.NHS[2].Protocol(six); a.IsValid() {
		t.Errorf("the dynamic server's address is %v", a)
	}
}

func TestATunnelTakesFromTheDefaultsWhatItLeavesOut(t *testing.T) {
	got, err := Parse("f.toml", []byte(`
[ipsec]
psk-file = "/etc/psk"
peers = ["*.example.net"]
dpd = "5s"
ca = "/etc/ca"
childless = true
[[ipsec.secret]]
peer = "a.example.net"
psk-file = "/etc/a.psk"

[tunnel.one]
address = "10.0.0.1/24"
key = 1
protection = "none"
underlay = { device = "eth0" }
[tunnel.one.ipsec]

[tunnel.two]
address = "10.1.0.1/24"
key = 2
protection = "none"
underlay = { device = "eth0" }
[tunnel.two.ipsec]
identity = "two.example.net"
psk = "a-key-in-the-file"
peers = ["b.example.net"]
dpd = "never"
ca = ["/etc/ca1", "/etc/ca2"]
crl = "/etc/crl"
certificate = "/etc/two.pem"
key = "/etc/two.key"
ike = "aes128gcm16-prfsha256-x25519, default"
esp = ["aes128gcm16", "aes256gcm16-esn"]
ike-lifetime = "1h"
child-lifetime = "never"
child-bytes = 2000000
childless = false
mode = "tunnel"
encapsulation = "raw"
fragment-size = 1000
[[tunnel.two.ipsec.secret]]
peer = "*.example.org"
psk = "another-key"

[tunnel.three]
address = "10.2.0.1/24"
key = 3
protection = "none"
underlay = { device = "eth0" }

[tunnel.four]
address = "10.3.0.1/24"
key = 4
underlay = { device = "eth0" }
`))
	if err != nil {
		t.Fatal(err)
	}
	four, one, three, two := got.Tunnels[0].IPsec, got.Tunnels[1].IPsec, got.Tunnels[2].IPsec, got.Tunnels[3].IPsec
	want := &IPsec{
		PSK: Secret{Peer: "*", File: "/etc/psk"}, Secrets: []Secret{{Peer: "a.example.net", File: "/etc/a.psk"}}, CA: []string{"/etc/ca"},
		Peers: []string{"*.example.net"}, IKELifetime: 4 * time.Hour, ChildLifetime: time.Hour, DPD: 5 * time.Second, Keepalive: 20 * time.Second,
		Mode: "transport", Encapsulation: "udp", FragmentSize: 1280, ReplayWindow: 1024, Childless: true,
	}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Errorf("tunnel one:\n%s", diff)
	}
	if len(two.IKE) < 2 || two.IKE[0].String() != "aes128gcm16-prfsha256-x25519" || len(two.ESP) != 2 || two.ESP[1].String() != "aes256gcm16-esn" {
		t.Errorf("proposals %v and %v", two.IKE, two.ESP)
	}
	two.IKE, two.ESP = nil, nil
	want = &IPsec{
		Identity: "two.example.net", PSK: Secret{Peer: "*", Text: "a-key-in-the-file"}, Secrets: []Secret{{Peer: "*.example.org", Text: "another-key"}},
		Certificate: "/etc/two.pem", Key: "/etc/two.key", CA: []string{"/etc/ca1", "/etc/ca2"}, CRL: []string{"/etc/crl"}, Peers: []string{"b.example.net"},
		IKELifetime: time.Hour, ChildBytes: 2_000_000, Keepalive: 20 * time.Second, Mode: "tunnel", Encapsulation: "raw", FragmentSize: 1000, ReplayWindow: 1024,
	}
	if diff := cmp.Diff(want, two); diff != "" {
		t.Errorf("tunnel two:\n%s", diff)
	}
	if three != nil {
		t.Errorf("tunnel three has no such table and no protection, and got %+v", three)
	}
	if four == nil || four.PSK.File != "/etc/psk" {
		t.Errorf("tunnel four is protected, and got %+v", four)
	}
	// A key in the configuration is taken, and not praised. No error has it.
	if len(got.Warnings) != 2 || !strings.HasPrefix(got.Warnings[0].Error(), "f.toml:26:7: tunnel.two.ipsec.psk: the key stands in the configuration itself; ") {
		t.Errorf("warnings %v", got.Warnings)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", got.Warnings, *two, two, two.PSK); strings.Contains(text, "a-key-in-the-file") || strings.Contains(text, "another-key") {
		t.Errorf("a key is printed: %s", text)
	}
}

func TestIPsecAloneIsRead(t *testing.T) {
	s, err := ParseIPsec("f.toml", []byte("[ipsec]\npsk-file = \"/etc/psk\"\nmode = \"tunnel\"\n"))
	if err != nil || s.Mode != "tunnel" || s.PSK.File != "/etc/psk" || s.DPD != DefaultDPD {
		t.Errorf("%+v, %v", s, err)
	}
	for content, want := range map[string]string{
		"":                                   "f.toml:1:1: ipsec: missing; ",
		"[ipsec]\n":                          "f.toml:1:2: ipsec: there is nothing to prove an identity with; ",
		"[ipsec]\npsk-file=\"/x\"\n[tunnel]": "f.toml:3:2: tunnel: unknown key; ",
		"[ipsec":                             "f.toml:1:6: not TOML: ",
	} {
		if _, err := ParseIPsec("f.toml", []byte(content)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestAFileThatIsNotThereNamesTheOption(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	if err == nil || !strings.Contains(err.Error(), "none.toml: no such file") || !strings.Contains(err.Error(), "-c FILE") {
		t.Errorf("error %v", err)
	}
}

// Each file of testdata/bad ends with the errors that it must give, one a line
// after "# error: ".
func TestEveryMistakeNamesItsPlaceAndRemedy(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(content)) {
				if text, ok := strings.CutPrefix(line, "# error: "); ok {
					want = append(want, strings.TrimSpace(text))
				}
			}
			_, err = Parse(name, content)
			if err == nil {
				t.Fatal("was taken")
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), name+":", ""), "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.toml")
	for _, file := range append(files, "testdata/spoke.toml") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Parse("fuzz", content)
		if (c == nil) == (err == nil) {
			t.Errorf("config %v with error %v", c, err)
		}
	})
}
