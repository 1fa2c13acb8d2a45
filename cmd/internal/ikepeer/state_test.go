// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// newChild is one between us, 192.0.2.1, and a peer that is seen at 203.0.113.9.
func newChild(suite crypto.Suite) *child {
	host := func(a string) []wire.Selector {
		x := netip.MustParseAddr(a)
		return []wire.Selector{{Type: wire.SelectorIPv4, Protocol: 47, EndPort: 65535, Start: x, End: x}}
	}
	return &child{Child: sa.Child{
		Peer: sa.Peer{ID: 7}, Inbound: 0x1111, Outbound: 0xfffffff2, Suite: suite,
		In:    crypto.DirectionKeys{Encryption: []byte("in-key"), Integrity: []byte("in-hash")},
		Out:   crypto.DirectionKeys{Encryption: []byte("out-key"), Integrity: []byte("out-hash")},
		Here:  host("192.0.2.1"),
		There: host("10.9.9.9"), // as the peer sees itself
		Local: netip.MustParseAddrPort("192.0.2.1:4500"), Remote: netip.MustParseAddrPort("203.0.113.9:61000"),
	}}
}

func TestStatesHaveTheKeysOfTheirDirection(t *testing.T) {
	gcm := crypto.Suite{Encryption: wire.EncryptionAESGCM16, KeyLength: 256}
	chacha := crypto.Suite{Encryption: wire.EncryptionChaCha20Poly1305}
	for _, c := range []struct {
		suite crypto.Suite
		want  string
	}{
		{gcm, "rfc4106(gcm(aes)) %s-key 128"},
		{chacha, "rfc7539esp(chacha20,poly1305) %s-key 128"},
		{crypto.Suite{Encryption: wire.EncryptionAESCBC, KeyLength: 128, Integrity: wire.IntegrityHMACSHA256128}, "cbc(aes) %s-key hmac(sha256) %[1]s-hash 128"},
		{crypto.Suite{Encryption: wire.EncryptionAESCBC, KeyLength: 256, Integrity: wire.IntegrityHMACSHA384192}, "cbc(aes) %s-key hmac(sha384) %[1]s-hash 192"},
		{crypto.Suite{Encryption: wire.EncryptionAESCBC, KeyLength: 256, Integrity: wire.IntegrityHMACSHA512256}, "cbc(aes) %s-key hmac(sha512) %[1]s-hash 256"},
	} {
		for _, in := range []bool{true, false} {
			s := newChild(c.suite).state(in)
			direction, from, to, spi := "out", "192.0.2.1", "203.0.113.9", 0xfffffff2
			if in {
				direction, from, to, spi = "in", to, from, 0x1111
			}
			got := ""
			if s.Aead != nil {
				got = fmt.Sprintf("%s %s %d", s.Aead.Name, s.Aead.Key, s.Aead.ICVLen)
			} else {
				got = fmt.Sprintf("%s %s %s %s %d", s.Crypt.Name, s.Crypt.Key, s.Auth.Name, s.Auth.Key, s.Auth.TruncateLen)
			}
			if want := fmt.Sprintf(c.want, direction); got != want {
				t.Errorf("%s: got %s, want %s", direction, got, want)
			}
			if s.Src.String() != from || s.Dst.String() != to || s.Spi != spi || s.Reqid != 7 || s.Encap != nil || s.Mode != netlink.XFRM_MODE_TRANSPORT {
				t.Errorf("%s: %+v", direction, s)
			}
		}
	}
}

func TestStatesInUDPHaveThePortsOfTheirDirection(t *testing.T) {
	c := newChild(crypto.Suite{Encryption: wire.EncryptionAESGCM16, KeyLength: 128})
	c.Encapsulation = true
	if e := c.state(false).Encap; e.Type != netlink.XFRM_ENCAP_ESPINUDP || e.SrcPort != 4500 || e.DstPort != 61000 {
		t.Errorf("outbound %+v", e)
	}
	if e := c.state(true).Encap; e.SrcPort != 61000 || e.DstPort != 4500 {
		t.Errorf("inbound %+v", e)
	}
}

func TestPoliciesWantESPBothWays(t *testing.T) {
	c := newChild(crypto.Suite{})
	text := func(p netlink.XfrmPolicy) string {
		return fmt.Sprintf("%s %s > %s proto %d: %s > %s spi %x reqid %d %s", p.Dir, p.Src, p.Dst, p.Proto, p.Tmpls[0].Src, p.Tmpls[0].Dst, p.Tmpls[0].Spi, p.Tmpls[0].Reqid, p.Tmpls[0].Mode)
	}
	check := func(want ...string) {
		t.Helper()
		all := c.policies(inbound, outbound)
		if len(all) != len(want) {
			t.Fatalf("%d policies: %v", len(all), all)
		}
		for i, p := range all {
			if got := text(p); got != want[i] {
				t.Errorf("got  %s\nwant %s", got, want[i])
			}
		}
	}
	// In transport mode the selectors are the endpoints, whatever a NAT made of them.
	check("dir in 203.0.113.9/32 > 192.0.2.1/32 proto 47: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 transport",
		"dir fwd 203.0.113.9/32 > 192.0.2.1/32 proto 47: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 transport",
		"dir out 192.0.2.1/32 > 203.0.113.9/32 proto 47: 192.0.2.1 > 203.0.113.9 spi fffffff2 reqid 7 transport")
	c.Mode = sa.Tunnel
	all, err := selectors([]string{"10.1.0.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	c.Here = all
	c.There, err = selectors([]string{"10.2.0.0/15:6", "10.9.0.1/32"})
	if err != nil {
		t.Fatal(err)
	}
	check("dir in 10.2.0.0/15 > 10.1.0.0/24 proto 0: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 tunnel",
		"dir in 10.9.0.1/32 > 10.1.0.0/24 proto 0: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 tunnel",
		"dir fwd 10.2.0.0/15 > 10.1.0.0/24 proto 0: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 tunnel",
		"dir fwd 10.9.0.1/32 > 10.1.0.0/24 proto 0: 203.0.113.9 > 192.0.2.1 spi 0 reqid 7 tunnel",
		"dir out 10.1.0.0/24 > 10.2.0.0/15 proto 0: 192.0.2.1 > 203.0.113.9 spi fffffff2 reqid 7 tunnel",
		"dir out 10.1.0.0/24 > 10.9.0.1/32 proto 0: 192.0.2.1 > 203.0.113.9 spi fffffff2 reqid 7 tunnel")
	if all, err = selectors([]string{"2001:db8:1::/48:47"}); err != nil {
		t.Fatal(err)
	}
	if got := c.network(all[0], netip.Addr{}).String(); got != "2001:db8:1::/48" || all[0].Protocol != 47 {
		t.Errorf("a prefix of IPv6 became %s, %v", got, all)
	}
	// What is no prefix is cut, not widened.
	odd := wire.Selector{Start: netip.MustParseAddr("10.1.0.4"), End: netip.MustParseAddr("10.1.0.12")}
	if got := c.network(odd, netip.Addr{}).String(); got != "10.1.0.4/30" {
		t.Errorf("10.1.0.4 to 10.1.0.12 became %s", got)
	}
}

func TestSelectorsThatAreNoneAreRefused(t *testing.T) {
	for _, bad := range []string{"", "10.1.0.0", "10.1.0.0/33", "2001:db8::/129", "2001:db8::/64:gre", "10.1.0.0/24:256", "10.1.0.0/24:gre"} {
		if got, err := selectors([]string{bad}); err == nil {
			t.Errorf("%q became %v", bad, got)
		}
	}
}
