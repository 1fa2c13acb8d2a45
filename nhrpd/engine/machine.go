// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/cache"
	"dmvpn/nhrpd/wire"
)

// Machine is the NHRP machine of one tunnel.
//
// Whatever happens, it goes on: a packet that is wrong is counted and dropped.
// The same inputs at the same times, with the same answers of Env, give the
// same actions.
type Machine struct {
	cfg Config
	env Env

	started bool
	epoch   time.Time
	now     instant // of the last Handle
	ending  instant // after Stop, when it ends at the latest; 0: there was none
	stopped bool
	again   bool // after Import: the next Handle says once more what stands

	local   locals // our NBMA addresses
	last    locals // the same, or what they were before there was none of a family
	lastID  uint32
	servers []*server
	fresh   []*server // configured since the import
	tables
	late       []uint32 // requests whose reply was taken, the oldest first
	carrier    carrier
	limits     rates
	violations *cache.Map[violation, instant]
	counts     map[string]uint64

	out     []Action
	changed bool // by the last Handle
	cleared Cleared

	doubts     doubts
	confirming *confirmation // of the last Handle; nil: none
}

// New makes a machine. Fields of cfg that are zero and have a default get it.
func New(cfg Config, env Env) *Machine {
	orDefault(&cfg.HoldingTime, defaultHolding)
	orDefault(&cfg.Idle, defaultIdle)
	orDefault(&cfg.IdleBytes, defaultUseBytes)
	orDefault(&cfg.Limits.Bindings, defaultBindings)
	orDefault(&cfg.Limits.BindingsPerPeer, defaultBindingsPerPeer)
	orDefault(&cfg.Limits.Cached, defaultCached)
	orDefault(&cfg.Limits.Pending, defaultPending)
	orDefault(&cfg.Limits.PacketsPerPeer, defaultPacketsPerPeer)
	orDefault(&cfg.Limits.Strangers, defaultStrangers)
	cfg.HoldingTime = min(max(cfg.HoldingTime, time.Second), 0xFFFF*time.Second)
	m := &Machine{cfg: cfg, env: env, tables: newTables(), limits: newRates(cfg.Limits.PacketsPerPeer, cfg.Limits.Strangers), violations: cache.NewMap[violation, instant](compareViolations), counts: make(map[string]uint64), doubts: newDoubts()}
	m.lastID = uint32(env.Random())
	for i, n := range cfg.NHS {
		m.servers = append(m.servers, newServer(i, n, cfg.Networks))
	}
	return m
}

func orDefault[T comparable](v *T, standard T) {
	var zero T
	if *v == zero {
		*v = standard
	}
}

// Handle takes one input and returns what is to be done, in order. Time that
// goes back counts as standing still. What is due by now is done first, so a
// late Tick does no harm. Slices in input are not kept.
func (m *Machine) Handle(now time.Time, input Input) []Action {
	m.out = nil
	if _, ok := input.(Clear); ok {
		m.cleared = Cleared{}
	}
	m.advance(now)
	if m.stopped {
		return nil
	}
	if m.again {
		m.again = false
		m.resume()
	}
	m.changed = m.worthSaving(input)
	if m.ending != 0 {
		m.stopping(input)
		return m.out
	}
	if _, ok := input.(Undone); !ok {
		m.confirming = nil
		m.due()
	}
	switch in := input.(type) {
	case Packet:
		m.packet(in)
	case Redirect:
		m.redirect(in)
	case Miss:
		m.miss(in)
	case Resolved:
		m.resolved(in)
	case LocalNBMA:
		m.localNBMA(newLocals(in.Address, in.Other))
	case RoutesChanged:
		m.routesChanged()
	case Secured:
		m.secured(in.To)
	case Unsecured:
		m.unsecured(in.To)
	case Undone:
		m.undone(in)
	case Clear:
		m.clear(in)
	case Stop:
		m.stop()
		return m.out
	case Tick:
	}
	m.due()
	m.settleCarrier()
	return m.out
}

// Changed says whether the last Handle may have changed what Export gives by more than
// probes: who saves it need not do so for each of them.
func (m *Machine) Changed() bool {
	return m.changed || slices.ContainsFunc(m.out, func(a Action) bool { _, send := a.(Send); return !send })
}

// worthSaving says whether an input is more than a probe, or the time of one.
func (m *Machine) worthSaving(input Input) bool {
	switch in := input.(type) {
	case Tick:
		next, ok := m.nextButProbes()
		return ok && next <= m.now
	case Packet:
		return !probe(in.Data)
	}
	return true
}

