// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// purgeRequest removes what its sender says is void, as far as it is the
// sender's own, and answers even if nothing matched, unless told not to
// (RFC 2332, sections 5.2.5 and 5.2.6).
func (m *Machine) purgeRequest(in Packet, p *wire.Packet) {
	if p.SourceProtocol == m.own() {
		m.drop("reflected")
		return
	}
	if !m.speaksFor(in.From, p.SourceProtocol) {
		m.drop("stranger")
		m.sendError(in, p, wire.ErrorProtocolAddressUnreachable, 0)
		return
	}
	if to := p.DestinationProtocol; to.IsValid() && to != m.own() && to != p.SourceProtocol {
		m.forwardRequest(in, p)
		return
	}
	if m.refusesExtension(in, p) || m.outgrows(in, p) {
		return
	}
	for _, c := range p.CIEs {
		prefix := c.Prefix(c.Protocol)
		if !prefix.IsValid() {
			continue
		}
		m.purgeBindings(in, p, c, prefix)
		m.purgeShortcuts(in, p, c, prefix)
		m.purgeRequests(p.SourceProtocol, prefix)
	}
	if p.Flags&wire.FlagPurgeNoReply == 0 { // who has it may stop to accept what came by that way
		m.send(in.From, m.reply(p, wire.PurgeReply))
	}
}

// purgeRequests remembers at requests under way that the sender has purged what they ask for:
// an answer that it gave before may arrive after its purge.
func (m *Machine) purgeRequests(sender netip.Addr, prefix netip.Prefix) {
	for _, q := range m.requests.All() {
		if prefix.Contains(q.Destination) && !slices.Contains(q.Void, sender) && len(q.Void) < alternativesKept {
			q.Void = append(q.Void, sender)
		}
	}
}

// purgeBindings removes what the sender itself registered inside the prefix. A
// client NBMA address narrows it.
func (m *Machine) purgeBindings(in Packet, p *wire.Packet, c wire.CIE, prefix netip.Prefix) {
	for _, b := range slices.Clone(m.clients[p.SourceProtocol]) {
		inside := b.Prefix.Bits() >= prefix.Bits() && prefix.Contains(b.Prefix.Addr())
		if inside && b.To.Is(in.From) && names(c, b.To, b.Claimed) {
			if b.host() {
				m.leaves(b.Protocol, p.RequestID)
			}
			m.removeBinding(b, "purged by the client")
		}
	}
}

// purgeShortcuts removes shortcuts that share addresses with the prefix and lead
// to the sender, and negative entries inside it that are of the sender's making; of anybody's if the
// sender is our NHS.
func (m *Machine) purgeShortcuts(in Packet, p *wire.Packet, c wire.CIE, prefix netip.Prefix) {
	passed := m.fromServer(in.From)
	// One passes on what others say in another's name: it knows none but its own clients.
	fromNHS := slices.ContainsFunc(m.ranked(), func(s *server) bool { return s.Protocol == p.SourceProtocol && s.Bound.Is(in.From) })
	for _, q := range m.shortcuts.Overlapping(prefix) {
		s, ok := m.shortcuts.Get(q)
		if ok {
			s.purgeOthers(in, p, c, passed)
		}
		if !ok || !names(c, s.To, s.Claimed) {
			continue
		}
		if fromNHS || s.NextHop == p.SourceProtocol && (passed || s.To.Is(in.From)) {
			m.removeShortcut(s, "purged by "+p.SourceProtocol.String(), true)
		} else {
			m.count("purge-of-others")
		}
	}
	for a, n := range m.negatives.All() {
		if prefix.Contains(a) && (fromNHS || n.By == p.SourceProtocol) {
			m.negatives.Delete(a)
		}
	}
}

// names says whether a purge's entry means what leads to an endpoint: it has no
// NBMA address, or that one.
func names(c wire.CIE, to Endpoint, claimed netip.Addr) bool {
	return !c.NBMA.IsValid() || c.NBMA.Unmap() == to.NBMA || c.NBMA == claimed
}

// purgeReply ends the repetition of a purge; an unsolicited one is nothing.
func (m *Machine) purgeReply(in Packet, p *wire.Packet) {
	q, ok := m.purges.Get(p.RequestID)
	if !ok || q.Source != p.SourceNBMA || q.Protocol != p.DestinationProtocol || !in.From.Is(q.To) && !m.fromServer(in.From) {
		m.drop("unsolicited-reply")
		return
	}
	m.purges.Delete(q.ID)
	m.purged(q)
}

