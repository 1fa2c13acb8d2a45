// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Encryption algorithms (transform type 1) that this project speaks.
const (
	EncryptionAESCBC           uint16 = 12
	EncryptionAESGCM16         uint16 = 20
	EncryptionChaCha20Poly1305 uint16 = 28 // RFC 7634
)

// Pseudorandom functions (type 2; RFC 4868).
const (
	PRFHMACSHA256 uint16 = 5
	PRFHMACSHA384 uint16 = 6
	PRFHMACSHA512 uint16 = 7
)

// Integrity algorithms (type 3; RFC 4868).
const (
	IntegrityNone          uint16 = 0
	IntegrityHMACSHA256128 uint16 = 12
	IntegrityHMACSHA384192 uint16 = 13
	IntegrityHMACSHA512256 uint16 = 14
)

// Key exchange methods (types 4 and 6 to 12): RFC 3526, 5903, 8031 and
// draft-ietf-ipsecme-ikev2-mlkem.
const (
	KeyExchangeNone uint16 = 0
	MODP2048        uint16 = 14
	MODP3072        uint16 = 15
	MODP4096        uint16 = 16
	ECP256          uint16 = 19
	ECP384          uint16 = 20
	ECP521          uint16 = 21
	Curve25519      uint16 = 31
	MLKEM768        uint16 = 36
	MLKEM1024       uint16 = 37
)

// Sequence numbers (type 5).
const (
	NoExtendedSequenceNumbers uint16 = 0
	ExtendedSequenceNumbers   uint16 = 1
)

// The names are those that strongSwan's log has, to be compared with it. Here
// stand also the algorithms that we refuse, for an operator wants to know what a
// peer offered.
var (
	encryptionNames = map[uint16]string{
		2: "DES_CBC", 3: "3DES_CBC", 11: "NULL", 12: "AES_CBC", 13: "AES_CTR", 14: "AES_CCM_8", 15: "AES_CCM_12", 16: "AES_CCM_16",
		18: "AES_GCM_8", 19: "AES_GCM_12", 20: "AES_GCM_16", 21: "NULL_AES_GMAC", 23: "CAMELLIA_CBC", 24: "CAMELLIA_CTR",
		25: "CAMELLIA_CCM_8", 26: "CAMELLIA_CCM_12", 27: "CAMELLIA_CCM_16", 28: "CHACHA20_POLY1305",
	}
	prfNames = map[uint16]string{
		1: "PRF_HMAC_MD5", 2: "PRF_HMAC_SHA1", 4: "PRF_AES128_XCBC", 5: "PRF_HMAC_SHA2_256",
		6: "PRF_HMAC_SHA2_384", 7: "PRF_HMAC_SHA2_512", 8: "PRF_AES128_CMAC",
	}
	integrityNames = map[uint16]string{
		0: "NONE", 1: "HMAC_MD5_96", 2: "HMAC_SHA1_96", 5: "AES_XCBC_96", 8: "AES_CMAC_96",
		12: "HMAC_SHA2_256_128", 13: "HMAC_SHA2_384_192", 14: "HMAC_SHA2_512_256",
	}
	keyExchangeNames = map[uint16]string{
		0: "NONE", 1: "MODP_768", 2: "MODP_1024", 5: "MODP_1536", 14: "MODP_2048", 15: "MODP_3072", 16: "MODP_4096",
		17: "MODP_6144", 18: "MODP_8192", 19: "ECP_256", 20: "ECP_384", 21: "ECP_521", 22: "MODP_1024_160",
		23: "MODP_2048_224", 24: "MODP_2048_256", 25: "ECP_192", 26: "ECP_224", 27: "ECP_224_BP", 28: "ECP_256_BP",
		29: "ECP_384_BP", 30: "ECP_512_BP", 31: "CURVE_25519", 32: "CURVE_448", 35: "ML_KEM_512", 36: "ML_KEM_768", 37: "ML_KEM_1024",
	}
	sequenceNames = map[uint16]string{0: "NO_EXT_SEQ", 1: "EXT_SEQ"}
)

// KeyExchangeName is the name of a key exchange method, for logs and errors.
func KeyExchangeName(id uint16) string {
	if s, ok := keyExchangeNames[id]; ok {
		return s
	}
	return fmt.Sprintf("KE_%d", id)
}

func (t Transform) String() string {
	var s string
	ok := false
	switch {
	case t.Type == Encryption:
		s, ok = encryptionNames[t.ID]
	case t.Type == PseudorandomFunction:
		s, ok = prfNames[t.ID]
	case t.Type == Integrity:
		s, ok = integrityNames[t.ID]
	case t.Type == KeyExchangeMethod:
		s, ok = KeyExchangeName(t.ID), true
	case t.Type == SequenceNumbers:
		s, ok = sequenceNames[t.ID]
	case t.Type >= AdditionalKeyExchange1 && t.Type <= AdditionalKeyExchange7:
		s, ok = fmt.Sprintf("KE%d_%s", t.Type-AdditionalKeyExchange1+1, KeyExchangeName(t.ID)), true
	}
	if !ok {
		s = fmt.Sprintf("transform(%d, %d)", uint8(t.Type), t.ID)
	}
	if t.KeyLength != 0 {
		s += fmt.Sprintf("_%d", t.KeyLength)
	}
	if !t.Supported() {
		s += "(unknown attribute)"
	}
	return s
}
