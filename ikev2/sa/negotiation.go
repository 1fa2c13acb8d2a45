// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

const nonceSize = 32

// negotiation is what becomes a Child SA or, by a rekey, an IKE SA: from the first
// message about it until the last of its key exchanges.
type negotiation struct {
	Initiator bool // of the exchange
	Choice    proposal.Choice
	Ni, Nr    []byte
	KE        *crypto.KeyExchange // the initiator's, under way
	Secrets   []crypto.Secret     // of CREATE_CHILD_SA's own exchange, nil without, and the further ones
	Link      []byte              // of ADDITIONAL_KEY_EXCHANGE (RFC 9370, section 2.2.4)
	Expires   instant             // of a peer's chain

	Inbound, Outbound uint32 // of a Child SA
	Mode              Mode
	Here, There       []wire.Selector
	Replaces          uint32 // inbound SPI of the one that is rekeyed

	SPIi, SPIr wire.SPI // of an IKE SA
	CrashToken []byte   // the peer's for it, where it answered
}

// ike says whether it is about an IKE SA.
func (n *negotiation) ike() bool { return !n.SPIi.IsZero() }

// done says whether all key exchanges are.
func (n *negotiation) done() bool { return len(n.Secrets) == 1+len(n.Choice.Further) }

// next is the method of the next additional key exchange.
func (n *negotiation) next() uint16 { return n.Choice.Further[len(n.Secrets)-1] }

// wipe forgets the secrets.
func (n *negotiation) wipe() {
	if n.KE != nil {
		n.KE.Wipe()
	}
	for _, s := range n.Secrets {
		s.Wipe()
	}
}

// prf is the IKE SA's.
func (s *ikeSA) prf() crypto.PRF {
	p, err := crypto.NewPRF(s.Choice.Suite.PRF)
	if err != nil {
		panic(err) // it was checked when it was chosen
	}
	return p
}

// further gives the secrets behind the first as crypto wants them.
func (n *negotiation) further() [][]byte {
	var all [][]byte
	for _, s := range n.Secrets[1:] {
		all = append(all, s)
	}
	return all
}

// install makes the Child SA that was agreed on: inbound is open when it returns,
// nothing leaves by it yet.
func (m *Machine) install(s *ikeSA, n *negotiation) (*childSA, error) {
	keys, err := n.Choice.Suite.DeriveChild(s.prf(), s.Keys.D, n.Secrets[0], n.Ni, n.Nr, n.further()...)
	if err != nil {
		return nil, err
	}
	defer n.wipe()
	c := m.connection(s)
	l := c.Lifetimes
	child := &Child{
		Peer: m.describe(s), IKE: s.ID, Inbound: n.Inbound, Outbound: n.Outbound, Suite: n.Choice.Suite, Extended: n.Choice.Extended,
		In: keys.Responder, Out: keys.Initiator, Mode: n.Mode, Here: n.Here, There: n.There, Local: s.Local, Remote: s.Remote,
		Encapsulation: m.encapsulated(s), Replaces: n.Replaces,
		SoftBytes: m.less(l.SoftBytes), HardBytes: l.HardBytes, SoftPackets: m.less(l.SoftPackets), HardPackets: l.HardPackets,
	}
	if !n.Initiator {
		child.In, child.Out = child.Out, child.In
	}
	k := &childSA{
		Inbound: n.Inbound, Outbound: n.Outbound, Choice: n.Choice, Mode: n.Mode, Here: n.Here, There: n.There,
		Encapsulation: child.Encapsulation, Made: m.now,
	}
	if l.ChildSoft > 0 {
		k.RekeyAt = m.ahead(l.ChildSoft, l.Jitter)
	}
	if l.ChildHard > 0 {
		k.HardAt = m.at(l.ChildHard)
	}
	if s.Contest != 0 {
		s.Held = child
	} else {
		err = m.config.Installer.Install(child)
		child.wipe()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errInstall, err)
		}
	}
	s.Children = append(s.Children, k)
	m.index.inbound[k.Inbound] = s
	return k, nil
}

