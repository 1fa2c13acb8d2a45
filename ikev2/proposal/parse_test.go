// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"strings"
	"testing"

	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

const (
	ike = wire.ProtocolIKE
	esp = wire.ProtocolESP
)

func TestStrongSwansNotation(t *testing.T) {
	cases := []struct {
		protocol wire.ProtocolID
		in, want string
	}{
		{ike, "aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-prfsha256-x25519-ke1_mlkem768"},
		{ike, "aes256-sha512-modp4096", "aes256-sha512-prfsha512-modp4096"},
		{ike, "aes128-aes256-sha256-sha384-ecp256-ecp384", "aes128-aes256-sha256-sha384-prfsha256-prfsha384-ecp256-ecp384"},
		{ike, "modp2048-sha256-aes128", "aes128-sha256-prfsha256-modp2048"},
		{ike, "aes128-sha256-prfsha384-ecp521", "aes128-sha256-prfsha384-ecp521"},
		{ike, "aes128gcm16-sha256-ecp256", "aes128gcm16-prfsha256-ecp256"},
		{ike, "aes-sha2_256-curve25519", "aes128-sha256-prfsha256-x25519"},
		{ike, "chacha20poly1305-prfsha512-x25519-ke1_ecp384-ke1_none-ke7_mlkem1024", "chacha20poly1305-prfsha512-x25519-ke1_ecp384-ke1_none-ke7_mlkem1024"},
		{esp, "aes256gcm16", "aes256gcm16-noesn"},
		{esp, "aes256gcm128-esn", "aes256gcm16-esn"},
		{esp, "aes128-sha256-esn-noesn", "aes128-sha256-esn-noesn"},
		{esp, "aes128-sha256-modp2048-none", "aes128-sha256-modp2048-none-noesn"},
		{esp, "chacha20poly1305-x25519-ke1_mlkem768", "chacha20poly1305-x25519-ke1_mlkem768-noesn"},
		{esp, "aes128gcm16-ecp256, aes128-sha256", "aes128gcm16-ecp256-noesn,aes128-sha256-noesn"},
	}
	for _, c := range cases {
		all, err := proposal.Parse(c.protocol, c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := text(all); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
		if again, err := proposal.Parse(c.protocol, c.want); err != nil || text(again) != c.want {
			t.Errorf("%s read again: %s, %v", c.want, text(again), err)
		}
	}
}

func text(all []proposal.Proposal) string {
	var words []string
	for _, p := range all {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

func TestEachErrorNamesTheFaultAndTheRemedy(t *testing.T) {
	cases := []struct {
		protocol wire.ProtocolID
		in, want string
	}{
		{ike, "", "empty: write default"},
		{ike, "aes128-sha256-modp2048,", "empty: write default"},
		{ike, "aes128-sha1-modp2048", `"sha1" is too weak`},
		{ike, "3des-sha256-modp2048", `"3des" is too weak`},
		{ike, "aes128-sha256-modp1024", `"modp1024" is too weak`},
		{ike, "aes128gcm8-prfsha256-x25519", `"aes128gcm8" is too weak`},
		{esp, "null-sha256", `"null" is too weak`},
		{ike, "aes128gcm16-prfsha256-x25519-ke1_modp1024", `"ke1_modp1024" is too weak`},
		{ike, "aes129-sha256-x25519", `"aes129" is unknown; there are: aes128 `},
		{ike, "AES128-sha256-x25519", `"AES128" is unknown`},
		{ike, "aes128-sha256-x25519-ke8_mlkem768", `"ke8_mlkem768" is unknown`},
		{ike, "aes128-sha256-x25519-ke1_aes128", `"ke1_aes128" is unknown`},
		{ike, "aes128-sha256-x25519-ke1_", `"ke1_" is unknown`},
		{ike, "aes128--sha256-x25519", `"" is unknown`},
		{ike, "aes128-aes-sha256-x25519", `"aes" is there twice`},
		{ike, "aes128-sha256-sha256-x25519", `"sha256" is there twice`},
		{ike, "aes128-aes128gcm16-sha256-x25519", "make two proposals of it"},
		{ike, "sha256-x25519", "no encryption: add"},
		{ike, "aes128-x25519-prfsha256", "AES-CBC without integrity: add sha256"},
		{ike, "aes128gcm16-x25519", "no pseudorandom function: add prfsha256"},
		{ike, "aes128gcm16-prfsha256", "an IKE SA needs a key exchange: add"},
		{ike, "aes128gcm16-prfsha256-x25519-none", "an IKE SA needs a key exchange"},
		{ike, "aes128gcm16-prfsha256-x25519-ke2_none", "ke2_none alone offers nothing"},
		{ike, "aes128gcm16-prfsha256-x25519-esn", `"esn" has no place in a proposal for IKE`},
		{esp, "aes128gcm16-prfsha256", `"prfsha256" has no place in a proposal for ESP`},
		{esp, "aes128gcm16-ke1_mlkem768", "ke1_ without a first key exchange"},
		{esp, "aes128", "AES-CBC without integrity"},
		{esp, strings.Repeat("default,", 9) + "default", "at most 16"},
	}
	for _, c := range cases {
		if all, err := proposal.Parse(c.protocol, c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %s, %v; want %q", c.in, text(all), err, c.want)
		}
	}
}

func TestDefaultsBeginWithTheHybrid(t *testing.T) {
	all := proposal.Default(ike)
	if all[0].KeyExchange[0] != wire.Curve25519 || all[0].Additional[0][0] != wire.MLKEM768 || all[0].Encryption[0].ID != wire.EncryptionAESGCM16 {
		t.Errorf("first default: %s", all[0])
	}
	for _, p := range all[1:] {
		if len(p.Additional[0]) > 0 {
			t.Errorf("%s needs RFC 9370 as well: nobody older could answer", p)
		}
	}
	for _, protocol := range []wire.ProtocolID{ike, esp} {
		sa := proposal.Offer(proposal.Default(protocol), nil, true)
		b, err := (&wire.Message{Payloads: []wire.Payload{sa}}).Append(nil)
		if err != nil || len(b) > 600 {
			t.Errorf("the default offer for %s has %d octets, %v", protocol, len(b), err)
		}
	}
}

// FuzzParse: no text crashes the parser, and what is read, written and read again
// is the same.
func FuzzParse(f *testing.F) {
	f.Add(false, "aes128gcm16-prfsha256-x25519-ke1_mlkem768")
	f.Add(true, "aes256-sha256-none-esn,default")
	f.Fuzz(func(t *testing.T, child bool, in string) {
		protocol := ike
		if child {
			protocol = esp
		}
		all, err := proposal.Parse(protocol, in)
		if err != nil {
			return
		}
		again, err := proposal.Parse(protocol, text(all))
		if err != nil || text(again) != text(all) {
			t.Errorf("%q became %q, then %q, %v", in, text(all), text(again), err)
		}
	})
}
