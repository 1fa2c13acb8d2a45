// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// Stage is where a Child SA is in its life in the data plane.
type Stage uint8

// The stages, in their order. Only one SA of a peer is the one that its packets
// leave by; that is told apart from the stage (see SA.Current).
const (
	Reserved Stage = iota
	Installed
	Retired
	Removed
)

func (s Stage) String() string {
	return [...]string{"reserved", "installed", "retired", "removed"}[s]
}

// SA is one Child SA as one end's data plane has it.
type SA struct {
	sa.Child
	End   *End
	Stage Stage
	// Used says that packets left, or could leave, by it at some time.
	Used bool
	// first says that its peer had no other when it was taken into use: a responder
	// has nothing else to send by, and its first packets may be too early.
	first    bool
	Received time.Time // the last packet that came in by it
}

func (s *SA) String() string {
	if s == nil {
		return "no SA"
	}
	return fmt.Sprintf("%s's %08x (out %08x, %s)", s.End.Name, s.Inbound, s.Outbound, s.Stage)
}

// Other is the other end's half of the SA; nil if it never had one.
func (s *SA) Other() *SA {
	if s == nil {
		return nil
	}
	for _, e := range s.End.world.Ends {
		if e == s.End {
			continue
		}
		if o := e.Plane.sas[s.Outbound]; o != nil && o.Stage != Reserved && o.Outbound == s.Inbound {
			return o
		}
	}
	return nil
}

// Current says whether its peer's packets leave by it.
func (s *SA) Current() bool { return s != nil && s.End.Plane.current[s.Peer.ID] == s.Inbound }

// Open says whether packets that come in by it are taken.
func (s *SA) Open() bool { return s != nil && (s.Stage == Installed || s.Stage == Retired) }

// Plane is the data plane of one end: it does what sa.Installer promises, and
// fails the test when it is asked for what no data plane could do.
type Plane struct {
	end     *End
	sas     map[uint32]*SA // all that ever were, by inbound SPI
	order   []*SA
	current map[uint64]uint32 // by peer
	gap     []string          // moments in which a peer had no outbound SA

	// Refuse, if not nil, says why an SA cannot be installed.
	Refuse func(c *sa.Child) error
	// Full, if not nil, says why no SPI can be reserved.
	Full func() error
}

func newPlane(e *End) *Plane {
	return &Plane{end: e, sas: map[uint32]*SA{}, current: map[uint64]uint32{}}
}

func (p *Plane) fail(format string, args ...any) {
	p.end.world.fail("I3: %s: %s", p.end.Name, fmt.Sprintf(format, args...))
}

// want gives an SA that must be at one of some stages.
func (p *Plane) want(call string, spi uint32, stages ...Stage) *SA {
	s := p.sas[spi]
	if s == nil {
		p.fail("%s(%08x): nobody reserved it", call, spi)
		return nil
	}
	if !slices.Contains(stages, s.Stage) {
		p.fail("%s(%08x): it is %s", call, spi, s.Stage)
		return nil
	}
	return s
}

// Reserve draws an SPI that was never used before.
func (p *Plane) Reserve() (uint32, error) {
	if p.Full != nil {
		if err := p.Full(); err != nil {
			return 0, err
		}
	}
	for {
		spi := uint32(p.end.spis.next())
		if spi > 255 && p.end.world.fresh(spi) {
			s := &SA{End: p.end}
			s.Inbound = spi
			p.sas[spi] = s
			p.order = append(p.order, s)
			return spi, nil
		}
	}
}

// Release ends a reservation.
func (p *Plane) Release(spi uint32) {
	if s := p.want("Release", spi, Reserved); s != nil {
		s.Stage = Removed
	}
}

// Install takes the keys, and compares them with those of the other end.
func (p *Plane) Install(c *sa.Child) error {
	s := p.want("Install", c.Inbound, Reserved)
	if s == nil {
		return fmt.Errorf("%08x cannot be installed", c.Inbound)
	}
	if p.Refuse != nil {
		if err := p.Refuse(c); err != nil {
			return err
		}
	}
	p.end.world.checkChildKeys(p.end, c)
	s.Child, s.Stage = *c, Installed
	s.In, s.Out = keep(c.In), keep(c.Out)
	s.Here, s.There = slices.Clone(c.Here), slices.Clone(c.There)
	p.log("installs %08x, out %08x", c.Inbound, c.Outbound)
	if o := s.Other(); o != nil && !p.end.world.strangers {
		p.compare(s, o)
	}
	return nil
}

