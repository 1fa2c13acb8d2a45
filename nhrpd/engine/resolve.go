// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"

	"dmvpn/nhrpd/wire"
)

// trafficIndication takes a redirect (draft-detienne-dmvpn): the packet in it
// was ours and went a longer way than it must. Only a next hop server of ours
// may say so, and only of what we send; nothing is ever answered.
func (m *Machine) trafficIndication(in Packet, p *wire.Packet) {
	if !m.cfg.Shortcut {
		m.drop("indication-unwanted")
		return
	}
	if !m.fromServer(in.From) {
		m.drop("indication-from-stranger")
		return
	}
	// The draft has the packet's destination in the destination field, FRR its
	// source: the packet itself says both.
	source, destination, ok := innerAddresses(p.Contents)
	if !ok {
		m.drop("indication-contents")
		return
	}
	if r, ok := m.routed(source); ok && r.Tunnel && !r.Local {
		m.drop("indication-of-others")
		return
	}
	m.resolve(destination)
}

// miss takes a next hop of the overlay without a peer: phase 2's trigger. One of a server of
// ours comes with its registration, and with nothing else.
func (m *Machine) miss(in Miss) {
	if !m.cfg.Shortcut {
		m.count("miss")
		return
	}
	if slices.ContainsFunc(m.servers, func(s *server) bool { return s.Protocol == in.NextHop || s.conf.Protocol == in.NextHop }) {
		m.count("miss-of-server")
		return
	}
	if in.NextHop.IsValid() && m.inCloud(in.NextHop) {
		m.resolve(in.NextHop.Unmap())
	}
}

// resolve asks for a destination, unless the answer is there, is known to be
// none, or is on its way (RFC 2332, sections 2.2 and 6.2.1).
func (m *Machine) resolve(destination netip.Addr) {
	if !validDestination(destination) || destination == m.own() || m.underlay(destination) || wire.ProtocolOf(destination) != wire.ProtocolOf(m.own()) ||
		m.cfg.Address.Contains(destination) && !m.inCloud(destination) {
		m.count("resolution-nonsense")
		return
	}
	if _, ok := m.asked[destination]; ok {
		return
	}
	if _, ok := m.negatives.Get(destination); ok {
		return
	}
	_, s, refresh := m.shortcuts.Lookup(destination)
	if refresh {
		// By the hub still: its peer may be elsewhere by now, with another port before it.
		if m.now-s.Since < freshShortcut || !m.usable(s) && m.now-s.Answered < freshAnswer {
			return
		}
		destination = s.Destination
		if _, ok := m.asked[destination]; ok {
			return
		}
	}
	m.ask(destination, refresh)
}

// ask sends a Resolution Request to the NHS on the routed path.
func (m *Machine) ask(destination netip.Addr, refresh bool) bool {
	if !m.cfg.Shortcut { // what is left from a configuration before ends by itself
		return false
	}
	r, ok := m.routed(destination)
	if !ok || !r.Tunnel || r.Local {
		m.count("resolution-not-by-tunnel")
		return false
	}
	up := m.ranked()
	if len(up) == 0 {
		m.count("resolution-without-nhs")
		return false
	}
	if m.requests.Len() >= m.cfg.Limits.Pending {
		m.count("resolution-limit")
		return false
	}
	to := up[0].Bound
	if i := slices.IndexFunc(up, func(s *server) bool { return s.Protocol == r.NextHop }); i >= 0 {
		to = up[i].Bound
	}
	q := &request{ID: m.nextID(), Destination: destination, Source: m.local.to(to.NBMA), To: to, Refresh: refresh, Since: m.now}
	m.asked[destination] = q.ID
	m.sendRequest(q)
	return true
}

// sendRequest sends a Resolution Request, for the first time or again. It asks
// for an authoritative answer (RFC 2332, section 5.2.1): a shortcut goes to who
// owns the destination, not to who heard of it.
func (m *Machine) sendRequest(q *request) {
	p := m.request(wire.ResolutionRequest, q.Destination, q.To)
	p.RequestID = q.ID
	p.Flags = wire.FlagRouter | wire.FlagAuthoritative | wire.FlagSourceStable | wire.FlagNAT
	p.CIEs = []wire.CIE{{HoldingTime: m.holdingSeconds(), MTU: m.cfg.MTU}}
	m.announce(p, wire.ProbeRequester, true)
	q.Tries++
	q.Next = m.now + pause(q.Tries)
	m.requests.Put(q.ID, q, q.Next)
	m.send(q.To, p)
}

// endRequest forgets a request, and remembers its id: a reply to one of its
// repeats may still come.
func (m *Machine) endRequest(q *request) {
	m.requests.Delete(q.ID)
	delete(m.asked, q.Destination)
	m.late = append(m.late, q.ID)
	if len(m.late) > lateReplies {
		m.late = slices.Delete(m.late, 0, len(m.late)-lateReplies)
	}
}

func (m *Machine) retryRequests() {
	for {
		_, q, ok := m.requests.Due(m.now)
		if !ok {
			return
		}
		if q.Tries < requestTries {
			m.sendRequest(q)
			continue
		}
		m.endRequest(q)
		m.count("resolution-unanswered")
		if !q.Refresh {
			m.denied(q.Destination, netip.Addr{}, 0, "no answer", negativeSilence)
		}
	}
}

