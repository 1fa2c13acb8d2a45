// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/wire"
)

// KeysOf is what protects the messages of an IKE SA, by its SPIs; nil without.
func (m *Machine) KeysOf(spii, spir wire.SPI) *crypto.Keys {
	for _, own := range []wire.SPI{spii, spir} {
		if s := m.SAs[own]; s != nil && s.SPIi == spii && s.SPIr == spir {
			return s.Keys
		}
	}
	return nil
}

// Awaits says of a responder's IKE SA what comes next: the message id, how many additional
// key exchanges were made, and how many peers' negotiations wait for more of them. stage
// is empty if there is none.
func (m *Machine) Awaits(spii, spir wire.SPI) (next uint32, rounds, chains int, stage string) {
	s := m.SAs[spir]
	if s == nil || s.SPIi != spii {
		return 0, 0, 0, ""
	}
	if s.Initial != nil {
		rounds = s.Initial.Round
	}
	return s.In.Next, rounds, len(s.Chains), s.Stage.String()
}

// Proof is the AUTH by which a peer that may have any identity gets in, with the shared
// key of the group.
func (m *Machine) Proof(h wire.Header, id *wire.Identification, key crypto.Secret) *wire.Authentication {
	own := h.SPIr
	if !h.Initiator {
		own = h.SPIi
	}
	s := m.SAs[own]
	if s == nil || s.Initial == nil {
		return &wire.Authentication{Method: wire.AuthSharedKey, Data: make([]byte, 32)}
	}
	return auth.SignShared(s.prf(), key, s.octets(!s.Initiator, id, h.MessageID))
}

// dataPlane is what Consistent asks of a Ledger.
type dataPlane interface {
	Reserved(spi uint32) bool
	Installed(spi uint32) bool
	Count() (reserved, installed int)
}

// Consistent says what of a machine between two inputs is not as it should be: bounds,
// counts, lists that repeat what others say, and the data plane.
func (m *Machine) Consistent(d dataPlane) error {
	for _, check := range []func() error{m.nothingWaits, m.indexed, m.counted, m.timed, m.bounded, func() error { return m.carried(d) }, m.served} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) nothingWaits() error {
	if len(m.out)+len(m.after)+len(m.touched)+len(m.changed) > 0 {
		return fmt.Errorf("left over: %d actions, %d thens, %d touched, %d changed", len(m.out), len(m.after), len(m.touched), len(m.changed))
	}
	for _, s := range m.SAs {
		if s.touched {
			return fmt.Errorf("IKE SA %d is touched for ever", s.ID)
		}
	}
	return nil
}

func (m *Machine) indexed() error {
	want := newIndex()
	for _, s := range m.all() {
		want.put(s)
	}
	for _, id := range slices.Sorted(maps.Keys(m.Peers)) {
		p := m.Peers[id]
		put(want.peers, whomOf(p.Connection, p.Identity), p)
	}
	for _, l := range m.index.peers {
		slices.SortFunc(l, func(a, b *peer) int { return int(a.ID) - int(b.ID) })
	}
	for _, w := range m.Wants {
		put(want.wantsAt, w.Connect.Remote.Addr(), w)
		if i := w.Connect.Identity; i.Type != 0 {
			put(want.wantsFor, whomOf(w.Connect.Connection, i), w)
		}
		if s := m.SAs[w.SA]; w.SA.IsZero() != (s == nil) || s != nil && !slices.Contains(s.wants, w) {
			return fmt.Errorf("want %d has IKE SA %s, which does not know", w.ID, w.SA)
		}
	}
	if len(m.index.attempts) == 0 {
		m.index.attempts = nil // and not an empty one
	}
	if !reflect.DeepEqual(pointers(want), pointers(m.index)) {
		return fmt.Errorf("the index is not what follows from the state:\n%+v\n%+v", pointers(m.index), pointers(want))
	}
	for own, s := range m.SAs {
		if s.own() != own {
			return fmt.Errorf("IKE SA %d is found by %s", s.ID, own)
		}
		for _, w := range s.wants {
			if w.SA != own {
				return fmt.Errorf("IKE SA %d serves want %d, which does not know", s.ID, w.ID)
			}
		}
	}
	return nil
}