// less is a limit of use less a random part of its tenth, so that the SAs of many peers with
// much the same to do are not rekeyed at once.
func (m *Machine) less(limit uint64) uint64 {
	return limit - uint64(m.jitter(time.Duration(limit/10)))
}

var errInstall = errors.New("the data plane refuses the Child SA")

// succeed makes the IKE SA that a rekey agreed on (section 2.18). It inherits what
// belongs to the peer and its path, and starts with fresh counters. A peer that rekeys and
// deletes nothing loses the oldest of what it should have deleted.
func (m *Machine) succeed(old *ikeSA, n *negotiation) (*ikeSA, error) {
	seed := crypto.FurtherSeed(old.prf(), old.Keys.D, n.Ni, n.Nr, n.Secrets[0], n.further()...)
	defer seed.Wipe()
	defer n.wipe()
	keys, err := n.Choice.Suite.Derive(seed, n.Ni, n.Nr, n.SPIi, n.SPIr)
	if err != nil {
		return nil, err
	}
	m.LastID++
	s := &ikeSA{
		ID: m.LastID, Origin: old.Origin, Connection: old.Connection, Peer: old.Peer, Stage: established, Initiator: n.Initiator,
		SPIi: n.SPIi, SPIr: n.SPIr, Local: old.Local, Remote: old.Remote, Began: old.Began, Established: m.now, Choice: n.Choice, Keys: keys,
		Ni: old.Ni, LocalID: old.LocalID, RemoteID: old.RemoteID, Group: old.Group, Claims: old.Claims, Proof: old.Proof, PeerProof: old.PeerProof, Instance: old.Instance,
		Fragmentation: old.Fragmentation, MOBIKE: old.MOBIKE, Hashes: old.Hashes, NATLocal: old.NATLocal, NATRemote: old.NATRemote, Raw: old.Raw,
		ReauthAt: old.ReauthAt, Heard: m.now, KeepaliveAt: old.KeepaliveAt, Method: old.Method, ChildMethod: old.ChildMethod,
	}
	m.schedule(s)
	m.add(s)
	p := m.Peers[s.Peer]
	past := slices.DeleteFunc(m.of(p), func(o *ikeSA) bool { return o.Origin != s.Origin || o == old || o.Stage == established })
	if len(past) >= maxPredecessors {
		m.die(past[0], "")
	}
	p.SAs = append(p.SAs, s.own())
	return s, nil
}

// schedule plans the end of an IKE SA's keys.
func (m *Machine) schedule(s *ikeSA) {
	l := m.connection(s).Lifetimes
	if l.IKESoft > 0 {
		s.RekeyAt = m.ahead(l.IKESoft, l.Jitter)
	}
	if l.IKEHard > 0 {
		s.HardAt = m.at(l.IKEHard)
	}
}

// drawSPI draws one that no IKE SA of ours has.
func (m *Machine) drawSPI() wire.SPI {
	for {
		spi := wire.SPI(m.draw(8))
		if _, taken := m.SAs[spi]; !taken && !m.index.drawn[spi] && !spi.IsZero() {
			return spi
		}
	}
}

func spiOctets(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }

// cancel gives back what a negotiation that comes to nothing had reserved.
func (m *Machine) cancel(n *negotiation) {
	if n == nil {
		return
	}
	n.wipe()
	if n.Initiator && n.ike() {
		delete(m.index.drawn, n.SPIi)
	}
	if !n.ike() && n.Inbound != 0 {
		m.config.Installer.Release(n.Inbound)
		n.Inbound = 0
	}
}

// nonceFits says whether a nonce is long enough for the PRF (section 2.10).
func nonceFits(nonce []byte, prf uint16) bool {
	p, err := crypto.NewPRF(prf)
	return err == nil && 2*len(nonce) >= p.Size()
}