// purged ends the acceptance of a peer that knows that it is told nothing any more.
func (m *Machine) purged(q *purge) {
	if _, ok := m.told.Get(q.Protocol); ok {
		return
	}
	for _, other := range m.purges.All() {
		if other.Protocol == q.Protocol {
			return
		}
	}
	m.drain(q.To)
}

// voidTold tells a peer that all that it was told is void.
func (m *Machine) voidTold(protocol netip.Addr, to Endpoint) {
	t, ok := m.told.Get(protocol)
	if !ok || !t.To.Is(to) {
		return
	}
	m.forgetTold(t)
	m.startPurge(t, prefixes(t.Answers), true)
}

// startPurge sends the Purge Requests that are owed to one whom we answered.
// direct says that the way to it is as it was; else they go by the NHS.
func (m *Machine) startPurge(t *told, list []netip.Prefix, direct bool) {
	for part := range slices.Chunk(list, purgedCIEs) {
		q := &purge{
			ID: m.nextID(), Protocol: t.Protocol, Source: m.local.to(t.To.NBMA), To: t.To, Direct: direct, Prefixes: slices.Clone(part), Until: t.Until,
		}
		m.repeatPurge(q)
	}
}

// purgeOwn takes back what we registered at a server, or may have.
func (m *Machine) purgeOwn(protocol netip.Addr, to Endpoint, until instant) {
	own := append([]netip.Prefix{host(m.own())}, m.cfg.Networks...)
	for part := range slices.Chunk(own, purgedCIEs) {
		m.repeatPurge(&purge{
			ID: m.nextID(), Protocol: protocol, Source: m.local.to(to.NBMA), To: to, Direct: true, Prefixes: slices.Clone(part), Until: until,
		})
	}
}

// repeatPurge sends a purge, for the first time or again.
func (m *Machine) repeatPurge(q *purge) {
	q.Tries++
	q.Next = m.now + pause(q.Tries)
	if m.ending != 0 {
		q.Next = m.now + stopPause<<min(q.Tries-1, 6)
	}
	m.purges.Put(q.ID, q, q.Next)
	m.sendPurge(q)
}

// sendPurge sends a purge straight to its peer, and every second time, or if the
// peer does not know us by this address, along the routed path: not at the end, when
// the servers there have been told that we go.
func (m *Machine) sendPurge(q *purge) {
	p := m.request(wire.PurgeRequest, q.Protocol, q.To)
	p.RequestID = q.ID
	if q.Source.IsValid() {
		p.AddressFamily, p.SourceNBMA = wire.FamilyOf(q.Source), q.Source
	}
	for _, prefix := range q.Prefixes {
		p.CIEs = append(p.CIEs, wire.CIE{PrefixLength: uint8(prefix.Bits()), Protocol: prefix.Addr()})
	}
	to := q.To
	if by, ok := m.onward(q.Protocol); ok && (!q.Direct || q.Tries%2 == 0 && m.ending == 0) {
		to = by
	} else if !q.Direct {
		m.count("purge-without-nhs") // from where we are now it would be a stranger's
		return
	}
	m.send(to, p)
}

func (m *Machine) retryPurges() {
	for {
		id, q, ok := m.purges.Due(m.now)
		if !ok {
			return
		}
		if q.Tries >= purgeTries || m.now >= q.Until {
			m.purges.Delete(id) // the peer is accepted until it was told
			m.count("purge-unanswered")
			continue
		}
		m.repeatPurge(q)
	}
}

// reviewTold looks whether what we told is still true, and purges what is not
// (RFC 2332, section 5.2.5: an NHS owes it for its authoritative answers).
func (m *Machine) reviewTold() {
	for _, t := range m.told.All() {
		var void []netip.Prefix
		t.Answers = slices.DeleteFunc(t.Answers, func(a answer) bool {
			p, _, ok := m.egress(a.Destination)
			if ok && p.Bits() <= a.Prefix.Bits() {
				return false
			}
			void = append(void, a.Prefix)
			return true
		})
		if len(void) == 0 {
			continue
		}
		if len(t.Answers) == 0 {
			m.forgetTold(t)
		}
		m.startPurge(t, void, true)
	}
}

// prefixes gives the prefixes of answers.
func prefixes(answers []answer) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range answers {
		list = append(list, a.Prefix)
	}
	return list
}
