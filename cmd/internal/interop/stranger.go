// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// A stranger asks for IKE SAs that it does not want.
type stranger struct{ message wire.Message }

// strangersRequest makes an IKE_SA_INIT request that offers a policy.
func strangersRequest(policy string) (*stranger, error) {
	offers, err := proposal.Parse(wire.ProtocolIKE, policy)
	if err != nil {
		return nil, err
	}
	method := offers[0].KeyExchange[0]
	exchange, err := crypto.NewKeyExchange(method, rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := exchange.Data()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 32)
	rand.Read(nonce)
	return &stranger{wire.Message{
		Header: wire.Header{Exchange: wire.IKESAInit, Initiator: true},
		Payloads: []wire.Payload{proposal.Offer(offers, nil, true),
			&wire.KeyExchange{Method: method, Data: public}, wire.Nonce(nonce)},
	}}, nil
}

// send sends it from an address of the router's to the second place, and waits for an
// answer.
func (s *stranger) send(w *network, from netip.Addr) error {
	rand.Read(s.message.SPIi[:])
	b, err := s.message.Append(nil)
	if err != nil {
		return err
	}
	return w.lab.Get("inet").Do(func() error {
		conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.second.address, 500)))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 2000)); err != nil {
			return fmt.Errorf("a stranger at %s: no answer: %w", from, err)
		}
		return nil
	})
}
