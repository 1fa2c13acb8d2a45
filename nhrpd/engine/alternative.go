// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// alternative is an entry of an answer: a next hop for what was asked (RFC 2332, section
// 5.2.0.1). The best one makes the shortcut, the others wait until its path is lost.
type alternative struct {
	NextHop netip.Addr
	To      Endpoint
	Claimed netip.Addr // as in shortcut
	Probe   bool       `json:",omitempty"` // it answers probes
	MTU     uint16     `json:",omitempty"`
	Bits    uint8      // prefix length
	Until   instant
}

// alternatives gives an answer's entries, the best one first: by preference, equal ones in
// their order. What a packet says of the system that it speaks for is true of the entry
// that has its next hop; only a server may name others.
func (m *Machine) alternatives(in Packet, p *wire.Packet, best wire.CIE, to Endpoint) []alternative {
	list := slices.Clone(p.CIEs)
	slices.SortStableFunc(list, func(a, b wire.CIE) int { return cmp.Compare(b.Preference, a.Preference) })
	var out []alternative
	for _, c := range list {
		hop := answered(p, c)
		own := hop == answered(p, best)
		a := alternative{NextHop: hop, To: to, Claimed: c.NBMA, Bits: c.PrefixLength, Until: m.now + instant(c.HoldingTime)*time.Second}
		switch {
		case c.Code.NAK() || len(out) == alternativesKept:
			continue
		case !own && !m.fromServer(in.From):
			continue
		case own && c.NBMA != best.NBMA: // its other address, of which nobody says more
			a.To = Endpoint{NBMA: c.NBMA.Unmap(), Identity: to.Identity}
		case !own:
			a.To = Endpoint{NBMA: c.NBMA.Unmap()}
			if public := translation(p, hop); public.IsValid() && public.Unmap() != m.public(wire.FamilyOf(public)) {
				a.To.NBMA = public.Unmap()
			}
		default:
			a.Probe = m.answersProbes(p)
		}
		if a.To.NBMA != to.NBMA && m.cfg.Authenticated && !m.underlays(a.To.NBMA) {
			continue
		}
		if c.MTU >= 576 && (m.cfg.MTU == 0 || c.MTU < m.cfg.MTU) {
			a.MTU = c.MTU
		}
		out = append(out, a)
	}
	return out
}

// unfit says why an entry makes no shortcut to a destination, "" if it may.
func (m *Machine) unfit(a alternative, destination netip.Addr) string {
	switch {
	case a.Until <= m.now:
		return "holding time 0"
	case a.NextHop == m.own() || m.local.is(a.To.NBMA):
		return "the next hop is ourselves"
	case !m.inCloud(a.NextHop):
		return "the next hop " + a.NextHop.String() + " is not in the overlay"
	case a.To.NBMA == destination:
		return "the destination is on the underlay"
	case !validNBMA(a.To.NBMA) || m.cfg.Address.Contains(a.To.NBMA):
		return "no such NBMA address"
	case !m.local.to(a.To.NBMA).IsValid():
		return a.NextHop.String() + " is reached by " + familyName(wire.FamilyOf(a.To.NBMA)) + ", and we have no address of that"
	}
	return ""
}

// takeOthers moves the shortcuts of a path that is lost to the next entries of their
// answers. Those without stay as they are.
func (m *Machine) takeOthers(lost Endpoint, reason string) {
	for _, s := range m.shortcuts.All() {
		if s.To.Key() != lost.Key() {
			continue
		}
		i := slices.IndexFunc(s.Others, func(a alternative) bool { return a.Until > m.now && a.To.Key() != lost.Key() })
		if i < 0 {
			continue
		}
		a := s.Others[i]
		m.report(Info, a.To, "shortcut to %v by %v instead of %v: %s", s.Prefix, a.NextHop, s.NextHop, reason)
		next := m.shortcutBy(a, s.Destination, s.Via)
		next.Prefix, next.Others = s.Prefix, s.Others[i+1:]
		m.storeShortcut(next)
	}
}

// purgeOthers takes out what waits and is purged by its own next hop.
func (s *shortcut) purgeOthers(in Packet, p *wire.Packet, c wire.CIE, passed bool) {
	s.Others = slices.DeleteFunc(slices.Clone(s.Others), func(a alternative) bool {
		return a.NextHop == p.SourceProtocol && (passed || a.To.Is(in.From)) && names(c, a.To, a.Claimed)
	})
}
