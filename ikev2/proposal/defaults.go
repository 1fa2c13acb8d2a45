// SPDX-License-Identifier: Apache-2.0

package proposal

import "dmvpn/ikev2/wire"

// The defaults: first what resists a quantum computer, then the same without,
// for peers that do not know RFC 9370 (they skip a proposal with a transform
// type that they do not know), last AES-CBC for those without AEAD in IKE. MODP
// stands at the end of the key exchanges because it costs most.
const (
	defaultIKE = "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-ke1_mlkem768-ke1_mlkem1024," +
		"aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048," +
		"aes256-aes128-sha256-sha384-sha512-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048"
	// A child takes its keys from the IKE SA, which is young: no key exchange of
	// its own, but one that a peer insists on is agreed to.
	defaultESP = "aes256gcm16-aes128gcm16-chacha20poly1305-none-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048," +
		"aes256-aes128-sha256-sha384-sha512-none-x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048"
)

// Default is the policy of whoever wrote none, for wire.ProtocolIKE or
// wire.ProtocolESP. The caller may change it.
func Default(protocol wire.ProtocolID) []Proposal {
	text := defaultIKE
	if protocol == wire.ProtocolESP {
		text = defaultESP
	}
	all, err := Parse(protocol, text)
	if err != nil {
		panic(err) // a constant that a test reads
	}
	return all
}
