// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/ikev2/sa"
)

// handle gives the machine an input and carries out what it answers, in order.
func (s *Service) handle(ctx context.Context, now time.Time, in sa.Input) {
	for _, action := range s.machine.Handle(now, in) {
		s.perform(ctx, now, action)
	}
}

func (s *Service) perform(ctx context.Context, now time.Time, action sa.Action) {
	switch a := action.(type) {
	case *sa.Send:
		s.send(now, a)
	case *sa.Up:
		s.answered(a.Peer)
		s.config.Handler.Up(a.Peer)
	case *sa.Down:
		s.config.Handler.Down(a.Peer, a.Reason)
	case *sa.Moved:
		s.config.Handler.Moved(a.Peer, a.Old)
	case *sa.Failed:
		s.failed(ctx, now, a)
		s.config.Handler.Failed(*a)
	case *sa.Report:
		s.report(now, a)
	case *sa.Trace:
		s.recorder.add(Line{Time: now, Local: a.Local, Remote: a.Remote, Out: a.Out, Message: a.Message})
		s.log.Trace().Stringer("local", a.Local).Stringer("remote", a.Remote).Bool("out", a.Out).Msg(a.Message)
	}
}

// send sends a datagram. What is lost here is repeated as if the network had lost it.
func (s *Service) send(now time.Time, a *sa.Send) {
	var err error
	if a.Keepalive {
		err = s.config.Sender.Keepalive(a.Local, a.Remote)
	} else {
		err = s.config.Sender.Send(a.Local, a.Remote, a.Data)
	}
	if err == nil {
		s.counters.sent.Add(1)
		return
	}
	s.counters.sendFailed.Add(1)
	s.write(now, zerolog.DebugLevel, &sa.Report{Remote: a.Remote, Message: "not sent"}, err)
}

// report logs what the machine says.
func (s *Service) report(now time.Time, r *sa.Report) {
	s.write(now, level(r.Level), r, nil)
}

// write logs, unless the peer has had more than its share of the log.
func (s *Service) write(now time.Time, l zerolog.Level, r *sa.Report, err error) {
	e := s.log.WithLevel(l)
	if !e.Enabled() {
		return
	}
	ok, before := s.reports.allow(now, r.Remote.Addr(), l >= zerolog.WarnLevel)
	if !ok {
		s.counters.unlogged.Add(1)
		return
	}
	if r.Remote.IsValid() {
		e.Stringer("remote", r.Remote)
	}
	if r.SA != 0 {
		e.Uint64("sa", r.SA)
	}
	if before > 0 {
		e.Uint64("left_out", before)
	}
	e.Err(err).Msg(r.Message)
}

func level(l sa.Level) zerolog.Level {
	switch l {
	case sa.Alarm:
		return zerolog.ErrorLevel
	case sa.Warning:
		return zerolog.WarnLevel
	case sa.Notice:
		return zerolog.InfoLevel
	}
	return zerolog.DebugLevel
}