func keep(k crypto.DirectionKeys) crypto.DirectionKeys {
	return crypto.DirectionKeys{Encryption: bytes.Clone(k.Encryption), Integrity: bytes.Clone(k.Integrity)}
}

// compare looks whether two halves make one SA.
func (p *Plane) compare(s, o *SA) {
	same := func(a, b crypto.DirectionKeys) bool {
		return len(a.Encryption) > 0 && bytes.Equal(a.Encryption, b.Encryption) && bytes.Equal(a.Integrity, b.Integrity)
	}
	w := p.end.world
	switch {
	case !same(s.In, o.Out) || !same(s.Out, o.In):
		w.fail("the keys of %s and %s differ", s, o)
	case s.Suite != o.Suite || s.Extended != o.Extended || s.Mode != o.Mode:
		w.fail("%s and %s are of different kinds", s, o)
	case s.Encapsulation != o.Encapsulation:
		w.fail("only one of %s and %s is in UDP", s, o)
	case s.Local == o.Remote && s.Remote == o.Local && (!sameSelectors(s.Here, o.There) || !sameSelectors(s.There, o.Here)):
		w.fail("the selectors of %s and %s differ: %v %v, %v %v", s, o, s.Here, s.There, o.There, o.Here)
	}
}

func sameSelectors(a, b []wire.Selector) bool {
	return slices.EqualFunc(a, b, func(x, y wire.Selector) bool { return x.String() == y.String() })
}

// Activate makes the SA its peer's. What the other end never opened must not be
// sent to (I2).
func (p *Plane) Activate(spi uint32) {
	s := p.want("Activate", spi, Installed)
	if s == nil {
		return
	}
	s.Used, s.first = true, p.current[s.Peer.ID] == 0
	p.current[s.Peer.ID] = spi
	p.log("sends by %08x, out %08x", spi, s.Outbound)
	if w := p.end.world; s.Other() == nil && !s.first && !w.strangers && !w.tolerant() {
		w.fail("I2: %s sends by %s, which the other end has not opened", p.end.Name, s)
	}
}

// Retire takes the outbound direction away.
func (p *Plane) Retire(spi uint32) {
	if s := p.want("Retire", spi, Installed); s != nil {
		p.leave(s)
		s.Stage = Retired
		p.log("retires %08x", spi)
	}
}

// Remove takes the rest away.
func (p *Plane) Remove(spi uint32) {
	if s := p.want("Remove", spi, Installed, Retired); s != nil {
		p.leave(s)
		s.Stage = Removed
		p.log("removes %08x", spi)
	}
}

func (p *Plane) leave(s *SA) {
	if s.Current() {
		p.current[s.Peer.ID] = 0
		p.gap = append(p.gap, fmt.Sprintf("%s loses %s while it is the one in use", p.end.Name, s))
	}
}

// Move changes the endpoints.
func (p *Plane) Move(spi uint32, local, remote netip.AddrPort, encapsulation bool) {
	if s := p.want("Move", spi, Installed, Retired); s != nil {
		s.Local, s.Remote, s.Encapsulation = local, remote, encapsulation
		p.log("moves %08x to %s", spi, remote)
	}
}

// Received is what Ping left behind.
func (p *Plane) Received(spi uint32) time.Time {
	if s := p.sas[spi]; s != nil {
		return s.Received
	}
	return time.Time{}
}

func (p *Plane) log(format string, args ...any) {
	p.end.world.log("    %s %s", p.end.Name, fmt.Sprintf(format, args...))
}

// All gives the SAs that are reserved, installed or retired, the oldest first.
func (p *Plane) All(stages ...Stage) []*SA {
	var all []*SA
	for _, s := range p.order {
		if slices.Contains(stages, s.Stage) {
			all = append(all, s)
		}
	}
	return all
}
