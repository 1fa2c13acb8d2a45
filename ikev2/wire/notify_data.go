// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net/netip"
)

// KeyExchangeMethod is the method that INVALID_KE_PAYLOAD asks for (section 1.3).
func (p *Notify) KeyExchangeMethod() (uint16, error) {
	if p.Type != InvalidKEPayload || len(p.Data) != 2 {
		return 0, syntax(p.Type.String(), "data of %d octets, not 2", len(p.Data))
	}
	return binary.BigEndian.Uint16(p.Data), nil
}

// NewInvalidKE asks for another key exchange method.
func NewInvalidKE(method uint16) *Notify {
	return &Notify{Type: InvalidKEPayload, Data: binary.BigEndian.AppendUint16(nil, method)}
}

// CookieData is the cookie of COOKIE, 1 to 64 octets (section 2.6), or of
// COOKIE2, 8 to 64 (RFC 4555, section 4.2.5).
func (p *Notify) CookieData() ([]byte, error) {
	least := 1
	if p.Type == Cookie2 {
		least = 8
	}
	if p.Type != Cookie && p.Type != Cookie2 || len(p.Data) < least || len(p.Data) > 64 {
		return nil, syntax(p.Type.String(), "%d octets, not %d to 64", len(p.Data), least)
	}
	return p.Data, nil
}

// ChildSPI is the SPI of REKEY_SA or CHILD_SA_NOT_FOUND: the one on which the
// sender of REKEY_SA receives (section 1.3.3). Whether we hold such a protocol
// is for the caller to say.
func (p *Notify) ChildSPI() (ProtocolID, uint32, error) {
	if p.Type != RekeySA && p.Type != ChildSANotFound || len(p.SPI) != 4 {
		return 0, 0, syntax(p.Type.String(), "SPI of %d octets, not 4", len(p.SPI))
	}
	return p.Protocol, binary.BigEndian.Uint32(p.SPI), nil
}

// NewChildNotify makes REKEY_SA or CHILD_SA_NOT_FOUND about an ESP SA.
func NewChildNotify(t NotifyType, spi uint32) *Notify {
	return &Notify{Type: t, Protocol: ProtocolESP, SPI: binary.BigEndian.AppendUint32(nil, spi)}
}

// Address is the one of ADDITIONAL_IP4_ADDRESS or ADDITIONAL_IP6_ADDRESS
// (RFC 4555, section 4.2.2).
func (p *Notify) Address() (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(p.Data)
	if !ok || p.Type == AdditionalIP4Address && !a.Is4() || p.Type == AdditionalIP6Address && !a.Is6() {
		return netip.Addr{}, syntax(p.Type.String(), "%d octets", len(p.Data))
	}
	return a, nil
}

// WindowSize is what SET_WINDOW_SIZE offers, at least 1 (section 2.3).
func (p *Notify) WindowSize() (uint32, error) {
	if p.Type != SetWindowSize || len(p.Data) != 4 {
		return 0, syntax(p.Type.String(), "%d octets, not 4", len(p.Data))
	}
	n := binary.BigEndian.Uint32(p.Data)
	if n == 0 {
		return 0, syntax(p.Type.String(), "window 0")
	}
	return n, nil
}

// HashAlgorithm is a hash that a peer can verify signatures over (RFC 7427,
// section 7).
type HashAlgorithm uint16

// Hash algorithms; Identity is for Ed25519 (RFC 8420).
const (
	HashSHA1     HashAlgorithm = 1
	HashSHA256   HashAlgorithm = 2
	HashSHA384   HashAlgorithm = 3
	HashSHA512   HashAlgorithm = 4
	HashIdentity HashAlgorithm = 5
)

// HashAlgorithms are those of SIGNATURE_HASH_ALGORITHMS, in the peer's order.
func (p *Notify) HashAlgorithms() ([]HashAlgorithm, error) {
	if p.Type != SignatureHashAlgorithms || len(p.Data)%2 != 0 {
		return nil, syntax(p.Type.String(), "%d octets", len(p.Data))
	}
	var all []HashAlgorithm
	for b := p.Data; len(b) > 0; b = b[2:] {
		all = append(all, HashAlgorithm(binary.BigEndian.Uint16(b)))
	}
	return all, nil
}

// NewHashAlgorithms makes SIGNATURE_HASH_ALGORITHMS.
func NewHashAlgorithms(all ...HashAlgorithm) *Notify {
	n := &Notify{Type: SignatureHashAlgorithms}
	for _, h := range all {
		n.Data = binary.BigEndian.AppendUint16(n.Data, uint16(h))
	}
	return n
}
