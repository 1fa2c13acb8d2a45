// SPDX-License-Identifier: Apache-2.0

package crypto

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/wire"
)

// opened is one message of a capture, in the clear.
type opened struct {
	from, to netip.AddrPort
	raw      []byte
	*wire.Message
	sa    *iketest.IKESA // nil before there are keys
	keys  *Keys
	text  []byte         // of the SK payload or fragment
	inner []wire.Payload // nil of a fragment but the last
}

func captures(t testing.TB) []iketest.Capture {
	t.Helper()
	all, err := iketest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var suites = map[string]Suite{
	"AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256": {wire.EncryptionAESCBC, 128, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
	"AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256": {wire.EncryptionAESCBC, 256, wire.IntegrityHMACSHA256128, wire.PRFHMACSHA256},
	"AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384": {wire.EncryptionAESCBC, 256, wire.IntegrityHMACSHA384192, wire.PRFHMACSHA384},
	"AES_GCM_16_128/PRF_HMAC_SHA2_256":                {wire.EncryptionAESGCM16, 128, wire.IntegrityNone, wire.PRFHMACSHA256},
	"CHACHA20_POLY1305/PRF_HMAC_SHA2_512":             {wire.EncryptionChaCha20Poly1305, 0, wire.IntegrityNone, wire.PRFHMACSHA512},
}

// loggedKeys are those that charon wrote into its log.
func loggedKeys(t testing.TB, sa *iketest.IKESA) *Keys {
	t.Helper()
	suite, ok := suites[sa.Proposal[:strings.LastIndex(sa.Proposal, "/")]]
	if !ok {
		t.Fatalf("no suite for %s", sa.Proposal)
	}
	return &Keys{suite, Secret(sa.SKd), Secret(sa.SKai), Secret(sa.SKar), Secret(sa.SKei), Secret(sa.SKer), Secret(sa.SKpi), Secret(sa.SKpr)}
}

// open decodes a capture and opens whatever there are keys for. Everything that
// is protected must open.
func open(t testing.TB, c iketest.Capture) []*opened {
	t.Helper()
	var all []*opened
	var fragments wire.Reassembly
	for _, d := range c.Datagrams {
		o := &opened{from: d.Source, to: d.Destination, raw: d.Payload}
		if d.Source.Port() != 500 && d.Destination.Port() != 500 {
			var kind wire.Encapsulation
			if kind, o.raw = wire.Classify(d.Payload); kind != wire.IKE {
				continue
			}
		}
		var err error
		if o.Message, err = wire.Parse(o.raw); err != nil {
			t.Fatalf("frame %d: %v", d.Frame, err)
		}
		for i := range c.IKESAs {
			if sa := &c.IKESAs[i]; wire.SPI(sa.SPIi) == o.SPIi && wire.SPI(sa.SPIr) == o.SPIr {
				o.sa, o.keys = sa, loggedKeys(t, sa)
			}
		}
		if first, _, ok := o.Protected(); ok {
			if o.keys == nil {
				t.Fatalf("frame %d: %s: no keys", d.Frame, o.Message)
			}
			if o.text, err = o.keys.Protection(o.Initiator).Open(o.raw, o.Message); err != nil {
				t.Fatalf("frame %d: %s: %v", d.Frame, o.Message, err)
			}
			text := o.text
			if f, ok := wire.Find[*wire.Fragment](o.Payloads); ok {
				complete, err := fragments.Add(f, o.text)
				if err != nil {
					t.Fatalf("frame %d: %v", d.Frame, err)
				}
				if !complete {
					all = append(all, o)
					continue
				}
				first, text = fragments.Message()
				fragments.Reset()
			}
			if o.inner, err = wire.ParseInner(first, text); err != nil {
				t.Fatalf("frame %d: %s: %v", d.Frame, o.Message, err)
			}
			if again, err := wire.AppendInner(nil, o.inner); err != nil || !bytes.Equal(again, text) {
				t.Errorf("frame %d: %s encoded again: %v\n got %x\nwant %x", d.Frame, wire.Describe(o.inner), err, again, text)
			}
		}
		all = append(all, o)
	}
	return all
}

// TestEveryProtectedMessageOpensAndSealsToTheSameOctets: strongSwan's messages
// verify; sealed again with their own vector and padding they do not differ.
func TestEveryProtectedMessageOpensAndSealsToTheSameOctets(t *testing.T) {
	count := 0
	for _, c := range captures(t) {
		t.Run(c.Name, func(t *testing.T) {
			for _, o := range open(t, c) {
				first, body, ok := o.Protected()
				if !ok {
					continue
				}
				count++
				e, err := o.keys.Protection(o.Initiator).envelope()
				if err != nil {
					t.Fatal(err)
				}
				vector, _, check := e.sizes()
				padded, err := e.open(o.raw, len(o.raw)-len(body))
				if err != nil {
					t.Fatal(err)
				}
				var outer wire.Payload = &wire.Encrypted{Inner: first}
				if f, ok := wire.Find[*wire.Fragment](o.Payloads); ok {
					outer = &wire.Fragment{Inner: first, Number: f.Number, Total: f.Total}
				}
				padding := padded[len(o.text) : len(padded)-1]
				again, err := assemble(e, o.Header, outer, body[:vector], o.text, padding, check)
				if err != nil || !bytes.Equal(again, o.raw) {
					t.Errorf("%s: %v\n got %x\nwant %x", o.Message, err, again, o.raw)
				}
				bent := bytes.Clone(o.raw)
				bent[len(bent)-1] ^= 1
				if _, err := o.keys.Protection(o.Initiator).Open(bent, o.Message); err != ErrIntegrity {
					t.Errorf("%s with a bent check value: %v", o.Message, err)
				}
				if _, err := o.keys.Protection(!o.Initiator).Open(o.raw, o.Message); err != ErrIntegrity {
					t.Errorf("%s with the keys of the other direction: %v", o.Message, err)
				}
			}
		})
	}
	if count < 120 {
		t.Errorf("only %d protected messages", count)
	}
}

// TestKeysAreStrongSwansFromTheSharedSecretOn: SKEYSEED and the seven keys of
// every IKE SA, of the first ones and of the rekeyed ones.
func TestKeysAreStrongSwansFromTheSharedSecretOn(t *testing.T) {
	first, rekeyed := 0, 0
	for _, c := range captures(t) {
		t.Run(c.Name, func(t *testing.T) {
			messages := open(t, c)
			for i := range c.IKESAs {
				sa := &c.IKESAs[i]
				want := loggedKeys(t, sa)
				request, response := creators(messages, wire.SPI(sa.SPIi), wire.SPI(sa.SPIr))
				if request == nil || response == nil {
					t.Fatalf("no exchange made %x", []byte(sa.SPIi))
				}
				ni, nr := nonce(request), nonce(response)
				prf, err := NewPRF(want.Suite.PRF)
				if err != nil {
					t.Fatal(err)
				}
				var seed Secret
				if request.Exchange == wire.IKESAInit {
					first++
					seed = InitialSeed(prf, ni, nr, sa.Gir)
				} else {
					rekeyed++
					seed = FurtherSeed(prf, request.keys.D, ni, nr, sa.Gir)
				}
				if !bytes.Equal(seed, sa.SKEYSEED) {
					t.Errorf("SKEYSEED of %x", []byte(sa.SPIi))
				}
				got, err := want.Suite.Derive(seed, ni, nr, wire.SPI(sa.SPIi), wire.SPI(sa.SPIr))
				if err != nil {
					t.Fatal(err)
				}
				for name, pair := range map[string][2]Secret{
					"d": {got.D, want.D}, "ai": {got.Ai, want.Ai}, "ar": {got.Ar, want.Ar}, "ei": {got.Ei, want.Ei},
					"er": {got.Er, want.Er}, "pi": {got.Pi, want.Pi}, "pr": {got.Pr, want.Pr},
				} {
					if !bytes.Equal(pair[0], pair[1]) {
						t.Errorf("SK_%s of %x", name, []byte(sa.SPIi))
					}
				}
			}
		})
	}
	if first < 18 || rekeyed != 2 {
		t.Errorf("%d first and %d rekeyed IKE SAs", first, rekeyed)
	}
}

// nonce finds the nonce of a message, in the clear or inside of SK.
func nonce(o *opened) []byte {
	n, ok := wire.Find[wire.Nonce](o.Payloads)
	if !ok {
		n, _ = wire.Find[wire.Nonce](o.inner)
	}
	return n
}

// creators finds the request and the response that made the IKE SA with the SPIs.
func creators(messages []*opened, spii, spir wire.SPI) (request, response *opened) {
	for _, o := range messages {
		if o.Exchange == wire.IKESAInit && o.Response && o.SPIi == spii && o.SPIr == spir {
			// The request with the KE that was answered is the last one before.
			for _, r := range messages {
				if r == o {
					return request, o
				}
				if r.SPIi == spii && !r.Response {
					request = r
				}
			}
		}
		sa, ok := wire.Find[*wire.SA](o.inner)
		if o.Exchange != wire.CreateChildSA || !ok || sa.Proposals[0].Protocol != wire.ProtocolIKE {
			continue
		}
		switch spi := wire.SPI(sa.Proposals[0].SPI); {
		case !o.Response && spi == spii:
			request = o
		case o.Response && spi == spir && request != nil:
			return request, o
		}
	}
	return nil, nil
}

// TestChildKeysAreWhatTheKernelWasGiven: KEYMAT of every Child SA that was made
// without a key exchange of its own, whose secret nobody logged.
func TestChildKeysAreWhatTheKernelWasGiven(t *testing.T) {
	esp := map[string]Suite{
		"cbc(aes) 16": {Encryption: wire.EncryptionAESCBC, KeyLength: 128, Integrity: wire.IntegrityHMACSHA256128},
		"cbc(aes) 32": {Encryption: wire.EncryptionAESCBC, KeyLength: 256, Integrity: wire.IntegrityHMACSHA256128},
		" 20":         {Encryption: wire.EncryptionAESGCM16, KeyLength: 128},
		" 36":         {Encryption: wire.EncryptionAESGCM16, KeyLength: 256},
	}
	compared := 0
	for _, c := range captures(t) {
		t.Run(c.Name, func(t *testing.T) {
			messages := open(t, c)
			var request *opened
			for _, o := range messages {
				offer, ok := wire.Find[*wire.SA](o.inner)
				if _, pfs := wire.Find[*wire.KeyExchange](o.inner); !ok || pfs || offer.Proposals[0].Protocol != wire.ProtocolESP {
					continue
				}
				if !o.Response {
					request = o
					continue
				}
				asked, _ := wire.Find[*wire.SA](request.inner)
				ni, nr := nonce(request), nonce(o)
				if o.Exchange == wire.IKEAuth {
					init, answer := creators(messages, o.SPIi, o.SPIr)
					ni, nr = nonce(init), nonce(answer)
				}
				prf, err := NewPRF(o.keys.Suite.PRF)
				if err != nil {
					t.Fatal(err)
				}
				for _, logged := range c.ESPSAs {
					// An SA is named by its receiver: the responder's SPI is the initiator's direction.
					toResponder := bytes.Equal(logged.SPI, offer.Proposals[0].SPI)
					if !toResponder && !bytes.Equal(logged.SPI, asked.Proposals[0].SPI) {
						continue
					}
					key := append(bytes.Clone(logged.EncryptionKey), logged.AEADKey...)
					suite, ok := esp[logged.Encryption+" "+strconv.Itoa(len(key))]
					if !ok {
						t.Fatalf("no suite for %q with %d octets", logged.Encryption, len(key))
					}
					keys, err := suite.DeriveChild(prf, o.keys.D, nil, ni, nr)
					if err != nil {
						t.Fatal(err)
					}
					direction := keys.Responder
					if toResponder {
						direction = keys.Initiator
					}
					if !bytes.Equal(direction.Encryption, key) || !bytes.Equal(direction.Integrity, logged.IntegrityKey) {
						t.Errorf("keys of %x", []byte(logged.SPI))
					}
					compared++
				}
			}
		})
	}
	if compared < 30 {
		t.Errorf("only %d directions compared", compared)
	}
}

// TestNATDetectionSeesStrongSwansNAT: the hashes in each IKE_SA_INIT fit the
// addresses on the wire, but for the source of the spoke behind the NAT on the
// outside of it.
func TestNATDetectionSeesStrongSwansNAT(t *testing.T) {
	for _, c := range captures(t) {
		for _, o := range open(t, c) {
			if o.Exchange != wire.IKESAInit {
				continue
			}
			source, destination := wire.FindNotify(o.Payloads, wire.NATDetectionSourceIP), wire.FindNotify(o.Payloads, wire.NATDetectionDestinationIP)
			if source == nil || destination == nil {
				continue
			}
			behind := strings.HasPrefix(c.Name, "nat") && !strings.HasSuffix(c.Name, "-inside")
			hash := NATDetection(o.SPIi, o.SPIr, o.from)
			if fits := bytes.Equal(hash[:], source.Data); fits == (behind && !o.Response) {
				t.Errorf("%s: source of %s: %v", c.Name, o.Header, fits)
			}
			hash = NATDetection(o.SPIi, o.SPIr, o.to)
			// The hub answers to the address it sees, which is not the spoke's own.
			inside := strings.HasSuffix(c.Name, "-inside")
			if fits := bytes.Equal(hash[:], destination.Data); fits == (inside && o.Response) {
				t.Errorf("%s: destination of %s: %v", c.Name, o.Header, fits)
			}
		}
	}
}
