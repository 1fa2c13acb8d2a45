// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"fmt"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/ikev2"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// describe is the service's state as the control API has it.
func describe(s ikev2.Snapshot, counters map[string]uint64, used func(inbound uint32) Used) control.IKE {
	out := control.IKE{SAs: []control.IKESA{}, Wants: []control.IKEWant{}, Counters: counters}
	now := time.Now()
	for _, i := range s.SAs {
		x := describeSA(now, i)
		for j, c := range i.Children {
			if used != nil {
				u := used(c.Inbound)
				x.Children[j].Packets, x.Children[j].Octets, x.Children[j].Dropped = u.Packets, u.Octets, u.Dropped
			}
		}
		out.SAs = append(out.SAs, x)
	}
	for _, w := range s.Wants {
		out.Wants = append(out.Wants, control.IKEWant{Tunnel: w.Connection, Host: w.Host, Remote: w.Remote, Up: w.Up, Reason: w.Reason, Retry: w.Retry})
	}
	return out
}

func describeSA(now time.Time, i sa.Info) control.IKESA {
	out := control.IKESA{
		ID: i.ID, Tunnel: i.Connection, Peer: i.Peer.ID, State: i.State, Initiator: i.Initiator, SPIi: i.SPIi.String(), SPIr: i.SPIr.String(),
		Local: i.Peer.Local, Remote: i.Peer.Remote, LocalID: i.LocalID, Group: i.Peer.Group, Proof: string(i.Proof), PeerProof: string(i.PeerProof), NATLocal: i.Peer.NATLocal, NATRemote: i.Peer.NATRemote,
		Fragmentation: i.Fragmentation, MOBIKE: i.MOBIKE, Since: now.Add(-i.Age), Queued: i.Queued, Repeats: i.Repeats,
	}
	if i.Suite.Encryption != 0 {
		out.Suite, out.Algorithms = algorithms(wire.ProtocolIKE, i.Suite, i.KeyExchange, i.Further, false)
	}
	if i.Peer.Identity.Type != 0 {
		out.RemoteID = i.Peer.Identity.String()
	}
	if i.Heard != 0 {
		out.Heard = now.Add(-i.Heard)
	}
	if i.RekeyIn != 0 {
		out.Rekey = now.Add(i.RekeyIn)
	}
	for _, c := range i.Children {
		out.Children = append(out.Children, describeChild(now, c))
	}
	return out
}

func describeChild(now time.Time, c sa.ChildInfo) control.ChildSA {
	out := control.ChildSA{
		Inbound: SPI(c.Inbound), Outbound: SPI(c.Outbound), State: c.State, Mode: c.Mode.String(), Encapsulation: c.Encapsulation,
		Here: selectors(c.Here), There: selectors(c.There), Since: now.Add(-c.Age),
	}
	out.Suite, out.Algorithms = algorithms(wire.ProtocolESP, c.Suite, c.KeyExchange, c.Further, c.Extended)
	if c.RekeyIn != 0 {
		out.Rekey = now.Add(c.RekeyIn)
	}
	return out
}

// SPI writes one of ESP as strongSwan and the kernel do.
func SPI(spi uint32) string { return fmt.Sprintf("%08x", spi) }

func selectors(list []wire.Selector) []string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}

// algorithms writes a suite as a proposal, and its parts.
func algorithms(protocol wire.ProtocolID, s crypto.Suite, exchange uint16, further []uint16, extended bool) (string, control.Algorithms) {
	p := proposal.Proposal{Protocol: protocol, Encryption: []proposal.Cipher{{ID: s.Encryption, KeyLength: s.KeyLength}}}
	parts := control.Algorithms{Encryption: p.String()}
	if s.Integrity != wire.IntegrityNone {
		p.Integrity = []uint16{s.Integrity}
		parts.Integrity = proposal.Proposal{Integrity: p.Integrity}.String()
	}
	if s.PRF != 0 {
		p.PRF = []uint16{s.PRF}
		parts.PRF = proposal.Proposal{PRF: p.PRF}.String()
	}
	if exchange != wire.KeyExchangeNone {
		p.KeyExchange = []uint16{exchange}
		parts.KeyExchange = proposal.Proposal{KeyExchange: p.KeyExchange}.String()
	}
	for i, id := range further {
		if i < len(p.Additional) {
			p.Additional[i] = []uint16{id}
		}
		parts.Further = append(parts.Further, proposal.Proposal{KeyExchange: []uint16{id}}.String())
	}
	if extended {
		p.Sequence = []uint16{wire.ExtendedSequenceNumbers}
	}
	return p.String(), parts
}
