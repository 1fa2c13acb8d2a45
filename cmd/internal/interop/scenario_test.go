// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/ike"
)

// TestEveryPolicyIsOneThatWeRead: a scenario that is to be refused is refused by the
// peer, and not by our reader of configurations.
func TestEveryPolicyIsOneThatWeRead(t *testing.T) {
	names := map[string]bool{}
	for _, s := range scenarios() {
		if names[s.name] {
			t.Errorf("two scenarios are called %s", s.name)
		}
		names[s.name] = true
		first, second := s.policies()
		for _, policy := range []settings{first, second} {
			folder := t.TempDir()
			files, err := ourFiles(policy, folder)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if err := writeFiles(folder, files); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "ipsec.toml")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			read, err := config.ParseIPsec(path, content)
			if err != nil {
				t.Errorf("%s: %v\n%s", s.name, err, content)
				continue
			}
			if _, err := ike.Connection("peer", &read, time.Now()); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
	if len(names) < 40 {
		t.Errorf("only %d scenarios", len(names))
	}
}

func TestScenariosAreChosenByTheBeginningOfTheirNames(t *testing.T) {
	chosen, err := choose(scenarios(), []string{"nat-", "cookie"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range chosen {
		if !strings.HasPrefix(s.name, "nat-") && s.name != "cookie" {
			t.Errorf("%s", s.name)
		}
	}
	if _, err := choose(scenarios(), []string{"cookie", "nonsense"}); err == nil {
		t.Error("nonsense is a scenario")
	}
}

// TestEveryConfigurationOfTheDaemonIsOneThatItReads also where a scenario says it.
func TestEveryConfigurationOfTheDaemonIsOneThatItReads(t *testing.T) {
	at := place{overlay: netip.MustParseAddr("10.0.0.11"), lan: netip.MustParsePrefix("10.10.1.0/24")}
	for _, s := range espScenarios() {
		first, second := s.policies()
		for _, policy := range []settings{first, second} {
			folder := t.TempDir()
			psk, path := filepath.Join(folder, "psk"), filepath.Join(folder, "dmvpn.toml")
			if err := os.WriteFile(psk, []byte(policy.key), 0o600); err != nil {
				t.Fatal(err)
			}
			content := daemonConf(policy, at, psk)
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(path)
			if err != nil {
				t.Errorf("%s: %v\n%s", s.name, err, content)
				continue
			}
			if _, err := ike.Connection("dmvpn0", c.Tunnels[0].IPsec, time.Now()); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
}
