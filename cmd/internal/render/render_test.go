// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dmvpn/cmd/internal/control"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }
func in(d time.Duration) time.Time  { return now.Add(d) }
func addr(s string) netip.Addr      { return netip.MustParseAddr(s) }
func pfx(s string) netip.Prefix     { return netip.MustParsePrefix(s) }

var key = uint32(42)

// A spoke that registered 12 minutes ago and has a shortcut to a spoke behind a
// NAT, with a second tunnel whose server does not answer.
var (
	tunnels = []control.Tunnel{
		{
			Name: "dmvpn0", IfIndex: 7, Address: pfx("10.0.0.11/24"), NBMA: addr("198.51.100.11"), Key: &key,
			Underlay: control.Underlay{Device: "eth0", Mark: 0x20, VRF: "wan"}, VRF: "red", Table: 10, Protection: "none", MTU: 1400,
			Shortcut: true, Carrier: true, Attach: "tcx", Peers: 2, Shortcuts: 1, NHS: 1, NHSUp: 1,
			Queues: []control.Queue{{Sent: 1234, Received: 99}, {Sent: 5}}, Overflows: 7,
		},
		{
			Name: "dmvpn1", IfIndex: 8, Address: pfx("10.1.0.1/16"), Underlay: control.Underlay{Device: "ppp0"}, Table: 101,
			Protection: "none", MTU: 1400, Redirect: true, Registered: 2, Peers: 2,
			Problems: []string{"the underlay device ppp0 has no address: nothing is sent until it has one"},
		},
	}
	peers = []control.Peer{
		{
			Tunnel: "dmvpn0", ID: 1, NBMA: addr("192.0.2.1"), Protocol: addr("10.0.0.1"), NextHops: []netip.Addr{addr("10.0.0.1")},
			Identity: "hub.example.net", Kind: control.PeerNHS, Up: true, Since: ago(12*time.Minute + 33*time.Second), MTU: 1400,
			Traffic: control.Traffic{RxPackets: 1200, RxBytes: 1_234_567, RxLast: ago(time.Second), TxPackets: 800, TxBytes: 99_000, TxLast: ago(3 * time.Second)},
		},
		{
			Tunnel: "dmvpn0", ID: 2, NBMA: addr("203.0.113.12"), Protocol: addr("10.0.0.12"), NAT: addr("192.168.1.5"),
			Kind: control.PeerShortcut, Up: true, Since: ago(20 * time.Second), MTU: 1400,
		},
	}
	entries = []control.Entry{
		{
			Tunnel: "dmvpn0", Prefix: pfx("10.0.0.1/32"), NextHop: addr("10.0.0.1"), NBMA: addr("192.0.2.1"),
			Type: control.EntryStatic, Flags: []string{"nhs"}, Created: ago(12*time.Minute + 33*time.Second),
		},
		{
			Tunnel: "dmvpn0", Prefix: pfx("10.10.2.0/24"), NextHop: addr("10.0.0.12"), NBMA: addr("203.0.113.12"),
			Claimed: addr("192.168.1.5"), Type: control.EntryDynamic, Flags: []string{"router", control.FlagRoute}, Group: "branch",
			Created: ago(20 * time.Second), Expires: in(time.Hour + 59*time.Minute + 40*time.Second),
		},
		{Tunnel: "dmvpn0", Prefix: pfx("10.10.3.7/32"), Type: control.EntryIncomplete, Created: ago(time.Second), Expires: in(9 * time.Second)},
	}
	servers = []control.NHS{
		{
			Tunnel: "dmvpn0", Name: "hub.example.net", NBMA: addr("192.0.2.1"), Protocol: addr("10.0.0.1"), State: control.NHSUp,
			Since: ago(12*time.Minute + 33*time.Second), Routes: []netip.Prefix{pfx("10.10.0.0/16")}, Requests: 3, Replies: 2, NextTry: in(27 * time.Minute),
		},
		{
			Tunnel: "dmvpn0", Name: "192.0.2.2", NBMA: addr("192.0.2.2"), State: control.NHSRegistering, Since: ago(40 * 24 * time.Hour),
			Requests: 5, NextTry: in(16 * time.Second), LastError: "administratively prohibited",
		},
	}
	drops = []control.Drop{
		{Reason: "unknown-peer", Number: 6, Packets: 17, Bytes: 1700},
		{Tunnel: "dmvpn0", Peer: 2, NBMA: addr("203.0.113.12"), Protocol: addr("10.0.0.12"), Reason: "too-big", Number: 12, Packets: 2, Bytes: 3000},
	}
	stats = control.Stats{Tunnels: []control.TunnelStats{{
		Tunnel: "dmvpn0", Data: peers[0].Traffic, NHRP: map[string]uint64{"sent": 5, "received": 4, "send-failed": 0},
		Peers: []control.PeerStats{{ID: 1, NBMA: addr("192.0.2.1"), Protocol: addr("10.0.0.1"), Traffic: peers[0].Traffic}, {ID: 2, NBMA: addr("203.0.113.12")}},
	}}, IKE: map[string]uint64{"established": 2, "initial-messages-dropped": 71, "messages-dropped": 0}}
)