// advance moves the clock, and starts it with the first input.
func (m *Machine) advance(now time.Time) {
	if !m.started {
		m.started = true
		m.epoch = now.Add(-time.Second) // instant 0 is before everything: it stands for none
		for _, s := range m.servers {
			m.startServer(s)
		}
		for _, s := range m.servers {
			s.Standby = m.cfg.MaxConnections > 0
		}
		m.elect()
		m.carrier.Ends = now.Sub(m.epoch) + carrierGrace
	}
	m.now = max(m.now, now.Sub(m.epoch))
}

// Next is when Handle wants a Tick, false if nothing is to come.
func (m *Machine) Next() (time.Time, bool) {
	if !m.started || m.stopped {
		return time.Time{}, false
	}
	if m.ending != 0 {
		_, next, ok := m.purges.First()
		if !ok || next > m.ending {
			next = m.ending
		}
		return m.epoch.Add(next), true
	}
	next, ok := m.nextButProbes()
	if _, at, there := m.paths.First(); there && (!ok || at < next) {
		next, ok = at, true
	}
	return m.epoch.Add(next), ok
}

func (m *Machine) nextButProbes() (next instant, ok bool) {
	earlier := func(at instant, there bool) {
		if there && (!ok || at < next) {
			next, ok = at, true
		}
	}
	for _, s := range m.servers {
		earlier(s.next())
	}
	earlier(m.carrier.Ends, m.cfg.IfState && m.carrier.Ends != 0)
	earlier(first(m.bindings.First()))
	earlier(first(m.shortcuts.First()))
	earlier(first(m.negatives.First()))
	earlier(first(m.requests.First()))
	earlier(first(m.told.First()))
	earlier(first(m.purges.First()))
	earlier(first(m.accepted.First()))
	earlier(first(m.uses.First()))
	earlier(first(m.refreshes.Next()))
	return next, ok
}

func first[K any](_ K, at instant, ok bool) (instant, bool) { return at, ok }

// due does everything whose time has come. The order is fixed: what a client of
// ours lost goes before what we ask anew.
func (m *Machine) due() {
	m.expireBindings()
	m.expireShortcuts()
	m.expireNegatives()
	m.expireTold()
	m.measureUses()
	m.refreshShortcuts()
	m.retryRequests()
	m.retryPurges()
	m.expireAcceptances()
	m.pathsDue()
	for _, s := range m.servers {
		m.serverDue(s)
	}
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) report(level Level, peer Endpoint, format string, args ...any) {
	m.do(Report{Level: level, Peer: peer, Message: fmt.Sprintf(format, args...)})
}

func (m *Machine) count(name string) { m.counts[name]++ }

// complain reports what a peer does wrong, not more often than is bearable.
func (m *Machine) complain(peer Endpoint, format string, args ...any) {
	if m.limits.report(peer, m.now) {
		m.report(Warn, peer, format, args...)
	}
}

// drop counts a packet that was not processed, by its reason.
func (m *Machine) drop(reason string) { m.count("dropped-" + reason) }

// own is our overlay address.
func (m *Machine) own() netip.Addr { return m.cfg.Address.Addr() }

// nextID is a request id that none before it had, as far as 32 bits go; the step
// is not to be guessed.
func (m *Machine) nextID() uint32 {
	m.lastID += 1 + uint32(m.env.Random()%idStep)
	return m.lastID
}

// holdingSeconds is our holding time as it goes into a packet.
func (m *Machine) holdingSeconds() uint16 { return uint16(m.cfg.HoldingTime / time.Second) }

// serves says whether clients may register with us: a pure spoke is no NHS.
func (m *Machine) serves() bool { return len(m.cfg.NHS) == 0 || m.cfg.Redirect }

// localNBMA takes new underlay addresses: whoever knows an old one is told, by
// way of the NHS, and every registration is made anew. One of a family that had none
// disturbs nobody.
func (m *Machine) localNBMA(now locals) {
	before, last := m.local, m.last
	if now == before {
		return
	}
	m.local, m.last = now, now.orElse(last)
	if !now.exist() {
		m.report(Warn, Endpoint{}, "the underlay has no address: nothing is registered until it has one")
		return
	}
	moved := false
	for _, family := range []uint16{wire.FamilyIPv4, wire.FamilyIPv6} {
		a, was := now.of(family), last.of(family) // most lose one before they have another
		moved = moved || was.IsValid() && a.IsValid() && a != was
		if a.IsValid() && a != before.of(family) && last.exist() {
			m.report(Info, Endpoint{}, "underlay address is now %v", a)
		}
	}
	m.settleMaps()
	for _, s := range m.servers {
		if to, ok := m.target(s); !ok || before.to(to.NBMA) != now.to(to.NBMA) {
			m.registerNow(s)
		}
	}
	for _, s := range m.servers {
		m.serverDue(s)
	}
	if moved {
		m.leaveShortcuts("our underlay address changed")
	}
}
