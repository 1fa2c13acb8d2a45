// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// registrationRequest serves a client (RFC 2332, sections 5.2.3 and 5.2.4): each
// entry is judged alone, and the reply goes straight back to where the request
// came from, over the very connection.
func (m *Machine) registrationRequest(in Packet, p *wire.Packet) {
	if p.SourceProtocol == m.own() {
		if m.local.is(p.SourceNBMA) {
			m.drop("reflected")
			return
		}
		m.drop("own-address")
		m.refuseRegistration(in, p, wire.CodeAdministrativelyProhibited, "it is our own address")
		return
	}
	if to := p.DestinationProtocol; to.IsValid() && to != m.own() && to != p.SourceProtocol {
		if !m.serves() { // what we passed on would be taken for ours
			m.refuseRegistration(in, p, wire.CodeAdministrativelyProhibited, "this is a spoke, not a next hop server")
			return
		}
		if _, ok := m.onward(to); ok && in.From.Identity != "" { // the same, and it would end ours there
			m.refuseRegistration(in, p, wire.CodeAdministrativelyProhibited, "who is authenticated registers with "+to.String()+" itself, not by us")
			return
		}
		m.forwardRequest(in, p)
		return
	}
	if m.refusesExtension(in, p) || m.outgrows(in, p) {
		return
	}
	// An id a little below the last one is a delayed packet of the past: what
	// came later stands.
	old, known := m.bindings.Get(host(p.SourceProtocol))
	if behind := oldID(p, old, known); behind && !old.To.Is(in.From) || m.sentBefore(p) {
		m.drop("old-registration")
		return
	}
	r := m.reply(p, wire.RegistrationReply)
	r.DestinationProtocol = m.own()
	unique := p.Flags&wire.FlagRegistrationUnique != 0
	for i := range r.CIEs {
		c := &r.CIEs[i]
		prefix := c.Prefix(clientAddress(p, *c))
		code, reason := wire.CodeAdministrativelyProhibited, m.authorize(in.From.Identity, p.SourceProtocol, prefix)
		authorized := reason == ""
		if authorized {
			code, reason = m.registerEntry(in, p, *c, unique && len(p.CIEs) > 1)
		}
		c.Code = code
		if code.NAK() {
			c.HoldingTime = 0
			m.count("registration-refused")
		}
		switch {
		case !authorized:
			m.violated(in, prefix, reason)
			m.revoke(in, p.SourceProtocol, prefix, reason)
		case code.NAK():
			m.complain(in.From, "registration of %v refused: %s (%v)", prefix, reason, code)
		}
	}
	m.answerNAT(in, r)
	m.announce(r, wire.ProbeReplier, asksForProbes(p))
	m.confirm(in.From, r)
}

// oldID says that a registration is older than what is stored.
func oldID(p *wire.Packet, b *binding, known bool) bool {
	const window = 1024
	return known && b.ID != p.RequestID && b.ID-p.RequestID < window
}

func (m *Machine) refuseRegistration(in Packet, p *wire.Packet, code wire.Code, reason string) {
	r := m.reply(p, wire.RegistrationReply)
	for i := range r.CIEs {
		r.CIEs[i].Code, r.CIEs[i].HoldingTime = code, 0
	}
	m.count("registration-refused")
	m.complain(in.From, "registration of %v refused: %s (%v)", p.SourceProtocol, reason, code)
	m.send(in.From, r)
}

// clientAddress is the entry's protocol address; one of length zero stands for
// the header's.
func clientAddress(p *wire.Packet, c wire.CIE) netip.Addr {
	if c.Protocol.IsValid() {
		return c.Protocol
	}
	return p.SourceProtocol
}