// resolutionReply takes the answer to a request of ours (RFC 2332, section
// 5.2.2): id, both source addresses and the destination must be as asked, and it
// must come from the NHS or from whom it is about.
func (m *Machine) resolutionReply(in Packet, p *wire.Packet) {
	q, ok := m.requests.Get(p.RequestID)
	if !ok || q.Source != p.SourceNBMA || q.Destination != p.DestinationProtocol {
		m.drop("unsolicited-reply")
		if !slices.Contains(m.late, p.RequestID) {
			m.sendError(in, p, wire.ErrorInvalidResolutionReply, 0)
		}
		return
	}
	if len(p.CIEs) == 0 {
		m.drop("reply-without-entry")
		return
	}
	c := bestEntry(p.CIEs)
	to := m.located(p, translation(p, c.Protocol), c.NBMA)
	if !m.fromServer(in.From) && to.Place() == in.From.Place() {
		to = in.From
	}
	if !in.From.Is(q.To) && !m.fromServer(in.From) && !in.From.Is(to) {
		m.drop("reply-from-elsewhere")
		return
	}
	unvouched := in.From.Identity != "" && !m.fromServer(in.From)
	if unvouched && !c.Code.NAK() && m.isAnothers(answered(p, c), in.From) {
		m.drop("answer-of-others")
		m.complain(in.From, "answer dropped: the next hop %v is another's", answered(p, c))
		return
	}
	if m.refusesExtension(in, p) {
		return
	}
	m.endRequest(q)
	if c.Code.NAK() {
		m.resolutionRefused(q, p, c.Code)
		return
	}
	list := m.alternatives(in, p, c, to)
	if unvouched {
		m.unvouched(in.From, q.Destination, list)
	}
	valid := slices.DeleteFunc(slices.Clone(list), func(a alternative) bool { return slices.Contains(q.Void, a.NextHop) })
	if len(valid) > 0 || len(list) == 0 {
		m.takeAnswer(q, valid)
		return
	}
	m.drop("answer-purged")
	if !m.ask(q.Destination, q.Refresh) {
		m.noAnswer(q, list[0].NextHop, 0, "purged meanwhile", negativeSilence)
	}
}

// bestEntry is the accepted entry of the highest preference, the first of equal
// ones; a refusal has no other entry.
func bestEntry(list []wire.CIE) wire.CIE {
	best := list[0]
	for _, c := range list[1:] {
		if !best.Code.NAK() && !c.Code.NAK() && c.Preference > best.Preference {
			best = c
		}
	}
	return best
}

// resolutionRefused remembers a NAK for as long as its code suggests, and ends
// a shortcut that was to be renewed.
func (m *Machine) resolutionRefused(q *request, p *wire.Packet, code wire.Code) {
	wait := negativeNone
	switch code {
	case wire.CodeAdministrativelyProhibited:
		wait = negativeRefused
	case wire.CodeInsufficientResources:
		wait = negativeNoRoom
	}
	m.count("resolution-refused")
	if c, ok := firstEntry(p, wire.ExtensionResponderAddress); ok && !c.NBMA.IsValid() && m.inCloud(c.Protocol) {
		m.noAnswer(q, c.Protocol, code, c.Protocol.String()+" has no underlay address of "+familyName(p.AddressFamily)+", by which we are reached", wait)
		return
	}
	if by := m.responder(p); code != wire.CodeNoBinding || !m.goesOn(q, by) {
		m.noAnswer(q, by, code, code.String(), wait)
	}
	m.registerAgain(q.To)
}

// goesOn says whether a shortcut that was to be renewed stays all the same: not its peer
// says that it is none, but an NHS that does not know the way, as one that has just begun
// without memory. It ends with its holding time unless it is renewed later.
func (m *Machine) goesOn(q *request, by netip.Addr) bool {
	s, ok := m.shortcutFor(q.Destination)
	return ok && q.Refresh && by != s.NextHop && m.usable(s)
}

// resolutionError takes an error of somebody's about a request of ours.
func (m *Machine) resolutionError(in Packet, code wire.ErrorCode, id uint32, by netip.Addr) {
	q, ok := m.requests.Get(id)
	if !ok || !in.From.Is(q.To) && !m.fromServer(in.From) {
		m.drop("error-about-nothing")
		return
	}
	m.endRequest(q)
	if !m.goesOn(q, by) {
		m.noAnswer(q, by, 0, code.String(), negativeNone)
	}
	if code == wire.ErrorProtocolAddressUnreachable {
		// It may be that the NHS has forgotten us.
		m.registerAgain(q.To)
	}
}

// noAnswer ends a request without a shortcut, by the word of a node or for what it is; data
// stays on the routed path.
func (m *Machine) noAnswer(q *request, by netip.Addr, code wire.Code, reason string, wait instant) {
	if s, ok := m.shortcutFor(q.Destination); ok && q.Refresh {
		m.removeShortcut(s, "not renewed: "+reason, true)
	}
	m.report(Info, q.To, "no shortcut to %v: %s", q.Destination, reason)
	m.denied(q.Destination, by, code, reason, wait)
}

// denied makes a negative entry, in place of the one that ends first if there
// is no room.
func (m *Machine) denied(destination, by netip.Addr, code wire.Code, reason string, wait instant) {
	for m.negatives.Len()+m.shortcuts.Len() >= m.cfg.Limits.Cached {
		k, _, ok := m.negatives.First()
		if !ok {
			return
		}
		m.negatives.Delete(k)
	}
	n := &negative{Destination: destination, By: by, Code: code, Reason: reason, Until: m.now + wait}
	m.negatives.Put(destination, n, n.Until)
}

func (m *Machine) expireNegatives() {
	for {
		k, _, ok := m.negatives.Due(m.now)
		if !ok {
			return
		}
		m.negatives.Delete(k)
	}
}