// pointers is an index as text: which things are where.
func pointers(x index) string {
	text := ""
	add := func(format string, args ...any) { text += fmt.Sprintf(format, args...) }
	for _, k := range slices.SortedFunc(maps.Keys(x.at), func(a, b netip.Addr) int { return a.Compare(b) }) {
		add("at %s:", k)
		for _, s := range x.at[k] {
			add(" %d", s.ID)
		}
	}
	add("\nattempts:")
	for _, s := range x.attempts {
		add(" %d", s.ID)
	}
	for _, k := range slices.Sorted(maps.Keys(x.inbound)) {
		add("\n%08x: %d", k, x.inbound[k].ID)
	}
	names := func(a, b whom) int {
		return slices.Compare([]string{a.connection, a.identity}, []string{b.connection, b.identity})
	}
	for _, k := range slices.SortedFunc(maps.Keys(x.peers), names) {
		add("\npeers %s:", k)
		for _, p := range x.peers[k] {
			add(" %d", p.ID)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(x.wantsAt), func(a, b netip.Addr) int { return a.Compare(b) }) {
		add("\nwants at %s:", k)
		for _, w := range x.wantsAt[k] {
			add(" %d", w.ID)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(x.wantsFor), names) {
		add("\nwants for %s:", k)
		for _, w := range x.wantsFor[k] {
			add(" %d", w.ID)
		}
	}
	return text
}

func (m *Machine) counted() error {
	l := load{}
	recent := 0
	for _, s := range m.SAs {
		l.enter(s.Admitted)
		if s.Stage == halfOpen {
			recent++
			if s.Initial == nil || m.Recent[s.Initial.Digest] != s.own() || !s.Admitted.From.IsValid() {
				return fmt.Errorf("half-open IKE SA %d is not among the recent ones", s.ID)
			}
		}
		if s.Digest != [32]byte{} && s.Stage != closed {
			if recent++; m.Recent[s.Digest] != s.own() {
				return fmt.Errorf("IKE SA %d, %s, is not among the recent ones", s.ID, s.Stage)
			}
		}
		if (s.Stage == connecting || s.Stage == halfOpen) != (s.Initial != nil) {
			return fmt.Errorf("IKE SA %d is %s, and the state of its beginning is %v", s.ID, s.Stage, s.Initial != nil)
		}
	}
	if len(m.Recent) != recent {
		return fmt.Errorf("%d recent IKE_SA_INIT, of %d IKE SAs", len(m.Recent), recent)
	}
	if m.load.halfOpen != l.halfOpen || len(m.load.from) != len(l.from) {
		return fmt.Errorf("load says %d half-open of %d addresses, there are %d of %d", m.load.halfOpen, len(m.load.from), l.halfOpen, len(l.from))
	}
	for a, f := range l.from {
		if *m.load.from[a] != *f {
			return fmt.Errorf("load of %s is %v, not %v", a, *m.load.from[a], *f)
		}
	}
	if c := m.Counters(); c.HalfOpen != l.halfOpen || c.Established < 0 || c.Attempts != len(m.index.attempts) {
		return fmt.Errorf("counters: %+v", c)
	}
	return nil
}

func (m *Machine) timed() error {
	for i, t := range m.timers {
		if t.place != i || t.at == 0 || i > 0 && m.timers.Less(i, (i-1)/2) {
			return fmt.Errorf("timer %d of %d is out of place", i, len(m.timers))
		}
	}
	timers := 0
	for _, s := range m.SAs {
		if at := m.deadline(s); at != s.timer.at {
			return fmt.Errorf("IKE SA %d, %s, is due at %d, its timer is set to %d", s.ID, s.Stage, at, s.timer.at)
		}
		if s.timer.at != 0 {
			timers++
		}
	}
	if len(m.Waiting) > 0 && len(m.index.attempts) < m.config.Limits.Attempts {
		return fmt.Errorf("%d wants wait, and there are %d attempts", len(m.Waiting), len(m.index.attempts))
	}
	for _, w := range m.Wants {
		if w.timer.at != w.RetryAt {
			return fmt.Errorf("want %d is due at %d, its timer is set to %d", w.ID, w.RetryAt, w.timer.at)
		}
		if w.timer.at != 0 {
			timers++
		}
	}
	if timers != len(m.timers) {
		return fmt.Errorf("%d timers, %d of them somebody's", len(m.timers), timers)
	}
	return nil
}

func (m *Machine) bounded() error {
	for _, s := range m.SAs {
		for _, k := range []fragments{s.In.Fragments, s.Out.Fragments} {
			octets := 0
			for _, f := range k.Kept {
				octets += len(f.Text)
			}
			limit := wire.MaxMessage
			if s.Stage == halfOpen {
				limit = m.config.Limits.HalfOpenOctets
			}
			if k.Octets != octets || octets > limit || len(k.Kept) > wire.MaxFragments {
				return fmt.Errorf("IKE SA %d, %s, keeps %d fragments of %d octets, says %d", s.ID, s.Stage, len(k.Kept), octets, k.Octets)
			}
		}
		if len(s.Children) > m.config.Limits.Children+1 || len(s.Chains) > maxChains || len(s.Gone) > maxGone || len(s.Later) > 4 || len(s.Queue) > 64 {
			return fmt.Errorf("IKE SA %d has %d Child SAs, %d chains, %d gone SPIs, %d tasks for later, %d now", s.ID, len(s.Children), len(s.Chains), len(s.Gone), len(s.Later), len(s.Queue))
		}
		if s.Stage == closed && (len(s.Children)+len(s.Chains)+len(s.Queue)+len(s.Later)+len(s.In.Fragments.Kept)+len(s.Out.Fragments.Kept) > 0 || s.Running != nil || s.Held != nil || s.Out.Pending || s.GoneAt == 0) {
			return fmt.Errorf("IKE SA %d is closed and still has something", s.ID)
		}
		if !s.Out.Pending && (s.Running != nil || s.Stage != closed && s.Stage != replaced && len(s.Queue) > 0) {
			return fmt.Errorf("IKE SA %d, %s, waits for no response with %v", s.ID, s.Stage, s.tasks())
		}
	}
	if n := len(m.SAs); n > m.config.Limits.Established+m.config.Limits.HalfOpen+m.config.Limits.Attempts {
		return fmt.Errorf("%d IKE SAs", n)
	}
	return nil
}

// carried compares with the data plane.
func (m *Machine) carried(d dataPlane) error {
	reserved, installed := map[uint32]bool{}, map[uint32]bool{}
	note := func(n *negotiation) {
		if n != nil && n.Inbound != 0 && !n.ike() {
			reserved[n.Inbound] = true
		}
	}
	for _, s := range m.SAs {
		for _, c := range s.Children {
			if s.Held != nil && s.Held.Inbound == c.Inbound {
				reserved[c.Inbound] = true
			} else if installed[c.Inbound] {
				return fmt.Errorf("two IKE SAs have Child SA %08x", c.Inbound)
			} else {
				installed[c.Inbound] = true
			}
		}
		for _, t := range s.tasks() {
			if c, ok := t.(*createChild); ok {
				note(c.N)
			}
		}
		for _, n := range s.Chains {
			note(n)
		}
		if s.Initial != nil {
			note(s.Initial.Child)
		}
	}
	r, i := d.Count()
	for spi := range reserved {
		if !d.Reserved(spi) {
			return fmt.Errorf("SPI %08x is not reserved", spi)
		}
	}
	for spi := range installed {
		if !d.Installed(spi) {
			return fmt.Errorf("Child SA %08x is not installed", spi)
		}
	}
	if r != len(reserved) || i != len(installed) {
		return fmt.Errorf("the data plane has %d SPIs and %d SAs, we know of %d and %d", r, i, len(reserved), len(installed))
	}
	return nil
}

// served looks at peers.
func (m *Machine) served() error {
	for id, p := range m.Peers {
		if p.ID != id || len(p.SAs) == 0 || p.changed {
			return fmt.Errorf("peer %d has %d IKE SAs", id, len(p.SAs))
		}
		for _, spi := range p.SAs {
			if s := m.SAs[spi]; s == nil || s.Peer != id || s.Stage == closed {
				return fmt.Errorf("peer %d has IKE SA %s, which is not its", id, spi)
			}
		}
		_, c := m.current(p)
		if c != nil && !p.Up || c == nil && p.Current != 0 || c == nil && p.Up && !m.expecting(p) {
			return fmt.Errorf("peer %d: up %v, current %08x", id, p.Up, p.Current)
		}
	}
	for _, s := range m.SAs {
		if p := m.Peers[s.Peer]; s.Peer != 0 && s.Stage != closed && (p == nil || !slices.Contains(p.SAs, s.own())) {
			return fmt.Errorf("IKE SA %d, %s, is not among its peer's", s.ID, s.Stage)
		}
	}
	return nil
}

// Empty says what is left in a machine that should have nothing.
func (m *Machine) Empty() error {
	if len(m.SAs)+len(m.Peers)+len(m.Recent)+len(m.timers)+len(m.Wants)+len(m.Waiting) > 0 || m.load.halfOpen != 0 || len(m.load.from) > 0 || len(m.index.at)+len(m.index.peers) > 0 {
		return fmt.Errorf("left: %d IKE SAs %v, %d peers, %d recent, %d timers, %d wants, %+v", len(m.SAs), m.SAs, len(m.Peers), len(m.Recent), len(m.timers), len(m.Wants), m.load)
	}
	return nil
}
