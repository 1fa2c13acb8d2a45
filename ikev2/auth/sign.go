// SPDX-License-Identifier: Apache-2.0

package auth

import (
	stdcrypto "crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"slices"

	"dmvpn/ikev2/wire"
)

// Sign makes AUTH with a private key. hashes is what the peer announced in
// SIGNATURE_HASH_ALGORITHMS, nil if it announced nothing: then only the methods
// of RFC 4754 are left, and an RSA key is an error, as SHA-1 would be the way.
func Sign(key stdcrypto.Signer, hashes []wire.HashAlgorithm, octets []byte, random io.Reader) (*wire.Authentication, error) {
	if err := CheckKey(key.Public()); err != nil {
		return nil, fmt.Errorf("ike: our own key: %w", err)
	}
	if len(hashes) == 0 {
		return signOlder(key, octets, random)
	}
	wanted := schemeOf(key.Public())
	var chosen *algorithm
	for i, a := range made {
		if a.scheme != wanted || !slices.Contains(hashes, a.announced) {
			continue
		}
		// The hash that is as strong as the curve; else the strongest there is.
		if chosen = &made[i]; a.hash == naturalHash(key.Public()) {
			break
		}
	}
	if chosen == nil {
		return nil, fmt.Errorf("ike: the peer verifies hashes %d, none of them with our %T: use another key", hashes, key.Public())
	}
	var opts stdcrypto.SignerOpts = chosen.hash
	if chosen.scheme == schemePSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: chosen.hash}
	}
	signature, err := key.Sign(random, digest(chosen.hash, octets), opts)
	if err != nil {
		return nil, fmt.Errorf("ike: sign: %w", err)
	}
	data := append([]byte{byte(len(chosen.identifier))}, chosen.identifier...)
	return &wire.Authentication{Method: wire.AuthDigitalSignature, Data: append(data, signature...)}, nil
}

func schemeOf(public stdcrypto.PublicKey) scheme {
	switch public.(type) {
	case *rsa.PublicKey:
		return schemePSS
	case ed25519.PublicKey:
		return schemeEd25519
	}
	return schemeECDSA
}

// naturalHash is the hash that fits a key's strength.
func naturalHash(public stdcrypto.PublicKey) stdcrypto.Hash {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 384:
			return stdcrypto.SHA384
		case 521:
			return stdcrypto.SHA512
		}
	case ed25519.PublicKey:
		return 0
	}
	return stdcrypto.SHA256
}

// points are r and s.
type points struct{ R, S *big.Int }

func signOlder(key stdcrypto.Signer, octets []byte, random io.Reader) (*wire.Authentication, error) {
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("ike: the peer announced no hash algorithms, and %T without RFC 7427 means SHA-1: use an ECDSA key", key.Public())
	}
	for method, o := range older {
		if o.curve != public.Curve {
			continue
		}
		signature, err := key.Sign(random, digest(o.hash, octets), o.hash)
		if err != nil {
			return nil, fmt.Errorf("ike: sign: %w", err)
		}
		var p points
		if _, err := asn1.Unmarshal(signature, &p); err != nil {
			return nil, fmt.Errorf("ike: sign: %w", err)
		}
		data := make([]byte, 2*o.size)
		p.R.FillBytes(data[:o.size])
		p.S.FillBytes(data[o.size:])
		return &wire.Authentication{Method: method, Data: data}, nil
	}
	return nil, fmt.Errorf("ike: RFC 4754 has no method for %s", public.Curve.Params().Name)
}

// VerifySignature checks AUTH with the peer's public key. The key's type and the
// algorithm must belong together; the whole of the identifier is compared.
func VerifySignature(public stdcrypto.PublicKey, octets []byte, a *wire.Authentication) error {
	if err := CheckKey(public); err != nil {
		return failed("%v", err)
	}
	if a.Method == wire.AuthRSA {
		return verifyOldRSA(public, octets, a.Data)
	}
	if o, ok := older[a.Method]; ok {
		k, ok := public.(*ecdsa.PublicKey)
		if !ok || k.Curve != o.curve || len(a.Data) != 2*o.size {
			return failed("%s with a key of type %T, %d octets", a.Method, public, len(a.Data))
		}
		r, s := new(big.Int).SetBytes(a.Data[:o.size]), new(big.Int).SetBytes(a.Data[o.size:])
		if !ecdsa.Verify(k, digest(o.hash, octets), r, s) {
			return failed("the signature is wrong")
		}
		return nil
	}
	if a.Method != wire.AuthDigitalSignature {
		return failed("%s where a signature was expected", a.Method)
	}
	if len(a.Data) < 1 || len(a.Data) < 1+int(a.Data[0]) {
		return failed("the signature's algorithm is past its end")
	}
	identifier, signature := string(a.Data[1:1+a.Data[0]]), a.Data[1+a.Data[0]:]
	at := slices.IndexFunc(taken, func(a algorithm) bool { return a.identifier == identifier })
	if at < 0 {
		return failed("signature algorithm %x", identifier)
	}
	if !taken[at].verify(public, octets, signature) {
		return failed("the signature is wrong")
	}
	return nil
}

// verifyOldRSA is RFC 7296's own method: PKCS #1 v1.5 with a hash that only the
// signature names. Most peers mean SHA-1, and have to be configured otherwise.
func verifyOldRSA(public stdcrypto.PublicKey, octets, signature []byte) error {
	k, ok := public.(*rsa.PublicKey)
	if !ok {
		return failed("%s with a key of type %T", wire.AuthRSA, public)
	}
	for _, h := range []stdcrypto.Hash{stdcrypto.SHA256, stdcrypto.SHA384, stdcrypto.SHA512} {
		if rsa.VerifyPKCS1v15(k, h, digest(h, octets), signature) == nil {
			return nil
		}
	}
	return failed("the signature is wrong, or made with SHA-1: let the peer use RFC 7427, or an ECDSA key")
}

func (a algorithm) verify(public stdcrypto.PublicKey, octets, signature []byte) bool {
	sum := digest(a.hash, octets)
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch a.scheme {
		case schemePSS:
			return rsa.VerifyPSS(k, a.hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		case schemePKCS1:
			return rsa.VerifyPKCS1v15(k, a.hash, sum, signature) == nil
		}
	case *ecdsa.PublicKey:
		return a.scheme == schemeECDSA && ecdsa.VerifyASN1(k, sum, signature)
	case ed25519.PublicKey:
		return a.scheme == schemeEd25519 && ed25519.Verify(k, sum, signature)
	}
	return false
}
