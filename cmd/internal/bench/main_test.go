// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestEveryPathIsProved runs the whole benchmark, in small: it fails by itself
// where a packet did not take its path.
func TestEveryPathIsProved(t *testing.T) {
	if err := run(300, 1, 2000, runtime.NumCPU()-1, time.Second, ""); err != nil {
		t.Fatal(err)
	}
}

// ours builds our daemon.
func ours(t *testing.T) string {
	t.Helper()
	dmvpnd := filepath.Join(t.TempDir(), "dmvpnd")
	if out, err := exec.Command("go", "build", "-o", dmvpnd, "../../dmvpnd").CombinedOutput(); err != nil {
		t.Fatalf("build dmvpnd: %v\n%s", err, out)
	}
	return dmvpnd
}

// TestEveryTunnelIsProved runs ours and the others' in small.
func TestEveryTunnelIsProved(t *testing.T) {
	const tree = "../../.."
	made := func(tool string, args ...string) string {
		var said bytes.Buffer
		make := exec.Command(filepath.Join(tree, tool), args...)
		make.Stderr = &said
		path, err := make.Output()
		if err != nil {
			t.Fatalf("%v: %v: %s", make, err, &said)
		}
		return strings.TrimSpace(string(path))
	}
	all := tools{dmvpnd: ours(t), wireguard: made("tools/wireguard-go"), strongswan: made("tools/interop/root", "trixie")}
	if err := tunnelTable(1, 300*time.Millisecond, all, new(verdicts)); err != nil {
		t.Fatal(err)
	}
}

// TestEverySealIsProved seals and opens a few packets.
func TestEverySealIsProved(t *testing.T) {
	if err := sealTable(1, 2, runtime.NumCPU()-1, new(verdicts)); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFloodIsProved floods in small.
func TestEveryFloodIsProved(t *testing.T) {
	if err := floodTable(1, "", runtime.NumCPU()-1, 200*time.Millisecond, tools{dmvpnd: ours(t)}, new(verdicts)); err != nil {
		t.Fatal(err)
	}
}

func TestKindsOfFloodsAreChosenByWords(t *testing.T) {
	for kinds, want := range map[string]int{"": 7, "replayed": 1, "replayed,damaged": 2, "cut off": 2, "merged": 1, "none such": 0} {
		got := 0
		for _, f := range floods() {
			if f.among(kinds) {
				got++
			}
		}
		if got != want {
			t.Errorf("%q chooses %d kinds, want %d", kinds, got, want)
		}
	}
}

// TestEveryHandshakeIsProved runs IKE's part in small.
func TestEveryHandshakeIsProved(t *testing.T) {
	if err := ikeTable(1, 5, 20); err != nil {
		t.Fatal(err)
	}
}

func TestFramesAreWhatTheirHeadersSay(t *testing.T) {
	mac := []byte{2, 0, 0, 0, 0, 1}
	inner := plainFrame(mac, 64, fixed("10.0.0.1"), random(plainSites))
	if got, want := len(inner.data), ethernetLength+64; got != want {
		t.Errorf("plain: %d octets, want %d", got, want)
	}
	if got, want := inner.headers(), ethernetLength+ipv4Length; got != want {
		t.Errorf("plain: headers are %d octets, want %d", got, want)
	}
	outer := greFrame(mac, 1400, random(nbma), fixed("192.0.2.1"), tunnelKey, random(tunnelSites), partnerOf(tunnelSites))
	if got, want := len(outer.data), ethernetLength+ipv4Length+greLength+1400; got != want {
		t.Errorf("GRE: %d octets, want %d", got, want)
	}
	if got, want := outer.headers(), ethernetLength+ipv4Length+greLength+ipv4Length; got != want {
		t.Errorf("GRE: headers are %d octets, want %d", got, want)
	}
	if len(outer.fields) != 3 {
		t.Errorf("GRE: %d addresses change, want 3", len(outer.fields))
	}
}

func TestPatternsGiveEachPeerItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10000 {
		seen[tunnelSites.network(n).String()] = true
	}
	if len(seen) != 10000 {
		t.Errorf("%d networks for 10000 peers", len(seen))
	}
}