func TestDisplaysReadLikeTheirGoldenFiles(t *testing.T) {
	for name, display := range map[string]func(io.Writer) error{
		"summary": func(w io.Writer) error {
			return Summary(w, now, control.Status{Instance: "default", Version: "v0.1.0", PID: 4711, Started: ago(3*24*time.Hour + 4*time.Hour), Tunnels: tunnels})
		},
		"peer":      func(w io.Writer) error { return Peers(w, now, peers) },
		"peer-none": func(w io.Writer) error { return Peers(w, now, nil) },
		"nhrp":      func(w io.Writer) error { return NHRP(w, now, entries) },
		"nhs":       func(w io.Writer) error { return NHS(w, now, servers) },
		"nhs-clusters": func(w io.Writer) error {
			return NHS(w, now, []control.NHS{
				{Tunnel: "dmvpn0", Name: "192.0.2.1", NBMA: addr("192.0.2.1"), Protocol: addr("10.0.0.1"), Cluster: 1, Most: 1, State: control.NHSUp, Since: ago(time.Minute), Requests: 1, Replies: 1, NextTry: in(39 * time.Minute)},
				{Tunnel: "dmvpn0", Name: "192.0.3.1", NBMA: addr("192.0.3.1"), Priority: 10, Cluster: 1, Most: 1, State: control.NHSWaiting, Since: ago(time.Minute)},
				{Tunnel: "dmvpn1", Name: "192.0.4.1", NBMA: addr("192.0.4.1"), Protocol: addr("10.1.0.1"), State: control.NHSUp, Since: ago(time.Minute), Requests: 1, Replies: 1, NextTry: in(39 * time.Minute)},
			})
		},
		"shortcut-clear": func(w io.Writer) error {
			return errors.Join(Cleared(w, now, control.Cleared{Shortcuts: 1, Negatives: 2}), Cleared(w, now, control.Cleared{Negatives: 1}))
		},
		"shortcut-none": func(w io.Writer) error { return Shortcuts(w, now, nil) },
		"drops":         func(w io.Writer) error { return Drops(w, drops) },
		"nhrp-counters": func(w io.Writer) error {
			return NHRPCounters(w, now, []control.NHRPCounters{{
				Tunnel: "dmvpn0", Types: []control.NHRPType{{Type: "registration-request", Received: 700, Dropped: 5}, {Type: "registration-reply", Sent: 695}},
				Codes: map[string]uint64{"registration-reply-sent-code-14": 1}, Dropped: map[string]uint64{"rate": 5}, Events: map[string]uint64{"answered": 9},
				Caches: []control.NHRPCache{{Name: "registered", Used: 12, Most: 65535}}, Unread: 3,
			}})
		},
		"multicast": func(w io.Writer) error {
			return Multicast(w, now, []control.Multicast{
				{Tunnel: "dmvpn0", Mode: []string{"dynamic", "10.0.0.13"}, Rate: 10000, Burst: 500, Packets: 70, Copies: 140, Limited: 3, Members: []control.MulticastMember{
					{Peer: 2, NBMA: addr("203.0.113.12"), Port: 4501, Protocol: addr("10.0.0.12"), Why: control.MulticastDynamic},
					{Protocol: addr("10.0.0.13"), Why: control.MulticastListed},
				}},
				{Tunnel: "dmvpn1", Mode: []string{"none"}, Rate: 10000, Burst: 10000, Nobody: 12},
			})
		},
		"stats":        func(w io.Writer) error { return Stats(w, now, stats, drops) },
		"show-dmvpn":   func(w io.Writer) error { return ShowDMVPN(w, now, DMVPN{tunnels, peers, servers, entries}) },
		"show-ip-nhrp": func(w io.Writer) error { return ShowIPNHRP(w, now, entries) },
		"ike":          func(w io.Writer) error { return IKE(w, now, ike) },
		"ike-none":     func(w io.Writer) error { return IKE(w, now, control.IKE{}) },
		"ike-trace": func(w io.Writer) error {
			for _, l := range trace {
				if err := IKELine(w, time.UTC, l); err != nil {
					return err
				}
			}
			return nil
		},
		"show-crypto-ikev2-sa":          func(w io.Writer) error { return ShowCryptoIKEv2SA(false)(w, now, ike) },
		"show-crypto-ikev2-sa-detailed": func(w io.Writer) error { return ShowCryptoIKEv2SA(true)(w, now, ike) },
		"show-nhrp-none":                func(w io.Writer) error { return ShowIPNHRP(w, now, nil) },
		"shortcut": func(w io.Writer) error {
			return Shortcuts(w, now, []control.Shortcut{{
				Tunnel: "dmvpn0", Prefix: pfx("10.10.2.0/24"), NextHop: addr("10.0.0.12"), NBMA: addr("203.0.113.12"), State: control.ShortcutInUse,
				Created: ago(20 * time.Second), Expires: in(7180 * time.Second),
			}, {
				Tunnel: "dmvpn0", Prefix: pfx("10.10.3.0/24"), NextHop: addr("10.0.0.13"), NBMA: addr("203.0.113.12"), Port: 50000, State: control.ShortcutByHub,
				Reason: "no answer to probes", Created: ago(90 * time.Second), Expires: in(7110 * time.Second),
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := display(&got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (write it with -update):\n%s", file, diff)
			}
		})
	}
}

func TestAmountsAreShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1_234_567: "1.23 MB", 999_600: "1 MB", 5e12: "5 TB", 1 << 63: "9 EB"} {
		if got := octets(n); got != want {
			t.Errorf("octets(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "00:00:00", 59 * time.Second: "00:00:59", 24*time.Hour - 1: "23:59:59",
		76 * time.Hour: "3d04h", 87 * 24 * time.Hour: "12w3d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