// registerEntry judges one entry of a registration and stores it.
func (m *Machine) registerEntry(in Packet, p *wire.Packet, c wire.CIE, crowded bool) (wire.Code, string) {
	const prohibited = wire.CodeAdministrativelyProhibited
	prefix := c.Prefix(clientAddress(p, c))
	unique := p.Flags&wire.FlagRegistrationUnique != 0
	switch {
	case !m.serves():
		return prohibited, "this is a spoke, not a next hop server"
	case crowded || unique && !prefix.IsSingleIP():
		return prohibited, "a unique registration has one entry, of a host"
	case c.HoldingTime == 0:
		return prohibited, "holding time 0"
	case !m.inCloud(p.SourceProtocol):
		return prohibited, "the client's address is not one of the overlay " + m.cfg.Address.Masked().String()
	case m.mappedElsewhere(p.SourceProtocol, in.From):
		return prohibited, "the configuration maps it to another address"
	case m.servedElsewhere(p.SourceProtocol, in.From):
		return prohibited, "it is a next hop server's of ours"
	case !validNBMA(in.From.NBMA) || m.cfg.Address.Contains(in.From.NBMA):
		return prohibited, "its NBMA address cannot be one"
	}
	if reason := m.mayServe(in, p.SourceProtocol, prefix); reason != "" {
		return prohibited, reason
	}
	b := &binding{
		Prefix: prefix, Protocol: p.SourceProtocol, To: in.From, Claimed: p.SourceNBMA,
		Unique: unique, Group: group(p), NoGroups: wantsNoMulticast(p), ID: p.RequestID, Holding: instant(c.HoldingTime) * time.Second, Since: m.now,
	}
	if c.MTU >= 576 && (m.cfg.MTU == 0 || c.MTU < m.cfg.MTU) {
		b.MTU = c.MTU
	}
	if c.NBMA.IsValid() {
		b.Claimed = c.NBMA
	}
	b.Until = m.now + b.Holding
	m.displace(b)
	return m.storeBinding(b)
}

// mayServe says why a client may not register a prefix, "" if it may.
func (m *Machine) mayServe(in Packet, client netip.Addr, p netip.Prefix) string {
	if p == host(client) {
		return ""
	}
	if p.Overlaps(m.cfg.Address.Masked()) {
		return "only its own address is a client's in the overlay's prefix"
	}
	if tooWide(p) {
		return "the prefix is wider than any site's"
	}
	if !validDestination(p.Addr()) {
		return "no such network can be reached"
	}
	if b, ok := m.bindings.Get(host(client)); !ok || !b.To.Is(in.From) {
		return "its own address is not registered from there"
	}
	if m.holdsUnderlay(p, in.From) {
		return "the prefix holds an address of the underlay"
	}
	for _, n := range m.cfg.Networks {
		if n.Masked().Contains(p.Addr()) && n.Bits() <= p.Bits() {
			return "the prefix is ours"
		}
	}
	if r, ok := m.env.Routes.LookupWithout(p.Addr()); ok && r.Prefix.Masked() == p && !r.Tunnel {
		return "we reach the prefix by a route of our own"
	}
	return ""
}

// storeBinding enters a registered entry, unless another client's stands in its
// way or there is no room.
func (m *Machine) storeBinding(b *binding) (wire.Code, string) {
	old, known := m.bindings.Get(b.Prefix)
	if known && !old.To.Is(b.To) {
		same := old.Protocol == b.Protocol && old.To.Identity == ""
		switch {
		case old.Unique && !(same && b.To.Identity != ""):
			return wire.CodeAlreadyRegistered, "registered as unique from " + old.To.NBMA.String()
		case !same:
			return wire.CodeAlreadyRegistered, "registered by " + old.Protocol.String()
		}
	}
	if known && old.Protocol != b.Protocol {
		return wire.CodeAlreadyRegistered, "registered by " + old.Protocol.String()
	}
	if !known || !old.To.Is(b.To) {
		if m.owned[b.To.Key()] >= m.cfg.Limits.BindingsPerPeer {
			return wire.CodeInsufficientResources, "it has registered too much"
		}
		if !known && m.bindings.Len() >= m.cfg.Limits.Bindings {
			return wire.CodeInsufficientResources, "the table is full"
		}
	}
	if known {
		b.Since = old.Since
		m.forget(old)
	}
	m.readdress(b)
	m.remember(b)
	m.negatives.Delete(b.Prefix.Addr())
	switch {
	case !b.host():
		m.settleRoute(b.Prefix, "registered by "+b.Protocol.String())
	case !known:
		m.report(Info, b.To, "%v registered", b.Protocol)
		m.settleHop(b.Protocol, "registered")
	case old.To != b.To:
		m.report(Info, b.To, "%v moved here from %v", b.Protocol, old.To.NBMA)
		m.moved(b)
	default:
		m.settleHop(b.Protocol, "registration renewed")
	}
	return wire.CodeSuccess, ""
}

