// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/x509"
	"fmt"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// octets are what one side's AUTH is made over.
func (s *ikeSA) octets(ofInitiator bool, id *wire.Identification, messageID uint32) []byte {
	i := s.Initial
	if ofInitiator {
		return auth.SignedOctets(s.prf(), i.Request, i.Nr, s.Keys.Pi, id, i.signed(messageID))
	}
	return auth.SignedOctets(s.prf(), i.Response, s.Ni, s.Keys.Pr, id, i.signed(messageID))
}

// prove makes our CERT payloads and AUTH. peer is whom we expect; its zero value is
// anybody.
func (m *Machine) prove(s *ikeSA, c *Connection, id *wire.Identification, peer auth.Identity, messageID uint32) ([]wire.Payload, error) {
	octets := s.octets(s.Initiator, id, messageID)
	if c.Key == nil {
		key, err := ownKey(c.SharedKeys, peer)
		if err != nil {
			return nil, err
		}
		s.Proof = sharedKey
		return []wire.Payload{auth.SignShared(s.prf(), key, octets)}, nil
	}
	a, err := auth.Sign(c.Key, s.Hashes, octets, m.config.Random)
	if err != nil {
		return nil, err
	}
	s.Proof = proofBy(c.Key.Public())
	var payloads []wire.Payload
	for _, x := range c.Chain {
		payloads = append(payloads, &wire.Certificate{Encoding: wire.CertificateX509, Data: x.Raw})
	}
	return append(payloads, a), nil
}

// ownKey is the shared key to begin with. Who does not know yet whom it meets takes
// the key of a group, or the only one.
func ownKey(keys auth.SharedKeys, peer auth.Identity) (crypto.Secret, error) {
	if peer.Type != 0 {
		key, _, err := keys.Find(peer)
		return key, err
	}
	for _, k := range keys {
		if k.Peer.Group() {
			return k.Key, nil
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("ike: no shared key and no certificate: %w", auth.ErrFailed)
	}
	return keys[0].Key, nil
}

// check verifies a peer's AUTH and that its identity may use the connection. group
// says that only membership was proved.
func (m *Machine) check(s *ikeSA, c *Connection, id *wire.Identification, payloads []wire.Payload, messageID uint32) (group bool, err error) {
	identity := auth.IdentityOf(id)
	a, ok := wire.Find[*wire.Authentication](payloads)
	if !ok {
		return false, fmt.Errorf("ike: %s sent no AUTH, which asks for EAP: %w", identity, auth.ErrFailed)
	}
	octets := s.octets(!s.Initiator, id, messageID)
	if a.Method == wire.AuthSharedKey {
		key, shared, missing := c.SharedKeys.Find(identity)
		if missing != nil {
			key = m.draw(32) // takes as long as a wrong key, and never fits
		}
		if err := auth.VerifyShared(s.prf(), key, octets, a); err != nil {
			return false, err
		}
		if missing != nil {
			return false, missing
		}
		group, s.PeerProof = shared, sharedKey
	} else if err := m.checkSignature(s, c, identity, payloads, octets, a); err != nil {
		return false, err
	}
	if len(c.Peers) > 0 && !slices.ContainsFunc(c.Peers, func(p auth.Pattern) bool { return p.Matches(identity) }) {
		return false, fmt.Errorf("ike: %s is not among the peers of %s: %w", identity, c.Name, auth.ErrFailed)
	}
	return group, nil
}

func (m *Machine) checkSignature(s *ikeSA, c *Connection, identity auth.Identity, payloads []wire.Payload, octets []byte, a *wire.Authentication) error {
	if c.Trust == nil {
		return fmt.Errorf("ike: %s sent a signature, and no CA is configured: %w", identity, auth.ErrFailed)
	}
	var certificates []*x509.Certificate
	certificates, err := auth.Certificates(payloads)
	if err != nil {
		return err
	}
	if len(certificates) == 0 {
		return fmt.Errorf("ike: %s sent no certificate: %w", identity, auth.ErrFailed)
	}
	// The signature first: what does not prove the key is not worth a chain.
	if err := auth.VerifySignature(certificates[0].PublicKey, octets, a); err != nil {
		return err
	}
	s.PeerProof = proofBy(certificates[0].PublicKey)
	if err := c.Trust.Verify(certificates, identity, m.clock); err != nil {
		return err
	}
	s.Claims = auth.ClaimsOf(certificates[0])
	return nil
}
