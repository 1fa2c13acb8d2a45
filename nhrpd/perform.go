// SPDX-License-Identifier: Apache-2.0

package nhrpd

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/nhrpd/engine"
)

// handle gives the machine an input and carries out what it answers, in order: each step is done,
// acknowledged by the kernel, before the next one. So what tells a peer that something stands
// leaves when it does, or not at all: the machine answers for what was refused.
func (s *Service) handle(ctx context.Context, now time.Time, input engine.Input) {
	var undone engine.Undone
	for _, action := range s.machine.Handle(now, input) {
		if send, ok := action.(engine.Send); ok && send.Confirms && len(undone.Actions) > 0 {
			undone.Withheld = true
			continue
		}
		if !s.perform(ctx, action) {
			undone.Actions = append(undone.Actions, action)
		}
	}
	if len(undone.Actions) > 0 {
		s.handle(ctx, now, undone)
	}
	// A tick or a packet may change what is exported without an action to show
	// for it: a renewed binding, a packet that began a retry. Probes are not worth it.
	if s.machine.Changed() {
		s.dirty = !s.withdrawn
	}
	if s.machine.Stopped() {
		select {
		case <-s.gone:
		default:
			close(s.gone)
		}
	}
}

// perform carries out one action. One that fails is logged and counted; false: it is a Bind or an
// InstallRoute. Of others the machine is told nothing.
func (s *Service) perform(ctx context.Context, action engine.Action) (done bool) {
	done = true
	switch a := action.(type) {
	case engine.Send:
		if err := s.config.Sender.Send(a.To, a.Data); err != nil {
			s.counters.sendFailed.Add(1)
			s.log.Debug().Err(err).Stringer("nbma", a.To.NBMA).Msg("NHRP packet not sent")
			return done
		}
		s.counters.sent.Add(1)
	case engine.Bind:
		s.wanted.bind(a.NextHop, a.To)
		done = s.result(s.config.DataPlane.Bind(a), "bind", a.Reason, a.To, func(e *zerolog.Event) {
			e.Stringer("nexthop", a.NextHop)
		})
	case engine.Unbind:
		s.wanted.unbind(a.NextHop)
		s.result(s.config.DataPlane.Unbind(a.NextHop), "unbind", a.Reason, engine.Endpoint{}, func(e *zerolog.Event) {
			e.Stringer("nexthop", a.NextHop)
		})
	case engine.Admit:
		s.wanted.admit(a.From)
		s.result(s.config.DataPlane.Admit(a.From, a.Protocol), "admit", a.Reason, a.From, func(e *zerolog.Event) {
			if a.Protocol.IsValid() {
				e.Stringer("protocol", a.Protocol)
			}
		})
	case engine.Dismiss:
		s.wanted.dismiss(a.From)
		s.result(s.config.DataPlane.Dismiss(a.From), "dismiss", a.Reason, a.From, nil)
	case engine.InstallRoute:
		s.wanted.routes[a.Prefix] = a
		done = s.result(s.config.Router.Install(a.Prefix, a.NextHop, a.By), "install route", a.Reason, engine.Endpoint{}, func(e *zerolog.Event) {
			e.Stringer("prefix", a.Prefix).Stringer("nexthop", a.NextHop)
		})
	case engine.RemoveRoute:
		delete(s.wanted.routes, a.Prefix)
		s.result(s.config.Router.Remove(a.Prefix), "remove route", a.Reason, engine.Endpoint{}, func(e *zerolog.Event) {
			e.Stringer("prefix", a.Prefix)
		})
	case engine.Fallback:
		s.result(s.config.DataPlane.Fallback(a.NextHop), "fallback", "", engine.Endpoint{}, func(e *zerolog.Event) {
			if a.NextHop.IsValid() {
				e.Stringer("nexthop", a.NextHop)
			}
		})
	case engine.Carrier:
		s.result(s.config.DataPlane.Carrier(a.Up), "carrier", "", engine.Endpoint{}, func(e *zerolog.Event) { e.Bool("up", a.Up) })
	case engine.Resolve:
		s.resolve(ctx, a.Name)
	case engine.Report:
		e := s.log.WithLevel(level(a.Level))
		peer(e, a.Peer).Msg(a.Message)
	}
	return done
}

// result logs what became of an action, refused ones as warnings unless they are logged, and says whether it was done.
func (s *Service) result(err error, what, reason string, at engine.Endpoint, more func(*zerolog.Event)) bool {
	e := s.log.Debug()
	if err != nil {
		s.counters.failed.Add(1)
		if !errors.Is(err, ErrLimit) {
			e = s.log.Warn()
		}
		e = e.Err(err)
		what += " failed"
	}
	if e == nil {
		return err == nil
	}
	if more != nil {
		more(e)
	}
	if reason != "" {
		e.Str("reason", reason)
	}
	peer(e, at).Msg(what)
	return err == nil
}

func peer(e *zerolog.Event, at engine.Endpoint) *zerolog.Event {
	if at.NBMA.IsValid() {
		e.Stringer("nbma", at.NBMA)
	}
	if at.Port != 0 {
		e.Uint16("port", at.Port)
	}
	if at.Identity != "" {
		e.Str("identity", at.Identity)
	}
	return e
}

func level(l engine.Level) zerolog.Level {
	switch l {
	case engine.Warn:
		return zerolog.WarnLevel
	case engine.Info:
		return zerolog.InfoLevel
	}
	return zerolog.DebugLevel
}

// resolve looks a name up beside the loop; the answer comes back as an input. A
// name that is being looked up is not asked for twice.
func (s *Service) resolve(ctx context.Context, name string) {
	if s.inLookup[name] {
		return
	}
	s.inLookup[name] = true
	s.resolving.Go(func() {
		look, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		addresses, err := s.config.Resolver.LookupNetIP(look, "ip", name)
		answer := engine.Resolved{Name: name}
		for _, a := range addresses {
			answer.Addresses = append(answer.Addresses, a.Unmap())
		}
		if err != nil {
			answer.Err = err.Error()
		}
		select {
		case s.calls <- func(now time.Time) {
			delete(s.inLookup, name)
			s.handle(ctx, now, answer)
		}:
		case <-ctx.Done():
		}
	})
}
