// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dmvpn/ikev2/sa"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// known are IKE SAs of a hub: two spokes behind one NAT, one that is rekeyed, one
// with a name in DNS's other case, one that has not proved itself.
func known(t *testing.T) []sa.Info {
	t.Helper()
	info := func(id, peer uint64, who, remote string) sa.Info {
		i := sa.Info{ID: id, Connection: "net", State: established, Peer: sa.Peer{ID: peer, Remote: netip.MustParseAddrPort(remote)}}
		if who != "" {
			i.Peer.Identity = identity(t, who)
		} else {
			i.State = "half-open"
		}
		return i
	}
	return []sa.Info{
		info(1, 2, "spoke1.example.net", "203.0.113.1:61001"),
		info(3, 4, "spoke2.example.net", "203.0.113.1:61002"),
		info(5, 6, "C=CH, O=Example, CN=spoke3", "198.51.100.3:500"),
		info(7, 6, "C=CH, O=Example, CN=spoke3", "198.51.100.3:500"),
		info(8, 9, "192.0.2.8", "198.51.100.8:4500"),
		info(10, 0, "", "198.51.100.10:500"),
	}
}

func TestAPeerIsFoundByWhatAnOperatorKnows(t *testing.T) {
	cases := []struct{ name, want string }{
		{"1", "1"}, {"2", "1"}, // of the SA, of the peer
		{"spoke1.example.net", "1"}, {"SPOKE2.example.NET", "3"}, {"fqdn:spoke2.example.net", "3"},
		{"203.0.113.1:61002", "3"}, {"198.51.100.3", "5 7"}, {"6", "5 7"},
		{"C=CH, O=Example, CN=spoke3", "5 7"}, {"O=Example, CN=spoke3", ""},
		{"192.0.2.8", "8"}, {"198.51.100.8", "8"}, {"198.51.100.10", "10"}, {"10", "10"},
		{"203.0.113.1", "several"}, {"nobody.example.net", ""}, {"0", ""}, {"", ""}, {"11", ""}, {"203.0.113.1:500", ""},
	}
	for _, c := range cases {
		found, err := find(known(t), c.name)
		var got []string
		for _, i := range found {
			got = append(got, fmt.Sprint(i.ID))
		}
		switch {
		case c.want == "several":
			if err == nil || !contains(err.Error(), "1 (spoke1.example.net at 203.0.113.1:61001, net), 3 (spoke2") || errors.Is(err, ErrNoPeer) {
				t.Errorf("%q: %v", c.name, err)
			}
		case c.want == "":
			if !errors.Is(err, ErrNoPeer) {
				t.Errorf("%q: %v, %v", c.name, got, err)
			}
		case err != nil || strings.Join(got, " ") != c.want:
			t.Errorf("%q: %v, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestWhatIsNotReadyIsNotRekeyed(t *testing.T) {
	s := newStation(t, "a.example.net")
	nobody := Want{Connection: "net", Host: "127.0.0.1", Port: 9, Local: s.at}
	s.Connect(nobody)
	eventually(t, "an attempt", func() bool { x, err := s.Snapshot(t.Context()); return err == nil && len(x.SAs) == 1 })
	if n, err := s.Rekey(t.Context(), "127.0.0.1", false); n != 0 || err == nil || !contains(err.Error(), "yet") {
		t.Errorf("rekey: %d, %v", n, err)
	}
	if n, err := s.Terminate(t.Context(), "127.0.0.1", true); n != 0 || err == nil {
		t.Errorf("terminate of its Child SAs: %d, %v", n, err)
	}
	if n, err := s.Terminate(t.Context(), "127.0.0.1", false); n != 1 || err != nil {
		t.Errorf("terminate: %d, %v", n, err)
	}
	eventually(t, "the end is told", func() bool { return len(s.told()) == 1 })
}

func TestTheCrashSecretIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crash-secret")
	first, err := CrashSecret(path)
	if err != nil || len(first) != crashSecretSize {
		t.Fatalf("%v, %v", first, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, err := CrashSecret(path)
	if err != nil || string(again) != string(first) {
		t.Errorf("another one after a restart: %v", err)
	}
	// One that others could read, or that was cut short, is not used any more.
	for name, spoil := range map[string]func() error{
		"mode 0640":  func() error { return os.Chmod(path, 0o640) },
		"31 octets":  func() error { return os.WriteFile(path, first[:31], 0o600) },
		"no regular": func() error { return errors.Join(os.Remove(path), os.Symlink("/dev/null", path)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		got, err := CrashSecret(path)
		if err == nil || !contains(err.Error(), name) || len(got) != crashSecretSize || string(got) == string(first) {
			t.Errorf("%s: %v, the same: %v", name, err, string(got) == string(first))
		}
		kept, err := CrashSecret(path)
		if err != nil || string(kept) != string(got) {
			t.Errorf("%s: the new one is not kept: %v", name, err)
		}
	}
	if got, err := CrashSecret(filepath.Join(path, "below")); err == nil || len(got) != crashSecretSize {
		t.Errorf("nowhere to keep it: %v, %v", got, err)
	}
}