// moved takes the prefixes of a client along to its new endpoint.
func (m *Machine) moved(b *binding) {
	m.settleHop(b.Protocol, "the client moved")
	for _, x := range slices.Clone(m.clients[b.Protocol]) {
		if x.To != b.To {
			m.forget(x)
			x.To = b.To
			m.remember(x)
		}
	}
}

// remember and forget keep the table and what is counted of it: by endpoint, by
// the client's overlay address in the order of the prefixes, and by its identity.
func (m *Machine) remember(b *binding) {
	m.bindings.Put(b.Prefix, b, b.Until)
	m.owned[b.To.Key()]++
	list := m.clients[b.Protocol]
	i, _ := slices.BinarySearchFunc(list, b, compareBindings)
	m.clients[b.Protocol] = slices.Insert(list, i, b)
	if b.To.Identity != "" && b.host() {
		m.identities[b.To.Identity] = b
	}
}

func (m *Machine) forget(b *binding) {
	m.bindings.Delete(b.Prefix)
	if m.owned[b.To.Key()]--; m.owned[b.To.Key()] <= 0 {
		delete(m.owned, b.To.Key())
	}
	if m.identities[b.To.Identity] == b {
		delete(m.identities, b.To.Identity)
	}
	list := m.clients[b.Protocol]
	if i, ok := slices.BinarySearchFunc(list, b, compareBindings); ok {
		list = slices.Delete(list, i, i+1)
	}
	m.clients[b.Protocol] = list
	if len(list) == 0 {
		delete(m.clients, b.Protocol)
	}
}

func compareBindings(a, b *binding) int { return a.Prefix.Compare(b.Prefix) }

// removeBinding takes an entry out, and with the client's own address all its
// prefixes: they have no next hop any more. Routes go before the next hop.
func (m *Machine) removeBinding(b *binding, reason string) {
	m.forget(b)
	if !b.host() {
		m.settleRoute(b.Prefix, reason)
		return
	}
	for _, x := range slices.Clone(m.clients[b.Protocol]) {
		m.removeBinding(x, reason)
	}
	m.settleHop(b.Protocol, reason)
	m.report(Info, b.To, "%v is no longer registered: %s", b.Protocol, reason)
}

func (m *Machine) expireBindings() {
	for {
		p, until, ok := m.bindings.First()
		if !ok || until > m.now {
			return
		}
		b, _ := m.bindings.Get(p)
		m.removeBinding(b, "the registration expired")
	}
}

// answerNAT adds what we observe of a client behind NAT to Cisco's extension of
// its reply, if the request had it: Cisco's clients put the NHS in it first.
func (m *Machine) answerNAT(in Packet, p *wire.Packet) {
	e := p.Extension(wire.ExtensionNATAddress)
	if e == nil || in.From.NBMA == p.SourceNBMA || wire.FamilyOf(in.From.NBMA) != p.AddressFamily {
		return
	}
	if p.AddEntries(e, wire.CIE{
		PrefixLength: uint8(p.SourceProtocol.BitLen()), NBMA: in.From.NBMA, Protocol: p.SourceProtocol,
	}) != nil {
		m.count("encode-failed")
	}
}
