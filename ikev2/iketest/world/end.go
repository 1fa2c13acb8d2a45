// SPDX-License-Identifier: Apache-2.0

package world

import (
	"net/netip"
	"slices"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// End is one machine with its data plane.
type End struct {
	Name    string
	Address netip.Addr
	Config  sa.Config
	Machine *sa.Machine // nil while the daemon is away
	Plane   *Plane

	Ups, Downs int // of peers, since the case began
	Sends      int // datagrams, copies too
	Failures   []*sa.Failed
	Moves      []*sa.Moved
	Alarms     []string
	Reports    []string // all of them

	wasUp bool              // when the case began
	up    map[string]uint64 // ID of those that are up, by connection and identity
	dice  *dice
	spis  dice
	cause *Message // what it is handling
	nat   *NAT     // before it; nil: none
	wants []*sa.Connect
	world *World
}

// Connection is the first of the end's policies.
func (e *End) Connection() *sa.Connection { return e.Config.Connections[0] }

func (e *End) endpoint() netip.AddrPort { return netip.AddrPortFrom(e.Address, 500) }

// Input gives the machine an input and carries out what it answers. This is a step:
// the invariants are looked at after it.
func (e *End) Input(in sa.Input) {
	if e.Machine == nil {
		return
	}
	if c, ok := in.(*sa.Connect); ok {
		e.wants = append(e.wants, c)
	}
	w := e.world
	if w.run.reimport && (!w.Storm() || w.random.chance(20)) {
		e.reimport()
	}
	w.steer(e)
	e.Plane.gap = nil
	for _, a := range e.Machine.Handle(w.Now, in) {
		e.perform(a)
	}
	w.step(e)
}

// exported is the machine's state.
func (e *End) exported() []byte { return must(e.Machine.Export(e.world.Now)) }

// reimport puts a fresh machine with the same state in the old one's place (I10).
func (e *End) reimport() {
	state := must(e.Machine.Export(e.world.Now))
	due := e.Machine.Next()
	before := *e.dice
	m, err := sa.Import(e.world.Now, e.Config, state)
	*e.dice = before
	if err != nil {
		e.world.fail("I10: %s: its state cannot be imported: %v", e.Name, err)
		return
	}
	if !m.Next().Equal(due) {
		e.world.fail("I10: %s: due at %v, after an import at %v", e.Name, due, m.Next())
	}
	e.Machine = m
}

// perform carries out one action.
func (e *End) perform(a sa.Action) {
	w := e.world
	switch a := a.(type) {
	case *sa.Send:
		e.Sends++
		w.emit(e, a)
	case *sa.Up:
		w.log("  %s: up %s", e.Name, a.Peer.Identity)
		e.Ups++
		key := a.Peer.Connection + " " + a.Peer.Identity.String()
		if e.up[key] != 0 {
			w.fail("I4: %s: %s is up a second time", e.Name, key)
		}
		e.up[key] = a.Peer.ID
	case *sa.Down:
		w.log("  %s: down %s: %s", e.Name, a.Peer.Identity, a.Reason)
		e.Downs++
		key := a.Peer.Connection + " " + a.Peer.Identity.String()
		if e.up[key] != a.Peer.ID {
			w.fail("I4: %s: %s is down but was not up", e.Name, key)
		}
		delete(e.up, key)
	case *sa.Moved:
		w.log("  %s: %s moved from %s to %s", e.Name, a.Peer.Identity, a.Old, a.Peer.Remote)
		e.Moves = append(e.Moves, a)
	case *sa.Failed:
		w.log("  %s: failed: %s", e.Name, a.Reason)
		e.Failures = append(e.Failures, a)
	case *sa.Report:
		w.log("  %s: %s", e.Name, a.Message)
		e.Reports = append(e.Reports, a.Message)
		if a.Level == sa.Alarm {
			e.Alarms = append(e.Alarms, a.Message)
		}
	}
}

// Identity is the end's own.
func (e *End) Identity() auth.Identity { return e.Connection().Local }

// IKE is the IKE SA in use: the youngest that is established. Its ID is 0 if there is
// none.
func (e *End) IKE() sa.Info {
	var best sa.Info
	for _, i := range e.Infos() {
		if i.State == "established" && i.ID > best.ID {
			best = i
		}
	}
	return best
}

// Peer is the youngest IKE SA with a peer of that identity. Its ID is 0 if there is none.
func (e *End) Peer(identity string) sa.Info {
	var best sa.Info
	for _, i := range e.Infos() {
		if i.State == "established" && i.Peer.Identity.String() == identity && i.ID > best.ID {
			best = i
		}
	}
	return best
}

// Infos are all IKE SAs of the end.
func (e *End) Infos() []sa.Info {
	if e.Machine == nil {
		return nil
	}
	return e.Machine.Infos(e.world.Now)
}

// SA is the Child SA that packets to the only peer leave by; nil without.
func (e *End) SA() *SA {
	for _, s := range e.Plane.All(Installed) {
		if s.Current() {
			return s
		}
	}
	return nil
}

// Newest is the Child SA that was installed last and is still open; nil without.
func (e *End) Newest() *SA {
	all := e.Plane.All(Installed, Retired)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// half is this end's half of an SA, whichever half was given.
func (e *End) half(s *SA) *SA {
	if s != nil && s.End != e {
		s = s.Other()
	}
	return s
}

// holder is the number of the IKE SA that has a Child SA now.
func (e *End) holder(s *SA) uint64 {
	for _, i := range e.Infos() {
		if slices.ContainsFunc(i.Children, func(c sa.ChildInfo) bool { return c.Inbound == s.Inbound }) {
			return i.ID
		}
	}
	return s.IKE
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
