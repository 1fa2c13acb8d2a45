// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"os"
	"path/filepath"
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
			LogLevel: "debug"},
		Tunnels: []Tunnel{{
			Name: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.11/24"), Key: 42, HasKey: true,
			Underlay:       Underlay{Device: "eth0", Address: netip.MustParseAddr("198.51.100.11"), Mark: 7, VRF: "wan"},
			MTU:            1380,
			Authentication: "test1234",
			Networks:       []netip.Prefix{netip.MustParsePrefix("10.10.1.0/24")},
			Redirect:       true, Shortcut: false,
			HoldingTime: 90 * time.Second, Idle: time.Minute, IdleBytes: 1000, Unique: true, MSSClamp: false,
			NHS: []NHS{
				{NBMA: "192.0.2.1", Protocol: netip.MustParseAddr("10.0.0.1"), Routes: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}},
				{NBMA: "hub2.example.net", Priority: 2},
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
	hub := Tunnel{Name: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.1/24"), Underlay: Underlay{Device: "eth0"},
		Redirect: true, HoldingTime: 2 * time.Hour, Idle: 5 * time.Minute, IdleBytes: 16384, MSSClamp: true}
	spoke := hub
	spoke.Name, spoke.Address, spoke.HasKey = "dmvpn1", netip.MustParsePrefix("10.0.1.2/24"), true
	spoke.Redirect, spoke.Shortcut, spoke.NHS = false, true, []NHS{{NBMA: "192.0.2.1"}}
	want := &Config{File: "hub.toml", Tunnels: []Tunnel{hub, spoke},
		Daemon: Daemon{Instance: "default", RunDir: "/run/dmvpn", BPFFS: "/sys/fs/bpf", LogLevel: "info"}}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Error(diff)
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
