// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"maps"
	"slices"
	"strings"

	"dmvpn/ikev2/wire"
)

// keyword is one word of strongSwan's notation.
type keyword struct {
	kind wire.TransformType
	id   uint16
	bits uint16 // of the key
}

// canonical words, the ones that String writes.
var canonical = map[string]keyword{
	"aes128":           {wire.Encryption, wire.EncryptionAESCBC, 128},
	"aes192":           {wire.Encryption, wire.EncryptionAESCBC, 192},
	"aes256":           {wire.Encryption, wire.EncryptionAESCBC, 256},
	"aes128gcm16":      {wire.Encryption, wire.EncryptionAESGCM16, 128},
	"aes192gcm16":      {wire.Encryption, wire.EncryptionAESGCM16, 192},
	"aes256gcm16":      {wire.Encryption, wire.EncryptionAESGCM16, 256},
	"chacha20poly1305": {wire.Encryption, wire.EncryptionChaCha20Poly1305, 0},
	"sha256":           {wire.Integrity, wire.IntegrityHMACSHA256128, 0},
	"sha384":           {wire.Integrity, wire.IntegrityHMACSHA384192, 0},
	"sha512":           {wire.Integrity, wire.IntegrityHMACSHA512256, 0},
	"prfsha256":        {wire.PseudorandomFunction, wire.PRFHMACSHA256, 0},
	"prfsha384":        {wire.PseudorandomFunction, wire.PRFHMACSHA384, 0},
	"prfsha512":        {wire.PseudorandomFunction, wire.PRFHMACSHA512, 0},
	"modp2048":         {wire.KeyExchangeMethod, wire.MODP2048, 0},
	"modp3072":         {wire.KeyExchangeMethod, wire.MODP3072, 0},
	"modp4096":         {wire.KeyExchangeMethod, wire.MODP4096, 0},
	"ecp256":           {wire.KeyExchangeMethod, wire.ECP256, 0},
	"ecp384":           {wire.KeyExchangeMethod, wire.ECP384, 0},
	"ecp521":           {wire.KeyExchangeMethod, wire.ECP521, 0},
	"x25519":           {wire.KeyExchangeMethod, wire.Curve25519, 0},
	"mlkem768":         {wire.KeyExchangeMethod, wire.MLKEM768, 0},
	"mlkem1024":        {wire.KeyExchangeMethod, wire.MLKEM1024, 0},
	"none":             {wire.KeyExchangeMethod, wire.KeyExchangeNone, 0}, // "modpnone" elsewhere
	"noesn":            {wire.SequenceNumbers, wire.NoExtendedSequenceNumbers, 0},
	"esn":              {wire.SequenceNumbers, wire.ExtendedSequenceNumbers, 0},
}

// aliases are strongSwan's other spellings.
var aliases = map[string]string{
	"aes": "aes128", "aes128gcm128": "aes128gcm16", "aes192gcm128": "aes192gcm16", "aes256gcm128": "aes256gcm16",
	"chacha20poly1305compat": "chacha20poly1305", "sha2_256": "sha256", "sha2_384": "sha384", "sha2_512": "sha512",
	"curve25519": "x25519", "modpnone": "none",
}

// weak are the words that others accept and that are refused here always.
var weak = []string{"des", "3des", "null", "blowfish", "cast128", "md5", "sha", "sha1", "sha256_96", "aesxcbc", "prfmd5", "prfsha1",
	"modp768", "modp1024", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256", "ecp192", "ecp224",
	"aes128gcm8", "aes192gcm8", "aes256gcm8", "aes128gcm64", "aes192gcm64", "aes256gcm64"}

// words are canonical's, turned round.
var words = func() map[keyword]string {
	m := map[keyword]string{}
	for w, k := range canonical {
		m[k] = w
	}
	return m
}()

// lookUp finds a word, without its ke1_ to ke7_ in front.
func lookUp(word string) (keyword, bool) {
	if other, ok := aliases[word]; ok {
		word = other
	}
	k, ok := canonical[word]
	return k, ok
}

// Keywords are the words that Parse knows, in order, for a message to whoever
// wrote another one.
func Keywords() string {
	return strings.Join(slices.Sorted(maps.Keys(canonical)), " ")
}
