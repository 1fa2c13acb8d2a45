// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"

	"dmvpn/ikev2/sa"
)

// Reconfigure changes the end's policy, as a restart that keeps the state does.
func (e *End) Reconfigure(change func(c *sa.Connection)) {
	c := *e.Connection()
	change(&c)
	e.Config.Connections = []*sa.Connection{&c}
	e.reimport()
}

// Connect lets the end begin: one attempt, and no new one when it has ended.
func (e *End) Connect(to *End) {
	e.world.log("%s: connect", e.Name)
	e.Input(&sa.Connect{Connection: e.Connection().Name, Local: e.endpoint(), Remote: to.endpoint(), Identity: to.Identity(), Once: true})
}

// ConnectTo is Connect where the other end is reached elsewhere than at its own address.
func (e *End) ConnectTo(to *End, remote netip.AddrPort) {
	e.world.log("%s: connect to %s", e.Name, remote)
	e.Input(&sa.Connect{Connection: e.Connection().Name, Local: e.endpoint(), Remote: remote, Identity: to.Identity(), Once: true})
}

// Want is Connect for ever.
func (e *End) Want(to *End) {
	e.world.log("%s: want", e.Name)
	e.Input(&sa.Connect{Connection: e.Connection().Name, Local: e.endpoint(), Remote: to.endpoint(), Identity: to.Identity()})
}

// Unwant takes Connect or Want back.
func (e *End) Unwant(to *End) {
	e.world.mayBreak = true
	e.Input(&sa.Disconnect{Connection: e.Connection().Name, Remote: to.endpoint(), Identity: to.Identity()})
}

// Rekey asks the end to rekey a Child SA.
func (e *End) Rekey(s *SA) {
	if s = e.half(s); s != nil {
		e.world.log("%s: rekey %s", e.Name, s)
		e.Input(&sa.Rekey{ID: s.IKE, Child: s.Inbound})
	}
}

// RekeyIKE asks the end to rekey the IKE SA.
func (e *End) RekeyIKE() {
	e.world.log("%s: rekey the IKE SA", e.Name)
	e.Input(&sa.Rekey{ID: e.IKE().ID})
}

// Create asks the end for a further Child SA.
func (e *End) Create() {
	e.world.log("%s: make a Child SA", e.Name)
	e.Input(&sa.Rekey{ID: e.IKE().ID, Create: true})
}

// Delete asks the end to delete a Child SA. From now on a peer may be without any.
func (e *End) Delete(s *SA) {
	if s = e.half(s); s != nil {
		e.world.log("%s: delete %s", e.Name, s)
		e.world.mayBreak = true
		e.Input(&sa.Terminate{ID: e.holder(s), Child: s.Inbound})
	}
}

// DeleteIKE asks the end to delete the IKE SA in use.
func (e *End) DeleteIKE() {
	e.world.log("%s: delete the IKE SA", e.Name)
	e.world.mayBreak = true
	e.Input(&sa.Terminate{ID: e.IKE().ID})
}

// Expire tells the end that a Child SA reached a limit.
func (e *End) Expire(s *SA, hard bool) {
	if s = e.half(s); s != nil {
		e.world.log("%s: %s expires, hard %v", e.Name, s, hard)
		e.Input(&sa.Expired{Inbound: s.Inbound, Hard: hard})
	}
}

// UnknownSPI tells the end that a packet came by the other end's half of an SA that
// it does not have itself.
func (e *End) UnknownSPI(s *SA) {
	if s != nil {
		e.world.log("%s: a packet with the unknown SPI %08x", e.Name, s.Outbound)
		e.Input(&sa.UnknownSPI{Local: s.Remote, Remote: s.Local, SPI: s.Outbound})
	}
}

// Unreachable hints that packets to the other end do not arrive.
func (e *End) Unreachable(o *End) {
	e.world.log("%s: a hint that %s cannot be reached", e.Name, o.Name)
	e.Input(&sa.Unreachable{Local: e.endpoint(), Remote: o.endpoint()})
}

// Ping sends a packet by the SA in use, and says whether the other end took it. The
// first one of an SA is told to the machine there, as the data plane does.
func (e *End) Ping() error {
	s := e.SA()
	if s == nil {
		return fmt.Errorf("%s has no SA to send by", e.Name)
	}
	return e.PingBy(s)
}

// PingBy sends a packet by one SA.
func (e *End) PingBy(s *SA) error {
	s = e.half(s)
	o := s.Other()
	if !o.Open() {
		return fmt.Errorf("%s sends by %s, which the other end does not take", e.Name, s)
	}
	source := e.source(s.Local, s.Remote)
	to, local := e.world.route(source, s.Remote)
	if to != o.End {
		return fmt.Errorf("%s sends by %s to %s, where nobody gets it", e.Name, s, s.Remote)
	}
	first := o.Received.IsZero()
	o.Received = e.world.Now
	if first || source != o.Remote || local != o.Local {
		e.world.log("%s: packet by %s", e.Name, s)
		o.End.Input(&sa.Arrived{Inbound: o.Inbound, Local: local, Remote: source})
	}
	return nil
}

// Kill ends the daemon with all its state; its data plane is emptied.
func (e *End) Kill() {
	e.world.log("%s: dies", e.Name)
	e.world.mayBreak = true
	e.Machine = nil
	for _, s := range e.Plane.order {
		s.Stage = Removed
	}
	clear(e.Plane.current)
	clear(e.up)
}

// Start begins anew, as another process with no memory.
func (e *End) Start() {
	e.world.log("%s: starts", e.Name)
	e.Config.Instance[0]++
	e.Machine = sa.New(e.world.Now, e.Config)
}
