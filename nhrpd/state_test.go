// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAStateFileKeepsEveryTunnelOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	f, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	for tunnel, state := range map[string]string{"dmvpn0": `{"a":1}`, "dmvpn1": `{"b":2}`} {
		if err := f.Save(tunnel, []byte(state)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	// A write that was killed leaves the file beside it, which disturbs nobody.
	if err := os.WriteFile(path+".new", []byte(`{"vers`), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	for tunnel, want := range map[string]string{"dmvpn0": `{"a":1}`, "dmvpn1": `{"b":2}`, "dmvpn2": ""} {
		if got, err := g.Load(tunnel); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", tunnel, got, err, want)
		}
	}
	g.Keep(func(tunnel string) bool { return tunnel == "dmvpn1" })
	if err := g.Save("dmvpn1", []byte(`{"b":3}`)); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != `{"version":1,"tunnels":{"dmvpn1":{"b":3}}}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAStateFileThatCannotBeReadIsAnErrorAndEmpty(t *testing.T) {
	for name, text := range map[string]string{"half of one": `{"version":1,"tun`, "another version": `{"version":2}`} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := OpenState(path)
			if err == nil {
				t.Fatal("no error")
			}
			if err := f.Save("dmvpn0", []byte(`{}`)); err != nil {
				t.Errorf("it cannot be written anew: %v", err)
			}
		})
	}
}
